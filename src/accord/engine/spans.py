"""Which part of the cache each running row attends to: padding on the left is not read."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

CALL_BYTES = 2**19
"""Padding that is cheaper to read than another call of the attention is, in bytes."""


class Span(NamedTuple):
    """Neighbouring rows whose columns start at about the same place."""

    rows: slice
    start: int
    bias: Tensor | None
    """(n, 1, 1, room) -inf on what padding is left, from `start` on; None where there is none"""


def spans(starts: Sequence[int], *, room: int, column_bytes: int) -> list[Span]:
    """Cut rows into spans, so that little padding is read and few calls are made.

    Args:
        starts: (R,) each row's first real column; in order they make the fewest spans.
        room: columns that there may be before the rows change.
        column_bytes: keys and values of one column of one row, in bytes.
    """
    found, first = [], 0
    for row in range(1, len(starts) + 1):
        if row < len(starts):
            here = starts[first : row + 1]
            padding = sum(here) - min(here) * len(here)
            if padding * column_bytes <= CALL_BYTES:
                continue
        found.append(_span(starts, first, row, room))
        first = row
    return found


def _span(starts: Sequence[int], first: int, end: int, room: int) -> Span:
    here = torch.tensor(starts[first:end])
    start = int(here.min())
    bias = None
    if bool((here > start).any()):
        is_real = torch.arange(start, room) >= here[:, None]
        bias = torch.where(is_real, 0.0, float("-inf"))[:, None, None]
    return Span(slice(first, end), start, bias)
