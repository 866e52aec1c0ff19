"""What every token of a tokenizer writes, in bytes."""

import functools
import re
from typing import Any

_HEX = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(tokenizer: Any, size: int) -> list[bytes | None]:
    """The bytes of ids 0 to `size` - 1; None for special tokens and for ids that are none.

    Byte-level vocabularies spell every byte as a character; others write a space as "▁" and single
    bytes as "<0xNN>".
    """
    special = set(tokenizer.all_special_ids)
    special |= {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    added = {i: t.content for i, t in tokenizer.added_tokens_decoder.items()}
    known = {i: token for token, i in tokenizer.get_vocab().items()}
    is_spelt = is_byte_level(tokenizer)
    found: list[bytes | None] = []
    for token_id in range(size):
        token = known.get(token_id)
        if token is None or token_id in special:
            found.append(None)
        elif token_id in added:
            found.append(added[token_id].encode())
        elif is_spelt:
            found.append(_spelt(token))
        elif match := _HEX.fullmatch(token):
            found.append(bytes([int(match[1], 16)]))
        else:
            found.append(token.replace("▁", " ").encode())
    return found


def is_byte_level(tokenizer: Any) -> bool:
    """Whether tokens are spelt in characters that stand for bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and "ByteLevel" in str(backend.decoder)


def _spelt(token: str) -> bytes | None:
    alphabet = _alphabet()
    if any(character not in alphabet for character in token):
        return None
    return bytes(alphabet[character] for character in token)


@functools.cache
def _alphabet() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones stand for themselves."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
