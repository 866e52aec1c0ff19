"""Keys and values of running rows, in memory that is written in place and seldom moved."""

from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class Columns(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer's keys and values (R, heads, T, D), a column a token, with room for more columns.

    Growing doubles the room, so that a token's write moves no other token.
    """

    stored_as: torch.dtype | None = None
    """what the columns are kept as; None keeps what the model writes"""

    keys: Tensor
    values: Tensor
    _room: list[Tensor]  # as keys and values, with columns that are not used yet
    _end: int

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """Append (R, heads, n, D) columns; gives all keys and values, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._reserve(key_states, value_states, 0, 2 * key_states.shape[2] + 32)
        start, end = self._end, self._end + key_states.shape[2]
        if end > self._room[0].shape[2]:
            self._reserve(key_states, value_states, start, 2 * end)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start:end] = new
        self._show(end)
        # A model's own forward reads back what it writes; the same tensors where nothing differs.
        return self.keys.to(key_states.dtype), self.values.to(value_states.dtype)

    @classmethod
    def empty(cls, heads: int, columns: int, dim: int, dtype: torch.dtype) -> Self:
        """Room for `columns` tokens of one row."""
        made = cls()
        like = torch.empty(1, heads, 0, dim, dtype=dtype)
        made.lazy_initialization(like, like)
        made._reserve(like, like, 0, columns)
        return made

    def extend(self, count: int) -> tuple[Tensor, Tensor, int]:
        """`count` more columns, to be written by the caller.

        Returns:
            keys and values (R, heads, T, D) with all their room, and the first new column's place.
        """
        start = self._end
        if start + count > self._room[0].shape[2]:
            self._reserve(self.keys, self.values, start, 2 * (start + count))
        self._show(start + count)
        return self._room[0], self._room[1], start

    def _reserve(self, keys: Tensor, values: Tensor, used: int, columns: int) -> None:
        """Room for `columns`, of which the first `used` keep what they hold."""
        fresh = [
            t.new_empty(*t.shape[:2], columns, t.shape[3], dtype=self.stored_as)
            for t in (keys, values)
        ]
        if used:
            for room, old in zip(fresh, self._room, strict=True):
                room[:, :, :used] = old[:, :, :used]
        self._room = fresh
        self._show(used)

    def _show(self, end: int) -> None:
        self._end = end
        self.keys, self.values = (room[:, :, :end] for room in self._room)

    def keep(self, rows: Tensor, start: int) -> None:
        """Only these rows stay, without their first `start` columns."""
        kept = [t[:, :, start:][rows] for t in (self.keys, self.values)]
        self._room = [self._with_room((t, 0)) for t in kept]
        self._show(kept[0].shape[2])

    def spread(self, place: Tensor) -> None:
        """One packed row becomes (R, heads, T, D): column t of row r stood at place[r, t]."""
        kept = [t[0][:, place].transpose(0, 1) for t in (self.keys, self.values)]
        self._room = [self._with_room((t, 0)) for t in kept]
        self._show(place.shape[1])

    def join(self, new: "Columns", mine: int, theirs: int) -> None:
        """Add another layer's rows; each side gets that many empty columns on its left."""
        end = mine + self._end
        self._room = [
            self._with_room((a, mine), (b, theirs))
            for a, b in zip((self.keys, self.values), (new.keys, new.values), strict=True)
        ]
        self._show(end)

    @staticmethod
    def _with_room(*sides: tuple[Tensor, int]) -> Tensor:
        """Rows of all sides, each with so many zeros before it, and as much room again behind."""
        first, left = sides[0]
        end, rows = left + first.shape[2], [side.shape[0] for side, _ in sides]
        room = first.new_empty(sum(rows), first.shape[1], 2 * end, first.shape[3])
        parts = torch.split(room, rows)
        for part, (columns, left) in zip(parts, sides, strict=True):
            part[:, :, :left] = 0  # padding is masked, and a mask does not hide a NaN
            part[:, :, left:end] = columns
        return room


class Float32Columns(Columns):  # type: ignore[no-untyped-call]
    """The same in float32, whatever the model writes."""

    stored_as = torch.float32


class BFloat16Columns(Columns):  # type: ignore[no-untyped-call]
    """The same in bfloat16, whatever the model writes."""

    stored_as = torch.bfloat16


def new_cache(stored_as: torch.dtype | None = None) -> Cache:
    """An empty cache, for any model that keeps keys and values.

    Args:
        stored_as: float32 or bfloat16, whatever the model computes in; None keeps what it writes.
    """
    kinds = {None: Columns, torch.float32: Float32Columns, torch.bfloat16: BFloat16Columns}
    return Cache(layer_class_to_replicate=kinds[stored_as])
