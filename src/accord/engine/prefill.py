"""Prompts into a cache: what they share is run once, and what is known of them not at all."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from accord.core.errors import ModelError
from accord.engine.columns import new_cache
from accord.engine.decoder import Decoder
from accord.engine.prefixes import Prefixes, Prompt, fill
from accord.models.adapters import parts_of, reading
from accord.models.logprobs import bare_model
from accord.models.packing import Packed, Start, filled, pack_prompts, packed_states, packs_rows


class Prefilled(NamedTuple):
    """P prompts, left-padded, in a cache of T columns."""

    cache: Any
    hidden: Tensor
    """(P, H) states of the prompts' last tokens"""
    mask: Tensor
    """(P, T), 1 on real tokens of the cache"""
    parts: Tensor
    """(P, ranks) of the prompts' adapters: see `models.adapters`"""
    known: list[int]
    """of each prompt, the tokens that were not run because they were kept"""

    def repeated(self, places: Sequence[int]) -> "Prefilled":
        """The prompts at these places, some of them more than once."""
        whose = torch.tensor(places, device=self.mask.device)
        for layer in self.cache.layers:
            layer.keep(whose, 0)
        known = [self.known[place] for place in places]
        hidden, mask, parts = (t[whose] for t in (self.hidden, self.mask, self.parts))
        return Prefilled(self.cache, hidden, mask, parts, known)


def prefill(
    policy: nn.Module,
    prompts: Sequence[Prompt],
    *,
    decoder: Decoder | None = None,
    prefixes: Prefixes | None = None,
) -> Prefilled:
    """Run prompts, none of which equals another.

    Args:
        policy: a causal LM.
        prompts: at least one.
        decoder: the policy's, where it has one; the cache is then the decoder's.
        prefixes: what is known, which these prompts join.
    """
    cache = new_cache() if decoder is None else decoder.new_cache()
    kept: list[list[Tensor]] = [prefixes.find(prompt) if prefixes else [] for prompt in prompts]
    if packs_rows(bare_model(policy)):
        found = _packed(policy, decoder, cache, prompts, kept)
    else:
        found = _padded(policy, decoder, cache, prompts, kept)
    if prefixes is not None:
        width = found.mask.shape[1]
        for row, prompt in enumerate(prompts):
            prefixes.keep(prompt, cache, row, width - len(prompt.ids))
    return found


def _padded(
    policy: nn.Module,
    decoder: Decoder | None,
    cache: Any,
    prompts: Sequence[Prompt],
    kept: list[list[Tensor]],
) -> Prefilled:
    """All rows run as many columns as the one of which most is new."""
    device = next(policy.parameters()).device
    lengths = [len(prompt.ids) for prompt in prompts]
    width = max(lengths)
    known = [sum(block.shape[3] for block in blocks) for blocks in kept]
    run = max(length - n for length, n in zip(lengths, known, strict=True))
    known = [max(0, length - run) for length in lengths]  # at most what is kept
    if width > run:
        fill(cache, _right_aligned(kept, known))
    ids = torch.tensor([(0,) * (width - len(p.ids)) + p.ids for p in prompts], device=device)
    padding = torch.tensor([width - length for length in lengths], device=device)
    mask = (torch.arange(width, device=device) >= padding[:, None]).long()
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    parts = parts_of(policy, [prompt.adapter for prompt in prompts])
    with reading(parts[:, None]), _as_stepped(decoder):
        hidden = run_padded(policy, cache, ids[:, -run:], mask, positions[:, -run:])
    _refuse_foreign_cache(policy, cache, width)
    return Prefilled(cache, hidden, mask, parts, known)


def _right_aligned(kept: list[list[Tensor]], known: list[int]) -> Tensor:
    """(layers, 2, P, heads, most known, D), zero on the left of what is known."""
    like = next(blocks[0] for blocks in kept if blocks)
    layers, both, heads, _, dim = like.shape
    width = max(known)
    columns = like.new_zeros(layers, both, len(kept), heads, width, dim)
    for row, (blocks, count) in enumerate(zip(kept, known, strict=True)):
        if count:
            columns[:, :, row, :, width - count :] = torch.cat(blocks, dim=3)[:, :, :, :count]
    return columns


def _packed(
    policy: nn.Module,
    decoder: Decoder | None,
    cache: Any,
    prompts: Sequence[Prompt],
    kept: list[list[Tensor]],
) -> Prefilled:
    """Without computing padding, or a start that prompts share more than once."""
    known = [sum(block.shape[3] for block in blocks) for blocks in kept]
    starts = _starts(prompts, known)
    blocks = [block for rows, _ in starts for block in kept[rows[0]]]
    if blocks:
        fill(cache, torch.cat(blocks, dim=3)[:, :, None])
    packed = pack_prompts([prompt.ids for prompt in prompts], starts=starts)
    dtype = next(policy.parameters()).dtype if decoder is None else decoder.dtype
    reader = decoder if decoder is not None and decoder.reads_prompts(packed) else None
    is_own = reader is not None and reader.is_own(packed.input_ids.shape[1])
    if dtype == torch.bfloat16 and not is_own:
        packed = filled(packed)
    lengths = torch.tensor([len(prompt.ids) for prompt in prompts])
    parts = parts_of(policy, [prompt.adapter for prompt in prompts])
    of_tokens = parts[_rows_of(packed, lengths)]
    if reader is not None:
        states = reader.prefill(packed, cache, of_tokens)
    else:
        trunk: Any = bare_model(policy)
        with reading(of_tokens), _as_stepped(decoder):
            states = packed_states(trunk, packed, cache)
    _refuse_foreign_cache(policy, cache, packed.known + len(states))
    width = packed.place.shape[1]
    last = packed.place[torch.arange(len(prompts)), lengths - 1] - packed.known
    # From the left end of each row to the right, where the next token joins.
    columns = torch.arange(width) - (width - lengths)[:, None]
    place = packed.place.gather(1, columns.clamp(min=0))
    for layer in cache.layers:
        layer.spread(place)
    return Prefilled(cache, states[last], (columns >= 0).long(), parts, known)


def _as_stepped(decoder: Decoder | None) -> AbstractContextManager[Any]:
    """The policy's own modules in the numbers of its decoder."""
    return nullcontext() if decoder is None else decoder.autocast()


def _rows_of(packed: Packed, lengths: Tensor) -> Tensor:
    """(T,) a row of each token that is run; those that share one have the same adapter."""
    is_real = torch.arange(packed.place.shape[1]) < lengths[:, None]
    rows = torch.zeros(packed.known + packed.input_ids.shape[1], dtype=torch.long)
    rows[packed.place[is_real]] = is_real.nonzero()[:, 0]
    return rows[packed.known :]


def _starts(prompts: Sequence[Prompt], known: list[int]) -> list[Start]:
    """Prompts of one adapter of which the same tokens are known may share more."""
    rows: dict[Prompt, list[int]] = {}
    for row, (prompt, count) in enumerate(zip(prompts, known, strict=True)):
        rows.setdefault(Prompt(prompt.adapter, prompt.ids[:count]), []).append(row)
    return [Start(members, len(start.ids)) for start, members in rows.items()]


def run_padded(
    policy: nn.Module, cache: Any, ids: Tensor, mask: Tensor, positions: Tensor
) -> Tensor:
    """(R, H) hidden states of the last of (R, n) tokens, which join the cache."""
    trunk: Any = bare_model(policy).base_model
    outputs = trunk(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )
    return outputs.last_hidden_state[:, -1]  # type: ignore[no-any-return]


def _refuse_foreign_cache(policy: nn.Module, cache: Any, columns: int) -> None:
    """Raise where a family left our cache empty, or (a state-space model) needs another."""
    layers = cache.layers
    if not layers or any(layer.get_seq_length() != columns for layer in layers):
        base: Any = bare_model(policy)
        raise ModelError(
            f"the family {base.config.model_type!r} does not keep keys and values for every "
            "token in each layer; expected a causal LM with plain attention: use another model"
        )
