"""Words, sentences, paragraphs and lines of a response, and the JSON in it.

Words are runs of letters and digits, with apostrophes inside.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FENCE = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)


def cut_at(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stops."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


def words_of(text: str) -> list[str]:
    """The words in lower case."""
    return [word.lower().replace("’", "'") for word in WORD.findall(text)]


def sentences_of(text: str) -> list[str]:
    """Pieces that end with . ! ? (or the text's end) before a space, and hold a word."""
    pieces = re.split(r"(?<=[.!?])[\"')\]”»]*\s+", text.strip())
    return [piece for piece in pieces if WORD.search(piece)]


def paragraphs_of(text: str) -> list[str]:
    """Pieces between blank lines."""
    return [piece for piece in re.split(r"\n\s*\n", text.strip()) if piece.strip()]


def lines_of(text: str) -> list[str]:
    """Lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def times(text: str, phrase: str) -> int:
    """How often a word or phrase stands in the text, as whole words."""
    sought, words = words_of(phrase), words_of(text)
    width = len(sought)
    return sum(words[i : i + width] == sought for i in range(len(words) - width + 1))


def parsed(text: str) -> Any:
    """The JSON value that the text is, also inside one code block; None where it is not JSON."""
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    try:
        return json.loads(fenced[1] if fenced else stripped)
    except (ValueError, RecursionError):
        return None
