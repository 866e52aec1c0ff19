"""What text the store takes: PostgreSQL keeps no NUL, and no database half a surrogate pair."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from accord.core.errors import DataError

MAX_NAME = 200
MAX_DEPTH = 50


def check_name(name: str, what: str) -> str:
    """A name that can be shown, compared and stored, as it is.

    Raises:
        DataError: it is empty or too long, has spaces around it, or holds control characters (also
            the invisible ones, which make two names look alike).
    """
    if not name or len(name) > MAX_NAME:
        raise DataError(f"{what}: expected 1 to {MAX_NAME} characters, got {len(name)}")
    if name != name.strip() or any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise DataError(f"{what}: no spaces around it and no control characters; got {name!r:.80}")
    return name


def check_storable(value: Any, where: str, *, depth: int = 0) -> None:
    """Refuse JSON that a database would refuse in the middle of its work.

    Raises:
        DataError: a string, or a key, holds NUL or half of a surrogate pair; a number is not
            finite; or it is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise DataError(f"{where}: nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataError(f"{where}: a text holds NUL or half a surrogate pair: {value!r:.80}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise DataError(f"{where}: expected finite numbers, got {value}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_storable(key, where, depth=depth + 1)
            check_storable(inner, where, depth=depth + 1)
    elif isinstance(value, Sequence):
        for inner in value:
            check_storable(inner, where, depth=depth + 1)
