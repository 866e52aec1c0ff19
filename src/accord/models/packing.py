"""Rows of a batch as one row without padding, in which rows that start alike share their start.

Every layer but attention works on tokens by themselves, so only attention has to know where rows
begin. It is given one function here: each piece attends to itself and, where it continues others
(the responses to one prompt), to those. Nothing is padded and a shared prompt is computed once, in
training as well: its gradient is the sum over the rows that share it.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, bfloat16, nn
from transformers import PreTrainedModel

from accord.core.errors import ModelError
from accord.models import decoder_layers
from accord.models.linear import product_dtype
from accord.models.packed_attention import Piece, attending

MIN_SHARED_TOKENS = 16
"""A shorter common start is not worth a mask."""

ROUND_TOKENS = 64
"""Numbers of tokens in bfloat16 are rounded up to these, for oneDNN makes code for each that it has
not met: 1 to 6 ms a kind of product, forward and backward."""


class Packed(NamedTuple):
    """All tokens of a batch in one row; `place` (B, L) says where each cell of the grid went.

    The row begins with `known` columns that a cache holds already: pieces and places count them,
    ids and positions do not.
    """

    input_ids: Tensor  # (1, T)
    position_ids: Tensor  # (1, T)
    pieces: list[Piece]
    place: Tensor
    known: int = 0

    @property
    def run(self) -> range:
        """Numbers of the pieces that are run; those before them are known."""
        ends = itertools.accumulate(piece.length for piece in self.pieces)
        return range(sum(end <= self.known for end in ends), len(self.pieces))


class Start(NamedTuple):
    """Rows that may share a start; of each a cache holds the first `known` tokens, all equal."""

    rows: list[int]
    known: int = 0


def pack(
    input_ids: Tensor, attention_mask: Tensor, *, levels: int = 1, starts: Sequence[Start] = ()
) -> Packed:
    """Pack right-padded rows (B, L), sharing the starts that it pays to share.

    With more `levels`, rows that share a start may in turn share what follows it in smaller groups.
    Rows of different `starts` share nothing; what these know lies in the cache in their order, and
    at least the last token of each row is not known. By default all rows are one start.
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

    starts = starts or [Start(list(range(len(rows))))]
    for members, known in starts:
        if known:
            pieces.append(Piece(known))
            place[members, :known] = np.arange(count, count + known)
            count += known
    number = itertools.count()
    for members, known in starts:
        lay(members, known, next(number) if known else None, 0)
    return Packed(
        torch.from_numpy(np.concatenate(tokens))[None],
        torch.from_numpy(np.concatenate(positions))[None],
        pieces,
        torch.from_numpy(place),
        sum(known for _, known in starts),
    )


def filled(packed: Packed) -> Packed:
    """The same with tokens at its end that belong to nobody, up to a round number of them."""
    count = -packed.input_ids.shape[1] % ROUND_TOKENS
    if count == 0:
        return packed
    filler = torch.zeros(1, count, dtype=torch.long)
    return packed._replace(
        input_ids=torch.cat([packed.input_ids, filler], dim=1),
        position_ids=torch.cat([packed.position_ids, filler], dim=1),
        pieces=[*packed.pieces, Piece(count)],
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


def pack_prompts(
    prompts: Sequence[Sequence[int]], *, levels: int = 1, starts: Sequence[Start] = ()
) -> Packed:
    """Pack prompts of any lengths, equal starts once; `levels` and `starts` as of `pack`."""
    width = max(map(len, prompts))
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.tensor([[*prompt, *(0,) * (width - len(prompt))] for prompt in prompts])
    mask = (torch.arange(width) < lengths[:, None]).long()
    return pack(ids, mask, levels=levels, starts=starts)


def packed_hidden_states(
    model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, read: Tensor | None = None
) -> Tensor:
    """(B, L, H) last hidden states of a trunk, computed without padding; cells of it mean nothing.

    Args:
        model: a `transformers` model for which `packs_rows` is true.
        input_ids: (B, L), right-padded, on the CPU.
        attention_mask: (B, L), 1 on real tokens; each row has one.
        read: (B, L) bool, true on real tokens only: the states (N, H) of these alone.
    """
    packed = pack(input_ids, attention_mask)
    is_rounded = bfloat16 in (model.dtype, product_dtype("cpu"))
    if is_rounded:
        packed = filled(packed)
    if read is None:
        states = packed_states(model, packed)
        return states.index_select(0, packed.place.flatten()).view(*input_ids.shape, -1)
    places, back = torch.unique(packed.place[read], return_inverse=True)
    if len(places) == 0:
        places = torch.zeros(1, dtype=torch.long)  # nothing is read, but with a gradient
    if is_rounded:
        places = torch.cat([places, places[-1:].expand(-len(places) % ROUND_TOKENS)])
    return packed_states(model, packed, read=places).index_select(0, back)


def packed_states(
    model: PreTrainedModel, packed: Packed, cache: Any = None, *, read: Tensor | None = None
) -> Tensor:
    """(T, H) last hidden states of a packed row, or (R, H) of some of its places.

    Args:
        model: a trunk for which `packs_rows` is true.
        packed: of `pack` or `pack_prompts`.
        cache: with what the row knows; its layers then hold all of it (1, heads, T, D).
        read: (R,) ascending places.
    """
    if cache is None and decoder_layers.runs_layers(model):
        return decoder_layers.last_states(model, packed, read)
    count = packed.input_ids.shape[1]
    run = torch.arange(packed.known, packed.known + count) if packed.known else None
    with attending(model, packed.pieces, run):
        outputs = model.base_model(
            input_ids=packed.input_ids,
            position_ids=packed.position_ids,
            # A mask of four axes is handed on as it is, and the attention does not read it.
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool),
            past_key_values=cache,
            use_cache=cache is not None,
        )
    states: Tensor = outputs.last_hidden_state[0]
    return states if read is None else states.index_select(0, read)


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
    decoder_layers.run_layers(model, False)
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
    expected = padded.last_hidden_state

    def agrees(read: Tensor) -> bool:
        try:
            found = packed_hidden_states(model, ids, mask, read)
        except (AttributeError, LookupError, ModelError, RuntimeError, TypeError, ValueError):
            return False  # the family's attention, or its layers, take another road than this one
        wanted = expected[read].float()
        tolerance = 1e-4 if found.dtype == torch.float32 else 5e-2
        size = max(1.0, float(wanted.abs().max()))
        return bool((found.float() - wanted).abs().max() <= tolerance * size)

    real = mask.bool()
    model.packs_rows = agrees(real)  # type: ignore[assignment]
    if model.packs_rows and decoder_layers.may_run(model):
        last = real & ~real.roll(-1, 1)
        decoder_layers.run_layers(model, True)
        decoder_layers.run_layers(model, agrees(real) and agrees(last))
