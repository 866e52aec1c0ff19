"""Rows that a local engine runs together: left-padded prompts and the cache of their tokens."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from accord.engine.decoder import Decoder
from accord.engine.prefill import Prefilled, prefill, run_padded
from accord.engine.prefixes import Prefixes, Prompt
from accord.engine.requests import CooperativeGeneration
from accord.models.adapters import reading

_BY_ROW = ("last", "temperatures", "_positions", "_position_limits", "_parts")
"""Tensors with an axis of rows, beside those whose columns are used up or added."""


class Rows:
    """Left-padded rows with one cache, whose last column is everybody's latest token.

    All tensors have a first axis R. Finished rows stay, and are run along, until `keep`.

    Attributes:
        generations: the R requests.
        controlled: places of those with controls, in order.
        last: (R,) tokens that were sampled but are not yet in the cache.
        temperatures: (R,) float32; 0 asks for the likeliest token.
        uniforms: (R, M) float64 in [0, 1), those of the next token first.
        is_stale: some of the keys and values are of weights that were changed since.
    """

    def __init__(self, generations: list[CooperativeGeneration], filled: Prefilled) -> None:
        """Rows of generations whose prompts are the filled ones."""
        device = filled.mask.device
        params = [g.request.params for g in generations]
        self.generations = generations
        self.controlled = _controlled(generations)
        self.is_stale = False
        self.uniforms = torch.from_numpy(_draw_uniforms(generations)).to(device)
        self.temperatures = torch.tensor([float(p.temperature) for p in params], device=device)
        self.last = torch.zeros(len(generations), dtype=torch.long, device=device)
        self._cache = filled.cache
        self._mask = filled.mask  # (R, T), 1 on real tokens of the cache
        self._parts = filled.parts  # (R, ranks) of the rows' adapters
        self._reads: Any = None  # a decoder's, made anew when the rows have changed
        self._positions = filled.mask.sum(dim=1)  # (R,) of `last`
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
        prefixes: Prefixes | None = None,
    ) -> tuple[Self, Tensor]:
        """Run the prompts, equal ones once; also gives (R, H), the states of their last tokens.

        The rows are to be stepped with the same `decoder`. With `prefixes`, what these know of a
        prompt is not run, and the prompts are kept in them.
        """
        prompts = [Prompt(g.request.adapter, g.request.prompt_ids) for g in generations]
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        filled = prefill(policy, list(place), decoder=decoder, prefixes=prefixes)
        for generation, prompt in zip(generations, prompts, strict=True):
            generation.cached_tokens = filled.known[place[prompt]]
        if len(place) < len(prompts):
            filled = filled.repeated([place[prompt] for prompt in prompts])
        return cls(generations, filled), filled.hidden

    def step(self, policy: nn.Module, decoder: Decoder | None) -> Tensor:
        """Run `last`; (R, H) hidden states from which the next tokens are sampled."""
        positions = torch.minimum(self._positions, self._position_limits)
        self._mask = nn.functional.pad(self._mask, (0, 1), value=1)
        self._positions = self._positions + 1
        if decoder is not None:
            if self._reads is None:
                room = self._mask.shape[1] + self.uniforms.shape[1]
                self._reads = decoder.reads(self._mask, room=room)
            return decoder.step(self.last, positions, self._reads, self._cache, self._parts)
        with reading(self._parts[:, None]):
            return run_padded(
                policy, self._cache, self.last[:, None], self._mask, positions[:, None]
            )

    def take_uniforms(self) -> Tensor:
        """(R,) for the next token of each row; the column is used up."""
        column, self.uniforms = self.uniforms[:, 0], self.uniforms[:, 1:]
        return column

    def keep(self, indices: Sequence[int]) -> None:
        """Only these rows stay (at least one); padding that all of them share is dropped."""
        self.generations = [self.generations[i] for i in indices]
        self.controlled = _controlled(self.generations)
        chosen = torch.tensor(indices, device=self._mask.device)
        for name in (*_BY_ROW, "uniforms"):
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
        for name in _BY_ROW:
            setattr(self, name, torch.cat([getattr(self, name), getattr(new, name)]))
        self.generations = self.generations + new.generations
        self.controlled = _controlled(self.generations)
        self.is_stale |= new.is_stale

    def remember(self, prefixes: Prefixes, indices: Sequence[int]) -> None:
        """Keep what these rows have read and said, for a prompt that goes on from there."""
        if self.is_stale:
            return
        for index in indices:
            request, tokens = self.generations[index].request, self.generations[index].tokens
            # The last token was sampled and perhaps not run.
            ids = (*request.prompt_ids, *(token.token_id for token in tokens))[:-1]
            start = int(self._mask[index].argmax())
            prefixes.keep(Prompt(request.adapter, ids), self._cache, index, start)


def _controlled(generations: Sequence[CooperativeGeneration]) -> list[int]:
    return [i for i, g in enumerate(generations) if g.request.controls is not None]


def _draw_uniforms(generations: list[CooperativeGeneration]) -> np.ndarray:
    """(R, M), one for each token of a response, from the request's own seed and nothing else."""
    lengths = [g.request.params.max_new_tokens for g in generations]
    uniforms = np.zeros((len(generations), max(lengths)))
    for row, (generation, length) in enumerate(zip(generations, lengths, strict=True)):
        uniforms[row, :length] = np.random.default_rng(generation.request.seed).random(length)
    return uniforms
