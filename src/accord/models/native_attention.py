"""Rotation and attention of a packed row, natively where that is possible.

The C++ (`packed_attention.cpp`) takes queries, keys and values as their products gave them, and
keeps nothing else for backward: weights are computed again, a block of queries at a time.
"""

import ctypes
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from accord.models.native import both_types, call, load_native
from accord.models.packed_attention import Piece, attend, own_places

_SOURCE = Path(__file__).with_name("packed_attention.cpp")
_NUMBER = ctypes.c_int64


class _Shape(ctypes.Structure):
    """`Shape` of packed_attention.cpp."""

    _fields_ = (
        *((name, _NUMBER) for name in ("trees", "groups", "queries", "dim")),
        ("scaling", ctypes.c_float),
        ("threads", ctypes.c_int32),
    )


@functools.cache
def attention_library() -> ctypes.CDLL | None:
    """The functions of packed_attention.cpp, or None."""
    functions = {"attend": [ctypes.POINTER(_Shape), *[ctypes.c_void_p] * 13]}
    return load_native(_SOURCE, both_types(functions))


class Layout(NamedTuple):
    """Pieces and queries of a packed row, as packed_attention.cpp reads them."""

    trees: Tensor
    """(n + 1,) the piece at which each tree of pieces begins, and their number"""
    pieces: Tensor
    """(pieces, 5)"""
    at: Tensor
    """(R,) where the queries are"""

    @classmethod
    def of(cls, pieces: Sequence[Piece], read: Tensor | None) -> "Layout":
        """Of a row's pieces, for the queries at `read` or for all."""
        lengths = [piece.length for piece in pieces]
        starts = [0, *itertools.accumulate(lengths)]
        at = torch.arange(starts[-1]) if read is None else read.contiguous()
        counts = [len(places) for places in own_places(at, lengths)]
        firsts = itertools.accumulate(counts, initial=0)
        rows = [
            (start, piece.length, -1 if piece.after is None else piece.after, first, count)
            for start, piece, first, count in zip(starts, pieces, firsts, counts, strict=False)
        ]
        roots = [i for i, piece in enumerate(pieces) if piece.after is None]
        return cls(torch.tensor([*roots, len(pieces)]), torch.tensor(rows), at)


def turned_attention(
    heads: tuple[Tensor, Tensor, Tensor],
    turn: tuple[Tensor, Tensor],
    pieces: Sequence[Piece],
    *,
    layout: Layout,
    scaling: float,
    dropout: float,
    read: Tensor | None,
) -> Tensor:
    """(R, heads, D) of queries (R, heads, D), keys and values (T, groups, D) before their rotation
    by the cosines and sines (T, D) of the tokens' positions; see `attend`.
    """
    query, key, value = heads
    dtype = query.dtype
    groups, dim = key.shape[1:]
    is_native = (
        dtype in (torch.float32, torch.bfloat16)
        and key.dtype == value.dtype == dtype
        and query.device.type == "cpu"
        and dim % 16 == 0
        and not dropout
        and turn[0].dtype == torch.float32
        and turn[0].shape[-1] == dim
        # A task is a tree's head; threads without one would wait.
        and (len(layout.trees) - 1) * groups >= torch.get_num_threads()
        and attention_library() is not None
    )
    if is_native:
        return _Attention.apply(*heads, *turn, layout, scaling)  # type: ignore[no-any-return, no-untyped-call]
    at = turn if read is None else (turn[0][read], turn[1][read])
    query, key = turned(query, at), turned(key, turn)
    query, key, value = (t.transpose(0, 1)[None] for t in (query, key, value))
    return attend(query, key, value, pieces, scaling=scaling, dropout=dropout, read=read)[0]


def turned(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """(T, heads, D) with each pair of halves rotated by its token's position."""
    cos, sin = (t[:, None] for t in turn)
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat([-second, first], dim=-1) * sin


class _Attention(torch.autograd.Function):
    """Rotation and attention; weights are computed again in backward."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cos: Tensor,
        sin: Tensor,
        layout: Layout,
        scaling: float,
    ) -> Tensor:
        inputs = tuple(t.contiguous() for t in (query, key, value))
        turn = cos.contiguous(), sin.contiguous()
        out = torch.empty_like(inputs[0])
        _attend(layout, scaling, turn, inputs, out, (None,) * 4)
        ctx.save_for_backward(*inputs, *turn)
        ctx.layout, ctx.scaling = layout, scaling
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        *inputs, cos, sin = ctx.saved_tensors
        found = tuple(torch.empty_like(t) for t in inputs)
        _attend(ctx.layout, ctx.scaling, (cos, sin), inputs, None, (gradient.contiguous(), *found))
        return *found, None, None, None, None


def _attend(
    layout: Layout,
    scaling: float,
    turn: tuple[Tensor, Tensor],
    inputs: Sequence[Tensor],
    out: Tensor | None,
    gradients: Sequence[Tensor | None],
) -> None:
    query, key, _ = inputs
    groups, dim = key.shape[1:]
    shape = _Shape(
        len(layout.trees) - 1, groups, query.shape[1] // groups, dim, scaling,
        torch.get_num_threads(),
    )  # fmt: skip
    call(
        attention_library(), "attend", ctypes.byref(shape), *layout, *turn, *inputs, out,
        *gradients, of=query.dtype,
    )  # fmt: skip
