"""The number that a worked answer comes to."""

import re
from fractions import Fraction

# A hyphen between two numbers is no sign.
_NUMBER = r"(?:(?<![\w)])-\$?|\$\s?-?)?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_LONGEST = 100  # digits: what is longer is no answer, and Python refuses to read it
# The dataset's own mark, that of its authors' models, and what chat models write.
_MARKED = re.compile(
    rf"(?:####|^A:|\bthe answer is:?|\\boxed\{{)\s*\**\s*({_NUMBER})", re.IGNORECASE | re.MULTILINE
)
_ANY = re.compile(_NUMBER)


def final_number(text: str) -> Fraction | None:
    """The number after the last mark: `####`, `A:` at a line's start, "the answer is", a box."""
    found: list[str] = _MARKED.findall(text)
    return _value(found[-1]) if found else None


def last_number(text: str) -> Fraction | None:
    """The last number of a text."""
    found: list[str] = _ANY.findall(text)
    return _value(found[-1]) if found else None


def numbers(text: str) -> list[Fraction]:
    """All numbers of a text, in their order."""
    return [number for number in map(_value, _ANY.findall(text)) if number is not None]


def _value(number: str) -> Fraction | None:
    """`$1,234.50` is 1234.5: currency, thousands and written precision mean nothing."""
    digits = re.sub(r"[\s$,]", "", number)
    return Fraction(digits) if len(digits) <= _LONGEST else None
