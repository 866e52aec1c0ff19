"""Attention within and across the pieces of a packed row, through `transformers`' registry."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from accord.core.errors import ModelError

_NAME = "accord_packed"


class Piece(NamedTuple):
    """A run of tokens; `after` is the index of the piece that it continues, if it does.

    `mask` is (length, length of the row up to its end) bool: what each token attends to.
    """

    length: int
    after: int | None = None
    mask: Tensor | None = None


_PIECES: ContextVar[tuple[list[Piece], Tensor | None]] = ContextVar("pieces")


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 (the interface's)
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of (1, heads, T, D) queries within and across pieces; gives (1, T, heads, D)."""
    unknown = [n for n in ("sliding_window", "softcap", "s_aux", "position_bias") if others.get(n)]
    if unknown:
        raise ModelError(f"{type(module).__name__}: packed rows know nothing of {unknown[0]}")
    pieces, read = _PIECES.get()
    return attend(query, key, value, pieces, scaling=scaling, dropout=dropout, read=read), None


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pieces: Sequence[Piece],
    *,
    scaling: float | None,
    dropout: float = 0.0,
    read: Tensor | None = None,
) -> Tensor:
    """Each token's attention to its piece, up to itself, and to what that continues.

    Args:
        query: (1, heads, R, D), of the tokens at `read`.
        key: (1, groups, T, D) of all tokens.
        value: the same.
        pieces: of the row, T tokens in all.
        scaling: of the scores; None divides by the root of D.
        dropout: share of the weights that are hidden.
        read: (R,) ascending places in the row; None means all.

    Returns:
        (1, R, heads, D).
    """
    if torch.is_autocast_enabled("cpu"):  # as it would for the fused attention
        query, key, value = (t.to(torch.bfloat16) for t in (query, key, value))
    lengths = [piece.length for piece in pieces]
    own = [None] * len(pieces) if read is None else own_places(read, lengths)
    counts = [n if o is None else len(o) for n, o in zip(lengths, own, strict=True)]
    # The gradient of a split is one concatenation; that of slices would be a sum of whole rows.
    queries = torch.split(query, counts, dim=2)
    keys, values = (torch.split(t, lengths, dim=2) for t in (key, value))
    found = []
    for i, piece in enumerate(pieces):
        if counts[i] == 0:
            continue
        k, v = keys[i], values[i]
        if piece.after is not None:
            whole = line(pieces, i)
            k, v = (torch.cat([t[j] for j in whole], dim=2) for t in (keys, values))
        mask = piece.mask
        if (places := own[i]) is not None:
            mask = (_causal(piece.length) if mask is None else mask)[places]
        shares_heads = query.shape[1] != key.shape[1]
        if query.dtype == torch.bfloat16 and not shares_heads and not dropout and scaling:
            out = _HalfAttention.apply(queries[i], k, v, mask, scaling)  # type: ignore[no-untyped-call]
        else:
            out = scaled_dot_product_attention(
                queries[i],
                k,
                v,
                attn_mask=mask,
                is_causal=mask is None,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=shares_heads,
            )
        found.append(out.transpose(1, 2))
    return torch.cat(found, dim=1)


def own_places(read: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """Of each piece, the places within it that are read."""
    ends = torch.tensor(list(itertools.accumulate(lengths)))
    counts = torch.bincount(torch.bucketize(read, ends, right=True), minlength=len(lengths))
    starts = (ends - torch.tensor(lengths)).repeat_interleave(counts)
    return list(torch.split(read - starts, counts.tolist()))


def _causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


def line(pieces: Sequence[Piece], last: int) -> list[int]:
    """A piece and what it continues, back to a row's start, in order."""
    after = pieces[last].after
    return [last] if after is None else [*line(pieces, after), last]


AttentionInterface.register(_NAME, _attend)


class _HalfAttention(torch.autograd.Function):
    """Attention in bfloat16 by plain products, whose backward is made for CPUs.

    The fused one takes two to three times as long there, most of it on the way back. Weights are
    computed again in backward, so that nothing of (length, length) is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
    ) -> Tensor:
        """(1, heads, n, D) of queries (1, heads, n, D), keys and values (1, heads, m, D)."""
        ctx.save_for_backward(query, key, value, mask)
        ctx.scaling = scaling
        return _attention_weights(query, key, mask, scaling) @ value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask = ctx.saved_tensors
        weights = _attention_weights(query, key, mask, ctx.scaling)
        of_value = weights.transpose(-1, -2) @ gradient
        of_scores = torch._softmax_backward_data(
            gradient @ value.transpose(-1, -2), weights, -1, weights.dtype
        )
        of_scores *= ctx.scaling
        return of_scores @ key, of_scores.transpose(-1, -2) @ query, of_value, None, None


def _attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """(1, heads, n, m); without a mask each query attends to the keys up to its own place."""
    scores = (query * scaling) @ key.transpose(-1, -2)
    if mask is None:
        mask = _causal(scores.shape[-1])
    return scores.masked_fill_(~mask, float("-inf")).softmax(dim=-1)


@contextlib.contextmanager
def attending(
    model: PreTrainedModel, pieces: list[Piece], read: Tensor | None = None
) -> Iterator[None]:
    """The model's own forward takes `pieces` for where rows begin, while the context lasts.

    Args:
        model: a `transformers` model.
        pieces: of the whole row.
        read: (R,) ascending places of the tokens that are run, where the cache has the others.
    """
    config = model.config.get_text_config()
    before = config._attn_implementation
    token = _PIECES.set((pieces, read))
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _PIECES.reset(token)
