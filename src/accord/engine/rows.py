"""Rows that a local engine runs together: left-padded prompts and the cache of their tokens."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from accord.core.errors import ModelError
from accord.engine.columns import new_cache
from accord.engine.decoder import Decoder
from accord.engine.requests import CooperativeGeneration
from accord.models.logprobs import bare_model
from accord.models.packing import pack_prompts, packed_states, packs_rows


class Rows:
    """Left-padded rows with one cache, whose last column is everybody's latest token.

    All tensors have a first axis R. Finished rows stay, and are run along, until `keep`.

    Attributes:
        generations: the R requests.
        last: (R,) tokens that were sampled but are not yet in the cache.
        temperatures: (R,) float32; 0 asks for the likeliest token.
        uniforms: (R, M) float64 in [0, 1), those of the next token first.
    """

    def __init__(
        self,
        generations: list[CooperativeGeneration],
        cache: Any,
        mask: Tensor,
        uniforms: Tensor,
    ) -> None:
        device = mask.device
        params = [g.request.params for g in generations]
        self.generations = generations
        self.uniforms = uniforms
        self.temperatures = torch.tensor([float(p.temperature) for p in params], device=device)
        self.last = torch.zeros(len(generations), dtype=torch.long, device=device)
        self._cache = cache
        self._mask = mask  # (R, T), 1 on real tokens of the cache
        self._reads: Any = None  # a decoder's, made anew when the rows have changed
        self._positions = mask.sum(dim=1)  # (R,) of `last`
        lengths = torch.tensor([p.max_new_tokens for p in params], dtype=torch.long)
        # Rows that have finished are run along: without a limit they would leave the context.
        self._position_limits = self._positions + lengths.to(device) - 1

    @classmethod
    def prefill(
        cls,
        policy: nn.Module,
        generations: list[CooperativeGeneration],
        *,
        decoder: Decoder | None = None,
    ) -> tuple[Self, Tensor]:
        """Run the prompts, equal ones once; also gives (R, H), the states of their last tokens.

        The rows are to be stepped with the same `decoder`.
        """
        device = next(policy.parameters()).device
        prompts = [g.request.prompt_ids for g in generations]
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        cache: Any = new_cache() if decoder is None else decoder.new_cache()
        if packs_rows(bare_model(policy)):
            hidden, mask = _prefill_packed(policy, decoder, cache, list(place))
        else:
            hidden, mask = _prefill_padded(policy, cache, list(place))
        if len(place) < len(prompts):
            whose = torch.tensor([place[prompt] for prompt in prompts], device=device)
            hidden, mask = hidden[whose], mask[whose]
            for layer in cache.layers:
                layer.keep(whose, 0)
        uniforms = torch.from_numpy(_draw_uniforms(generations)).to(device)
        return cls(generations, cache, mask, uniforms), hidden

    def step(self, policy: nn.Module, decoder: Decoder | None) -> Tensor:
        """Run `last`; (R, H) hidden states from which the next tokens are sampled."""
        positions = torch.minimum(self._positions, self._position_limits)
        self._mask = nn.functional.pad(self._mask, (0, 1), value=1)
        self._positions = self._positions + 1
        if decoder is not None:
            if self._reads is None:
                room = self._mask.shape[1] + self.uniforms.shape[1]
                self._reads = decoder.reads(self._mask, room=room)
            return decoder.step(self.last, positions, self._reads, self._cache)
        return _run(policy, self._cache, self.last[:, None], self._mask, positions[:, None])

    def take_uniforms(self) -> Tensor:
        """(R,) for the next token of each row; the column is used up."""
        column, self.uniforms = self.uniforms[:, 0], self.uniforms[:, 1:]
        return column

    def keep(self, indices: Sequence[int]) -> None:
        """Only these rows stay (at least one); padding that all of them share is dropped."""
        self.generations = [self.generations[i] for i in indices]
        chosen = torch.tensor(indices, device=self._mask.device)
        for name in ("last", "temperatures", "uniforms", "_positions", "_position_limits"):
            setattr(self, name, getattr(self, name)[chosen])
        mask = self._mask[chosen]
        start = int(mask.argmax(dim=1).min())
        self._mask = mask[:, start:]
        self._reads = None
        for layer in self._cache.layers:
            layer.keep(chosen, start)

    def merge(self, new: Self) -> None:
        """Add rows; the shorter side is padded on the left."""
        columns = self._mask.shape[1], new._mask.shape[1]
        left = [max(columns) - n for n in columns]

        for mine, theirs in zip(self._cache.layers, new._cache.layers, strict=True):
            mine.join(theirs, *left)
        masks = zip((self._mask, new._mask), left, strict=True)
        self._mask = torch.cat([nn.functional.pad(mask, (n, 0)) for mask, n in masks])
        self._reads = None
        remaining = max(self.uniforms.shape[1], new.uniforms.shape[1])
        uniforms = (self.uniforms, new.uniforms)
        self.uniforms = torch.cat(
            [nn.functional.pad(u, (0, remaining - u.shape[1])) for u in uniforms]
        )
        for name in ("last", "temperatures", "_positions", "_position_limits"):
            setattr(self, name, torch.cat([getattr(self, name), getattr(new, name)]))
        self.generations = self.generations + new.generations


def _prefill_padded(
    policy: nn.Module, cache: Any, prompts: list[tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """(R, H) states of the prompts' last tokens, and (R, T) the mask of the cache's columns."""
    device = next(policy.parameters()).device
    width = max(map(len, prompts))
    ids = torch.tensor([(0,) * (width - len(p)) + tuple(p) for p in prompts], device=device)
    padding = torch.tensor([width - len(p) for p in prompts], device=device)
    mask = (torch.arange(width, device=device) >= padding[:, None]).long()
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    hidden = _run(policy, cache, ids, mask, positions)
    _refuse_foreign_cache(policy, cache, width)
    return hidden, mask


def _prefill_packed(
    policy: nn.Module, decoder: Decoder | None, cache: Any, prompts: list[tuple[int, ...]]
) -> tuple[Tensor, Tensor]:
    """The same without computing padding, or a start that prompts share more than once."""
    packed = pack_prompts(prompts)
    if decoder is not None and decoder.reads_prompts(packed):
        states = decoder.prefill(packed, cache)
    else:
        trunk: Any = bare_model(policy)
        states = packed_states(trunk, packed, cache)
    _refuse_foreign_cache(policy, cache, len(states))
    width = packed.place.shape[1]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    last = packed.place[torch.arange(len(prompts)), lengths - 1]
    # From the left end of each row to the right, where the next token joins.
    columns = torch.arange(width) - (width - lengths)[:, None]
    place = packed.place.gather(1, columns.clamp(min=0))
    for layer in cache.layers:
        layer.spread(place)
    return states[last], (columns >= 0).long()


def _run(policy: nn.Module, cache: Any, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
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


def _draw_uniforms(generations: list[CooperativeGeneration]) -> np.ndarray:
    """(R, M), one for each token of a response, from the request's own seed and nothing else."""
    lengths = [g.request.params.max_new_tokens for g in generations]
    uniforms = np.zeros((len(generations), max(lengths)))
    for row, (generation, length) in enumerate(zip(generations, lengths, strict=True)):
        uniforms[row, :length] = np.random.default_rng(generation.request.seed).random(length)
    return uniforms
