"""What a decoding step does between its matrix products: by PyTorch's operators, or natively.

Both are the same functions of the same tensors; `Decoder` takes the native ones where they are
there and give a policy's own hidden states.
"""

import ctypes
import itertools
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from accord.engine.columns import Columns
from accord.engine.draw import draw
from accord.engine.native import Shape, native_library
from accord.engine.spans import Span, spans
from accord.models.native import call
from accord.models.packed_attention import line
from accord.models.packing import Packed


class Heads(NamedTuple):
    """The attention of one layer; heads that share keys stand beside each other."""

    groups: int
    """heads of keys and values"""
    dim: int
    query_norm: Tensor | None
    """(dim,) where the family norms queries and keys, as is `key_norm`"""
    key_norm: Tensor | None
    scaling: float


class Kernels(Protocol):
    """A step's work between products. All rows have one token; R rows."""

    stores_float32: bool
    """whether keys and values are kept in float32 whatever the model computes in"""

    def stream_of(self, dtype: torch.dtype) -> torch.dtype:
        """What hidden states and norms' weights are, where products are of `dtype`."""

    def reads(self, mask: Tensor, heads: Heads, *, room: int) -> Any:
        """What `attend` has to know of rows with this (R, T) mask, while they are the same.

        Args:
            mask: 1 on real columns of the cache; padding is on the left.
            heads: of any layer.
            room: columns that there will be at most.
        """

    def add_norm(
        self,
        hidden: Tensor,
        delta: Tensor | None,
        weight: Tensor,
        eps: float,
        *,
        is_last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(R, H) hidden + delta, which may be `hidden` itself written over, and its RMS norm.

        Hidden states, norms' weights and the norm that is the last are of `stream_of`.
        """

    def attend(
        self,
        joint: Tensor,
        turn: tuple[Tensor, Tensor],
        heads: Heads,
        eps: float,
        columns: Columns,
        reads: Any,
    ) -> Tensor:
        """(R, heads dim) attended values; the new keys and values join `columns`.

        Args:
            joint: (R, (queries + 2 groups) dim) queries, keys, values.
            turn: cosines and sines (R, dim) of the rows' positions.
        """

    def gate(self, gate_up: Tensor) -> Tensor:
        """silu(first half) * second half of (R, 2 F)."""

    def draw(self, logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and their log-probs: see `draw`."""


class TorchKernels:
    """By PyTorch's operators."""

    # Fused attention of one query reads float32 at the memory's rate, bfloat16 at a fifth of it.
    stores_float32 = True

    def stream_of(self, dtype: torch.dtype) -> torch.dtype:
        """See `Kernels`."""
        return dtype

    def reads(self, mask: Tensor, heads: Heads, *, room: int) -> list[Span]:
        """See `Kernels`."""
        column_bytes = 2 * 4 * heads.groups * heads.dim
        return spans(mask.argmax(dim=1).tolist(), room=room, column_bytes=column_bytes)

    def add_norm(
        self,
        hidden: Tensor,
        delta: Tensor | None,
        weight: Tensor,
        eps: float,
        *,
        is_last: bool = False,  # noqa: ARG002 (all states are of one kind)
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        hidden = hidden if delta is None else hidden + delta
        return hidden, rms_norm(hidden, (hidden.shape[1],), weight, eps)

    def attend(
        self,
        joint: Tensor,
        turn: tuple[Tensor, Tensor],
        heads: Heads,
        eps: float,
        columns: Columns,
        reads: list[Span],
    ) -> Tensor:
        """See `Kernels`."""
        rows, groups, dim = joint.shape[0], heads.groups, heads.dim
        split = joint.view(rows, -1, dim).tensor_split([-2 * groups, -groups], dim=1)
        query, key, value = split
        if heads.query_norm is not None and heads.key_norm is not None:
            query = rms_norm(query, (dim,), heads.query_norm, eps)
            key = rms_norm(key, (dim,), heads.key_norm, eps)
        query, key = (_turned(t, turn) for t in (query, key))
        keys, values = columns.update(key[:, :, None], value[:, :, None].float())
        # As so many queries of one head.
        query = query.reshape(rows, groups, -1, dim)
        found = [_attend(query, keys, values, span, heads.scaling) for span in reads]
        return torch.cat(found).reshape(rows, -1).to(joint.dtype)

    def gate(self, gate_up: Tensor) -> Tensor:
        """See `Kernels`."""
        gate, up = gate_up.chunk(2, dim=-1)
        return silu(gate) * up

    def draw(self, logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        return draw(logits, temperatures, uniforms)


def _turned(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """(R, heads, D) float32, each pair of halves rotated by its row's position."""
    cos, sin = (t[:, None] for t in turn)
    first, second = heads.float().chunk(2, dim=-1)
    return heads.float() * cos + torch.cat([-second, first], dim=-1) * sin


def _attend(query: Tensor, keys: Tensor, values: Tensor, span: Span, scaling: float) -> Tensor:
    """Attention of a span's rows to the columns that are theirs."""
    bias = None if span.bias is None else span.bias[..., : keys.shape[2] - span.start]
    read, weighed = (t[span.rows, :, span.start :] for t in (keys, values))
    return scaled_dot_product_attention(
        query[span.rows], read, weighed, attn_mask=bias, scale=scaling
    )


class Reads(NamedTuple):
    """Columns that tokens attend to: from `starts` (R,) to their own, and (R, n, 2) ranges before.

    With ranges the tokens are those of one packed row; without, each is the next of its own row.
    """

    starts: Tensor
    ranges: Tensor | None


class NativeKernels:
    """By the functions of decoding.cpp, for float32 and bfloat16 on the CPU."""

    stores_float32 = False

    def stream_of(self, dtype: torch.dtype) -> torch.dtype:  # noqa: ARG002
        """See `Kernels`: float32 whatever the products are."""
        return torch.float32

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.library = library
        name = str(dtype).removeprefix("torch.")
        self._dtype = dtype
        self._attend, self._gate = (
            getattr(library, f"{function}_{name}") for function in ("attend", "gate")
        )
        self._draw = library.draw_float32  # log-probs are float32 whatever the policy is

    @classmethod
    def of(cls, dtype: torch.dtype) -> "NativeKernels | None":
        """Where there is a library, for a policy whose numbers are all of this kind."""
        library = native_library()
        if library is None or dtype not in (torch.float32, torch.bfloat16):
            return None
        return cls(library, dtype)

    def reads(self, mask: Tensor, _: Heads, *, room: int) -> "Reads":  # noqa: ARG002
        """See `Kernels`."""
        return Reads(mask.argmax(dim=1), None)

    def reads_of(self, packed: Packed) -> "Reads":
        """What the tokens of a packed row read: their piece, and those that it continues."""
        pieces = packed.pieces
        ends = itertools.accumulate(piece.length for piece in pieces)
        found = [(end - piece.length, end) for piece, end in zip(pieces, ends, strict=True)]
        before = [[found[j] for j in line(pieces, i)[:-1]] for i in packed.run]
        most = max(map(len, before))
        ranges = [[*ranges, *[(0, 0)] * (most - len(ranges))] for ranges in before]
        lengths = torch.tensor([pieces[i].length for i in packed.run])
        starts = torch.tensor([found[i][0] for i in packed.run])
        return Reads(
            starts.repeat_interleave(lengths),
            torch.tensor(ranges, dtype=torch.long)
            .view(len(before), most, 2)
            .repeat_interleave(lengths, dim=0),
        )

    def add_norm(
        self,
        hidden: Tensor,
        delta: Tensor | None,
        weight: Tensor,
        eps: float,
        *,
        is_last: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels`; writes over `hidden`."""
        out = torch.empty_like(hidden, dtype=torch.float32 if is_last else self._dtype)
        places = (None, out) if is_last else (out, None)
        call(
            self.library, "add_norm", hidden, delta, weight, *places, *hidden.shape, eps,
            torch.get_num_threads(), of=self._dtype,
        )  # fmt: skip
        return hidden, out

    def attend(
        self,
        joint: Tensor,
        turn: tuple[Tensor, Tensor],
        heads: Heads,
        eps: float,
        columns: Columns,
        reads: Reads,
    ) -> Tensor:
        """See `Kernels`."""
        rows, is_packed = joint.shape[0], reads.ranges is not None
        before = 0 if reads.ranges is None else reads.ranges.shape[1]
        keys, values, column = columns.extend(rows if is_packed else 1)
        queries = joint.shape[1] // heads.dim - 2 * heads.groups
        out = joint.new_empty(rows, queries * heads.dim)
        shape = self.shape(rows, queries, heads, keys, column, eps)
        if is_packed:
            shape.row_stride, shape.column_step, shape.before = 0, 1, before
        tensors = (
            joint, *turn, heads.query_norm, heads.key_norm, keys, values, *reads, out,
        )  # fmt: skip
        self._attend(ctypes.byref(shape), *(None if t is None else t.data_ptr() for t in tensors))
        return out

    @staticmethod
    def shape(
        rows: int, queries: int, heads: Heads, keys: Tensor, column: int, eps: float
    ) -> Shape:
        """Of attention in which each row's token is the next of its own, at `column`."""
        return Shape(
            rows, heads.groups, queries // heads.groups, heads.dim, keys.stride(0), keys.stride(1),
            column, 0, 0, eps, heads.scaling, torch.get_num_threads(),
        )  # fmt: skip

    def gate(self, gate_up: Tensor) -> Tensor:
        """See `Kernels`."""
        rows, both = gate_up.shape
        out = gate_up.new_empty(rows, both // 2)
        threads = torch.get_num_threads()
        self._gate(gate_up.data_ptr(), out.data_ptr(), rows, both // 2, threads)
        return out

    def draw(self, logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels`."""
        tokens = torch.empty(len(logits), dtype=torch.long)
        logprobs = torch.empty(len(logits))
        # Uniforms are a column of many.
        tensors = (logits, temperatures, uniforms.contiguous(), tokens, logprobs)
        pointers = (tensor.data_ptr() for tensor in tensors)
        self._draw(*pointers, *logits.shape, torch.get_num_threads())
        return tokens, logprobs
