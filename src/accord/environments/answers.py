"""Whether an answer is the expected one: as a number, or as words."""

import re
import string
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from accord.corpora.final_numbers import last_number

NUMBER_TOLERANCE = Fraction(1, 1000)
"""Source: the evaluation of PAL, github.com/reasoning-machines/pal."""
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without articles, punctuation and runs of space.

    Source: the official evaluation of SQuAD, Rajpurkar et al. 2016, arXiv:1606.05250.
    """
    plain = text.lower().translate(_PUNCTUATION)
    # "A" may be the answer: where nothing else is left it stays, and no silence equals it.
    for kept in (_ARTICLES.sub(" ", plain), plain, text.lower()):
        if words := kept.split():
            return " ".join(words)
    return ""


def f1(answer: str, expected: str) -> float:
    """The harmonic mean of precision and recall of words, in [0, 1]; source as above."""
    said, wanted = normalised(answer).split(), normalised(expected).split()
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


def is_right(answer: str | None, expected: Any) -> bool:
    """Whether they are the same number, where a number is expected, or the same words."""
    if answer is None or expected is None:
        return False
    wanted = as_number(str(expected))
    if wanted is None:
        return normalised(answer) == normalised(str(expected))
    said = as_number(answer)
    if said is None:
        said = last_number(answer)
    return said is not None and abs(said - wanted) < NUMBER_TOLERANCE


def as_number(text: str) -> Fraction | None:
    """A text that is nothing but a number, perhaps with thousands' commas and a currency."""
    plain = text.strip().replace(",", "").replace("$", "")
    if len(plain) > 100 or not re.fullmatch(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", plain):
        return None
    return Fraction(plain)


@dataclass(frozen=True)
class Vote:
    """What most answers say; `share` is of those that were counted, `skipped` had none."""

    answer: str | None
    share: float
    counted: int
    skipped: int


def majority(answers: Sequence[str | None]) -> Vote:
    """The most frequent answer, equal numbers being one; of several, the one that came first.

    Source: Wang et al. 2022, arXiv:2203.11171 (self-consistency).
    """
    given = [answer for answer in answers if answer is not None and answer.strip()]
    keys: list[Hashable] = [
        number if (number := as_number(answer)) is not None else normalised(answer)
        for answer in given
    ]
    skipped = len(answers) - len(given)
    if not given:
        return Vote(None, 0.0, 0, skipped)
    best, count = Counter(keys).most_common(1)[0]
    return Vote(given[keys.index(best)], count / len(given), len(given), skipped)
