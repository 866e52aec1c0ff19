"""Figures as JSON has them: null where there is none, and shares with their value."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from accord.annotation.monitoring import Share


def plain(value: Any) -> Any:
    """A report's dataclasses, named tuples and numbers as objects, lists and numbers."""
    if isinstance(value, Share):
        return {**value._asdict(), "value": plain(value.value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
