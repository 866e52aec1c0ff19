"""What a row says: its prompt and its responses as plain text, whatever its columns are."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.formats import as_messages, to_comparisons, to_demonstration, to_text

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Texts:
    """A row's texts; a row of plain text has no prompt and one response, the text."""

    prompt: str
    responses: tuple[str, ...]
    chosen: str | None = None  # of a pair

    @property
    def whole(self) -> str:
        """All of it."""
        return "\n".join((self.prompt, *self.responses))


def texts_of(row: dict[str, Any], where: str) -> Texts:
    """The texts of a row in any of the columns that training reads.

    Raises:
        DataError: the row could not be trained on; it says why.
    """
    if row.get("chosen") is not None or row.get("completions") is not None:
        pairs = to_comparisons(row, where)
        responses = dict.fromkeys(text for p in pairs for text in (p.chosen, p.rejected))
        is_pair = row.get("completions") is None
        return Texts(
            _plain(pairs[0].prompt), tuple(responses), pairs[0].chosen if is_pair else None
        )
    if row.get("completion") is not None or row.get("messages") is not None:
        demonstration = to_demonstration(row, where)
        return Texts(_plain(demonstration.prompt), (demonstration.completion,))
    if row.get("prompt") is not None:
        return Texts(_plain(as_messages(row["prompt"], role="user", where=where)), ())
    found = to_text(row, where)
    if isinstance(found, str):
        return Texts("", (found,))
    return Texts(_plain(found[:-1]), (found[-1]["content"],))


def _plain(messages: tuple[Message, ...]) -> str:
    return "\n".join(message["content"] for message in messages)


def normal(text: str) -> str:
    """Text without differences that mean nothing: width, case, white space."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def words(text: str) -> list[str]:
    """Words in their normal form, without punctuation."""
    return _WORD.findall(normal(text))


def strings_of(value: Any) -> list[str]:
    """All strings in a row of unknown columns, as a benchmark's file has."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in strings_of(part)]


def problem(row: dict[str, Any], where: str) -> str | None:
    """What is wrong with a row that cannot be trained on; None where nothing is."""
    try:
        texts_of(row, where)
    except DataError as error:
        return str(error).removeprefix(f"{where}: ")
    return None
