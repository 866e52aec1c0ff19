"""Rows of a batch as one row without padding, in which rows that start alike share their start.

Every layer but attention works on tokens by themselves, so only attention has to know where rows
begin. It is given one function here: each piece attends to itself and, where it continues others
(the responses to one prompt), to those. Nothing is padded and a shared prompt is computed once, in
training as well: its gradient is the sum over the rows that share it.
"""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from accord.core.errors import ModelError

MIN_SHARED_TOKENS = 16
"""A shorter common start is not worth a mask."""

_NAME = "accord_packed"


class Piece(NamedTuple):
    """A run of tokens; `after` is the index of the piece that it continues, if it does.

    `mask` is (length, length of the row up to its end) bool: what each token attends to.
    """

    length: int
    after: int | None = None
    mask: Tensor | None = None


class Packed(NamedTuple):
    """All tokens of a batch in one row; `place` (B, L) says where each cell of the grid went."""

    input_ids: Tensor  # (1, T)
    position_ids: Tensor  # (1, T)
    pieces: list[Piece]
    place: Tensor


def pack(input_ids: Tensor, attention_mask: Tensor, *, levels: int = 1) -> Packed:
    """Pack right-padded rows (B, L), sharing the starts that it pays to share.

    With more `levels`, rows that share a start may in turn share what follows it in smaller groups.
    """
    lengths = attention_mask.sum(dim=1).tolist()
    ids = input_ids.numpy()
    rows = [ids[r, :n] for r, n in enumerate(lengths)]
    place = np.zeros(ids.shape, dtype=np.int64)
    tokens: list[np.ndarray] = []
    pieces: list[Piece] = []
    positions: list[np.ndarray] = []
    count = 0

    def add(row: np.ndarray, members: list[int], start: int, after: int | None) -> None:
        nonlocal count
        own = len(row) - start
        mask = None if after is None else torch.ones(own, start + own).tril(start).bool()
        tokens.append(row[start:])
        positions.append(np.arange(start, len(row)))
        pieces.append(Piece(own, after, mask))
        place[members, start : len(row)] = np.arange(count, count + own)
        count += own

    def lay(members: list[int], start: int, after: int | None, depth: int) -> None:
        if depth == levels:
            groups: Any = (([i], 0) for i in range(len(members)))
        else:
            groups = _groups([rows[r][start:] for r in members])
        for indices, shared in groups:
            group = [members[i] for i in indices]
            if len(group) == 1:
                add(rows[group[0]], group, start, after)
            else:
                add(rows[group[0]][: start + shared], group, start, after)
                lay(group, start + shared, len(pieces) - 1, depth + 1)

    lay(list(range(len(rows))), 0, None, 0)
    return Packed(
        torch.from_numpy(np.concatenate(tokens))[None],
        torch.from_numpy(np.concatenate(positions))[None],
        pieces,
        torch.from_numpy(place),
    )


def _groups(rows: Sequence[np.ndarray]) -> Iterator[tuple[list[int], int]]:
    """Rows that share a start, and its length; a row joins when that saves more tokens."""
    order = sorted(range(len(rows)), key=lambda r: rows[r].tobytes())
    group, shared = [order[0]], 0
    for before, row in itertools.pairwise(order):
        common = _common_start(rows[before], rows[row])
        joint = common if len(group) == 1 else min(shared, common)
        if joint >= MIN_SHARED_TOKENS and len(group) * joint > (len(group) - 1) * shared:
            group.append(row)
            shared = joint
        else:
            yield group, shared
            group, shared = [row], 0
    yield group, shared


def _common_start(a: np.ndarray, b: np.ndarray) -> int:
    """Tokens that two rows share from the start; at least one of each row stays its own."""
    most = min(len(a), len(b)) - 1
    differs = a[:most] != b[:most]
    return int(differs.argmax()) if differs.any() else most


_PIECES: ContextVar[list[Piece]] = ContextVar("pieces")


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
    pieces = _PIECES.get()
    if torch.is_autocast_enabled("cpu"):  # as it would for the fused attention
        query, key, value = (t.to(torch.bfloat16) for t in (query, key, value))
    lengths = [piece.length for piece in pieces]
    # The gradient of a split is one concatenation; that of slices would be a sum of whole rows.
    queries, keys, values = (torch.split(t, lengths, dim=2) for t in (query, key, value))
    found = []
    for i, piece in enumerate(pieces):
        k, v = keys[i], values[i]
        if piece.after is not None:
            line = _line(pieces, i)
            k, v = (torch.cat([t[j] for j in line], dim=2) for t in (keys, values))
        shares_heads = query.shape[1] != key.shape[1]
        if query.dtype == torch.bfloat16 and not shares_heads and not dropout and scaling:
            out = _HalfAttention.apply(queries[i], k, v, piece.mask, scaling)  # type: ignore[no-untyped-call]
        else:
            out = scaled_dot_product_attention(
                queries[i],
                k,
                v,
                attn_mask=piece.mask,
                is_causal=piece.mask is None,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=shares_heads,
            )
        found.append(out.transpose(1, 2))
    return torch.cat(found, dim=1), None


def _line(pieces: Sequence[Piece], last: int) -> list[int]:
    """A piece and what it continues, back to a row's start, in order."""
    after = pieces[last].after
    return [last] if after is None else [*_line(pieces, after), last]


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
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill_(~mask, float("-inf")).softmax(dim=-1)


@contextlib.contextmanager
def _attending(model: PreTrainedModel, pieces: list[Piece]) -> Iterator[None]:
    config = model.config.get_text_config()
    before = config._attn_implementation
    token = _PIECES.set(pieces)
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _PIECES.reset(token)


def packed_hidden_states(
    model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor
) -> Tensor:
    """(B, L, H) last hidden states of a trunk, computed without padding; cells of it mean nothing.

    Args:
        model: a `transformers` model for which `packs_rows` is true.
        input_ids: (B, L), right-padded, on the CPU.
        attention_mask: (B, L), 1 on real tokens; each row has one.
    """
    packed = pack(input_ids, attention_mask)
    states = packed_states(model, packed)
    return states.index_select(0, packed.place.flatten()).view(*input_ids.shape, -1)


def pack_prompts(prompts: Sequence[Sequence[int]], *, levels: int = 1) -> Packed:
    """Pack prompts of any lengths, equal starts once; `levels` as of `pack`."""
    width = max(map(len, prompts))
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.tensor([[*prompt, *(0,) * (width - len(prompt))] for prompt in prompts])
    return pack(ids, (torch.arange(width) < lengths[:, None]).long(), levels=levels)


def packed_states(model: PreTrainedModel, packed: Packed, cache: Any = None) -> Tensor:
    """(T, H) last hidden states of a packed row.

    Args:
        model: a trunk for which `packs_rows` is true.
        packed: of `pack` or `pack_prompts`.
        cache: empty; its layers then hold the packed row (1, heads, T, D).
    """
    with _attending(model, packed.pieces):
        outputs = model.base_model(
            input_ids=packed.input_ids,
            position_ids=packed.position_ids,
            # A mask of four axes is handed on as it is, and `_attend` does not read it.
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool),
            past_key_values=cache,
            use_cache=cache is not None,
        )
    states: Tensor = outputs.last_hidden_state[0]
    return states


def packs_rows(model: nn.Module) -> bool:
    """Whether `use_packing` found that packed rows are right for this model."""
    return bool(getattr(model, "packs_rows", False))


@torch.no_grad()
def use_packing(model: PreTrainedModel) -> None:
    """Let `hidden_states` pack this model's rows, if they come out as they do with padding.

    Families whose attention is not plain (windows, sinks, soft caps, state spaces) stay padded, and
    so do models on a GPU, where one masked call beats many small ones.
    """
    model.packs_rows = False  # type: ignore[assignment]
    is_plain = getattr(model.config.get_text_config(), "_attn_implementation", None) == "sdpa"
    if model.device.type != "cpu" or not is_plain:
        return
    length = MIN_SHARED_TOKENS + 3
    ids = (
        torch.arange(3 * length)
        .view(3, length)
        .remainder(model.config.get_text_config().vocab_size)
    )
    ids[1, :-2] = ids[0, :-2]
    mask = torch.ones_like(ids)
    mask[2, -5:] = 0
    padded = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    expected = padded.last_hidden_state[mask.bool()].float()
    try:
        found = packed_hidden_states(model, ids, mask)[mask.bool()].float()
    except (ModelError, LookupError, RuntimeError, TypeError, ValueError):
        return  # the family's attention takes another road than this one
    tolerance = 1e-4 if padded.last_hidden_state.dtype == torch.float32 else 5e-2
    size_of_states = max(1.0, float(expected.abs().max()))
    model.packs_rows = bool((found - expected).abs().max() <= tolerance * size_of_states)  # type: ignore[assignment]
