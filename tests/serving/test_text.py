"""Text as it comes: whole characters, and stop strings that are seen in time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accord.models.loading import load_tokenizer
from accord.serving.text import ByteReader, TextStream, TokenReader, held_back
from accord.serving.vocabulary import token_bytes

BYTES = [bytes([i]) for i in range(256)]


def decode(ids: object) -> str:
    return bytes(ids).decode("utf-8", "replace")  # type: ignore[call-overload, no-any-return]


READERS = [lambda: ByteReader(BYTES), lambda: TokenReader(decode)]
by_both = pytest.mark.parametrize("reader", READERS, ids=["bytes", "tokens"])


def stream(reader: Callable[[], Any], text: str, stop: list[str]) -> tuple[list[str], TextStream]:
    found = TextStream(reader(), stop)
    given = [found.add(byte) for byte in text.encode()]
    return [*given, found.finish()], found


@by_both
def test_characters_come_whole(reader: Callable[[], Any]) -> None:
    given, _ = stream(reader, "é🙂a", [])
    assert given == ["", "é", "", "", "", "🙂", "a", ""]


@by_both
def test_bytes_that_are_no_character_come_in_the_end(reader: Callable[[], Any]) -> None:
    found = TextStream(reader())
    given = [found.add(byte) for byte in (0xF0, 0x9F, 0x41)]
    assert "".join([*given, found.finish()]) == decode((0xF0, 0x9F, 0x41))


def test_a_served_models_bytes_are_what_its_tokenizer_decodes(tiny_model_dir: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_model_dir))
    reader = ByteReader(token_bytes(tokenizer, 300))
    ids = [*range(300), 2, *range(0, 300, 7)]
    text = "".join(reader.add(i) for i in ids) + reader.finish()
    assert text == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("ab\nUser: x", ["\nUser:"], "ab"),
        ("ab\nUse", ["\nUser:"], "ab\nUse"),  # it was none after all
        ("aabaac", ["aac"], "aab"),
        ("abcd", ["cd", "bc"], "a"),  # the first that is whole
        ("xyz", ["x"], ""),
    ],
)
@by_both
def test_nothing_of_a_stop_string_is_shown(
    reader: Callable[[], Any], text: str, stop: list[str], expected: str
) -> None:
    given, found = stream(reader, text, stop)
    assert "".join(given) == expected
    assert found.is_stopped == (expected != text)


def test_the_tail_that_may_become_a_stop_string_is_held() -> None:
    assert held_back("hello <to", ["<tool>"]) == 3
    assert held_back("hello", ["<tool>"]) == 0
    assert held_back("<tool>", ["<tool>"]) == 0
