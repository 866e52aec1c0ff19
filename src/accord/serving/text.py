"""Text from tokens as they come, with what is not certain yet held back."""

import codecs
from collections.abc import Callable, Sequence
from typing import Protocol

_MOST_HELD = 4
"""Tokens of an unfinished character: it has at most four bytes."""


class Reader(Protocol):
    """Turns ids into text, a token at a time."""

    def add(self, token_id: int) -> str:
        """One more token; what of the text is certain now."""

    def finish(self) -> str:
        """No more tokens come; the rest."""


class ByteReader:
    """Of byte-level vocabularies: a token's bytes, and no other token, say what it writes.

    Args:
        bytes_of: what each id writes; None for special ones.
    """

    def __init__(self, bytes_of: Sequence[bytes | None]) -> None:
        self._bytes_of = bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """See `Reader`."""
        return self._decoder.decode(self._bytes_of[token_id] or b"")

    def finish(self) -> str:
        """See `Reader`."""
        return self._decoder.decode(b"", final=True)


class TokenReader:
    """Of any vocabulary: a token is read beside the ones before it, which give its spacing.

    Args:
        decode: text of ids, without special tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._context = 0  # ids from here on give the spacing of the next ones
        self._read = 0  # ids up to here have become text

    def add(self, token_id: int) -> str:
        """See `Reader`."""
        self._ids.append(token_id)
        return self._new_text(is_last=False)

    def finish(self) -> str:
        """See `Reader`."""
        return self._new_text(is_last=True)

    def _new_text(self, *, is_last: bool) -> str:
        before = self._decode(self._ids[self._context : self._read])
        text = self._decode(self._ids[self._context :])
        is_unfinished = text.endswith("\ufffd") and len(self._ids) - self._read < _MOST_HELD
        if is_unfinished and not is_last:
            return ""
        self._context, self._read = self._read, len(self._ids)
        return text[len(before) :]


class TextStream:
    """A response's text as it comes; what it gave is never taken back.

    Held back are the first bytes of a character, and a tail that may be the start of a stop string.

    Args:
        reader: of the response's tokens.
        stop: the response ends before the first of these that it comes to say.

    Attributes:
        is_stopped: a stop string was found; nothing more comes.
    """

    def __init__(self, reader: Reader, stop: Sequence[str] = ()) -> None:
        self.is_stopped = False
        self._reader = reader
        self._stop = [text for text in stop if text]
        self._held = ""

    def add(self, token_id: int) -> str:
        """One more token; the text that is certain now."""
        return "" if self.is_stopped else self._release(self._reader.add(token_id), is_last=False)

    def finish(self) -> str:
        """No more tokens come; what was held back."""
        return "" if self.is_stopped else self._release(self._reader.finish(), is_last=True)

    def _release(self, text: str, *, is_last: bool) -> str:
        if not self._stop:
            return text
        self._held += text
        found = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            given, self._held = self._held[: min(found)], ""
            return given
        kept = 0 if is_last else held_back(self._held, self._stop)
        given, self._held = self._held[: len(self._held) - kept], self._held[-kept:] if kept else ""
        return given


def held_back(text: str, wanted: Sequence[str]) -> int:
    """Length of the longest end of `text` with which one of `wanted` begins, but not ends."""
    longest = max((len(w) for w in wanted), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(len(w) > length and w.startswith(text[-length:]) for w in wanted):
            return length
    return 0
