"""Which field is the prompt and which are responses, and what a label means: by their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.formats import as_messages
from accord.store.imports.entries import Options

_PROMPTS = ("prompt", "instruction", "question", "query", "conversation", "chat", "context")
_WORDS = "response|completion|generation|answer|output|text|txt|reply|summary|option|model"
_RESPONSE = re.compile(rf"(?!model$)(?:{_WORDS})[-_ ]?([a-z]|\d+)?", re.IGNORECASE)
_DIGITS = re.compile(rf"(.*?)[-_ ]*(?:{_WORDS})?[-_ ]*(\d+)", re.IGNORECASE)
# A lone letter, or one after a separator or such a word: "idea" does not end with response a.
_LETTER = re.compile(rf"(.*?)(?:^|[-_ ]|{_WORDS})[-_ ]*([a-z])", re.IGNORECASE)
_TIES = {"tie", "equal", "both", "same", "draw", "no preference", "equally good", "both good"}
_BAD = {"both_bad", "both bad", "neither", "none", "equally bad"}
_YES = {"yes", "true", "good", "success", "correct", "accept", "accepted", "pass"}
_NO = {"no", "false", "bad", "failure", "incorrect", "reject", "rejected", "fail"}
_REWRITES = ("rewrite", "rewritten", "correct", "edit", "improve", "revis", "ideal")
_CRITIQUES = ("critique", "comment", "reason", "rationale", "feedback", "explanation", "note")


@dataclass(frozen=True)
class Fields:
    """A record's texts; `names` are those of the responses, in their order."""

    prompt: tuple[Message, ...]
    names: tuple[str, ...]
    responses: tuple[str, ...]
    columns: dict[str, Any]

    def named(self, name: str) -> int | None:
        """Which response's field has that name."""
        same = [i for i, known in enumerate(self.names) if _plain(known) == _plain(name)]
        return same[0] if same else None

    def place(self, *names: str) -> int | None:
        """Which response a question or an object is about, by the first name that tells."""
        if len(self.responses) == 1:
            return 0
        for name in names:
            for place, field in enumerate(self.names):
                if _plain(field) and _plain(name).endswith(_plain(field)):
                    return place
            numbered = _ending(name)[1]
            if numbered is not None and numbered < len(self.responses):
                return numbered
        return None


def find_fields(values: Mapping[str, Any], where: str, options: Options) -> Fields:
    """The prompt and the responses among a record's fields.

    Raises:
        DataError: names do not tell which they are; it says which flags would.
    """
    names = options.response_fields or _response_names(values)
    prompt = options.prompt_field or next((n for n in _PROMPTS if n in values), None)
    missing = [n for n in (*names, *([prompt] if prompt else [])) if values.get(n) is None]
    if prompt is None or not names or missing:
        raise DataError(
            f"{where}: which field is the prompt, and which are the responses? Found "
            f"{', '.join(values)}; give prompt_field and response_fields"
        )
    if not all(isinstance(values[name], str) for name in names):
        raise DataError(f"{where}: a response is no text ({', '.join(names)})")
    return Fields(
        as_messages(values[prompt], role="user", where=f"{where}, field {prompt!r}"),
        tuple(names),
        tuple(values[name] for name in names),
        {n: v for n, v in values.items() if n != prompt and n not in names},
    )


def _response_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    texts = [name for name, value in values.items() if isinstance(value, str)]
    pair = {"a", "b", "chosen", "rejected"}
    found = [n for n in texts if _RESPONSE.fullmatch(n) or n.lower() in pair]
    # Beside response 1 and response 2, a lone "answer" is something else.
    numbered = [n for n in found if n.lower() in pair or _ending(n)[1] is not None]
    return tuple(numbered if len(numbered) > 1 else found)


def verdict(value: Any, fields: Fields, where: str) -> dict[str, Any]:
    """A pairwise answer from a label's words: a field's name, a side, a number, or a tie."""
    text = str(value).strip()
    plain = text.lower()
    if plain in _TIES:
        return {"verdict": "tie"}
    if plain in _BAD:
        return {"verdict": "both_bad"}
    place = {"left": 0, "right": 1}.get(plain)
    if place is None:
        place = fields.named(text)
    if place is None:
        place = _ending(text)[1]
    if place not in (0, 1):
        raise DataError(
            f"{where}: which of {' and '.join(fields.names)} is the label {value!r}? Expected one "
            "of these names, left or right, a or b, 1 or 2, tie, or neither"
        )
    return {"verdict": "ab"[place]}


def success(value: Any, where: str) -> dict[str, Any]:
    """Whether a label on a lone response says that it is good."""
    plain = str(value).strip().lower()
    if plain not in _YES | _NO:
        raise DataError(f"{where}: expected a label such as yes or no, got {value!r}")
    return {"success": plain in _YES}


def ranks(pairs: Sequence[tuple[Any, Any]], fields: Fields, where: str) -> dict[str, Any]:
    """A ranking from (response's name, rank); a response without a rank was not ranked."""
    found: list[int | None] = [None] * len(fields.responses)
    for name, rank in pairs:
        place = fields.named(str(name))
        if place is None:
            place = fields.place(str(name))
        if place is None or found[place] is not None:
            known = ", ".join(fields.names)
            raise DataError(f"{where}: {name!r} is none of {known}, or is there twice")
        found[place] = rank
    return {"ranks": found}


def is_rewrite(question: str) -> bool:
    """Whether a text is a better response, however short it is."""
    return any(word in question.lower() for word in _REWRITES)


def is_critique(question: str) -> bool:
    """Whether a text speaks of the response rather than replacing it."""
    return any(word in question.lower() for word in _CRITIQUES)


def attribute(question: str) -> str:
    """What a rating is of: the question's name without a response's number."""
    return _ending(question)[0] or question


def _ending(name: str) -> tuple[str, int | None]:
    """A name without a response's number or letter, and its place from 0, if it has one."""
    found = _DIGITS.fullmatch(name)
    if found:
        return found[1], int(found[2]) - 1
    found = _LETTER.fullmatch(name)
    if found:
        return re.sub(rf"[-_ ]*(?:{_WORDS})$", "", found[1]), ord(found[2].lower()) - ord("a")
    return name, None


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()
