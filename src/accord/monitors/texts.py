"""What is measured of one text, or of many: repeats, echoes, praise, boilerplate."""

import functools
import re
import zlib
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[\w']+|[^\w\s]")
_PRAISE = re.compile(
    r"^\W*(?:(?:wow|oh|ah|yes|well|hi|hello|thanks|thank you)\b\W*)*"
    r"(?:(?:what|that is|that's|this is|such|you have|you've|you ask|you are|you're|i love|i like|i"
    r" appreciate|how)\b\W*)*"
    r"(?:(?:a|an|the|such|really|truly|so|very|most|quite|absolutely|asked|raised|for|your|asking"
    r"|this|that)\b\W*)*"
    r"(?:great|good|excellent|wonderful|fantastic|brilliant|amazing|superb|thoughtful|insightful"
    r"|interesting|fascinating|clever|smart|lovely|perfect|kind|wise|impressive|beautiful)\b\W*"
    r"(?:and\W+\w+\W+)?"
    r"(?:question|point|idea|thought|thinking|observation|insight|choice|request|topic|prompt|one"
    r"|of you|work|job|user|person|mind|thing)\b",
    re.IGNORECASE,
)
_RUN = 4
_ECHO = 5
_ECHO_WINDOW = 100
"""Words of a response in which an echo of the question counts."""


def words(text: str) -> list[str]:
    """Words and marks in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


@functools.lru_cache(maxsize=8192)  # the start's responses are read at every evaluation
def runs(text: str, n: int) -> tuple[tuple[str, ...], ...]:
    """All runs of n words (marks left out)."""
    said = [word for word in words(text) if word[0].isalnum()]
    return tuple(tuple(said[i : i + n]) for i in range(len(said) - n + 1))


def repeated_share(text: str) -> float:
    """1 - distinct / all runs of four words, in [0, 1); 0 where there is none."""
    found = runs(text, _RUN)
    return 1 - len(set(found)) / len(found) if found else 0.0


def compression(text: str) -> float:
    """Bytes over compressed bytes (zlib), above 0; about 1 for a short plain sentence."""
    raw = text.encode("utf-8", "replace")
    return len(raw) / len(zlib.compress(raw, 9)) if raw else 0.0


def echo_share(prompt: str, response: str) -> float:
    """Share of the prompt's distinct runs of five words that stand among the response's first
    hundred words; 0 for shorter prompts.
    """
    asked = set(runs(prompt, _ECHO))
    said = set(runs(" ".join(response.split()[:_ECHO_WINDOW]), _ECHO))
    return len(asked & said) / len(asked) if asked else 0.0


def opens_with_praise(response: str) -> bool:
    """Whether it begins by praising the question or whoever asks ("What a great question!")."""
    return _PRAISE.match(response) is not None


def shares_of_runs(responses: Sequence[str]) -> Counter[tuple[str, ...]]:
    """In how many of the responses each run of four words stands."""
    return Counter(run for response in responses for run in set(runs(response, _RUN)))
