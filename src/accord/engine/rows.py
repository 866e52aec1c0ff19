"""Rows that a local engine runs together: left-padded prompts and the cache of their tokens."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from accord.core.errors import ModelError
from accord.engine.requests import CooperativeGeneration
from accord.models.logprobs import bare_model


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
        self._positions = mask.sum(dim=1)  # (R,) of `last`
        lengths = torch.tensor([p.max_new_tokens for p in params], dtype=torch.long)
        # Rows that have finished are run along: without a limit they would leave the context.
        self._position_limits = self._positions + lengths.to(device) - 1

    @classmethod
    def prefill(
        cls, policy: nn.Module, generations: list[CooperativeGeneration]
    ) -> tuple[Self, Tensor]:
        """Run the prompts; also gives (R, H), the hidden states of their last tokens."""
        device = next(policy.parameters()).device
        prompts = [g.request.prompt_ids for g in generations]
        width = max(map(len, prompts))
        ids = torch.tensor([(0,) * (width - len(p)) + tuple(p) for p in prompts])
        padding = torch.tensor([width - len(p) for p in prompts])
        mask = (torch.arange(width) >= padding[:, None]).long()
        uniforms = torch.from_numpy(_draw_uniforms(generations))
        rows = cls(generations, DynamicCache(), mask.to(device), uniforms.to(device))
        positions = (rows._mask.cumsum(dim=1) - 1).clamp(min=0)
        hidden = rows._run(policy, ids.to(device), positions)
        rows._refuse_foreign_cache(policy)
        return rows, hidden

    def step(self, policy: nn.Module) -> Tensor:
        """Run `last`; (R, H) hidden states from which the next tokens are sampled."""
        positions = torch.minimum(self._positions, self._position_limits)
        self._mask = nn.functional.pad(self._mask, (0, 1), value=1)
        self._positions = self._positions + 1
        return self._run(policy, self.last[:, None], positions[:, None])

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
        for layer in self._cache.layers:
            layer.keys = layer.keys[:, :, start:][chosen]
            layer.values = layer.values[:, :, start:][chosen]

    def merge(self, new: Self) -> None:
        """Add rows; the shorter side is padded on the left."""
        columns = self._mask.shape[1], new._mask.shape[1]
        left = [max(columns) - n for n in columns]

        def join(mine: Tensor, theirs: Tensor) -> Tensor:
            sides = zip((mine, theirs), left, strict=True)
            return torch.cat([nn.functional.pad(t, (0, 0, n, 0)) for t, n in sides])

        for mine, theirs in zip(self._cache.layers, new._cache.layers, strict=True):
            mine.keys = join(mine.keys, theirs.keys)
            mine.values = join(mine.values, theirs.values)
        masks = zip((self._mask, new._mask), left, strict=True)
        self._mask = torch.cat([nn.functional.pad(mask, (n, 0)) for mask, n in masks])
        remaining = max(self.uniforms.shape[1], new.uniforms.shape[1])
        uniforms = (self.uniforms, new.uniforms)
        self.uniforms = torch.cat(
            [nn.functional.pad(u, (0, remaining - u.shape[1])) for u in uniforms]
        )
        for name in ("last", "temperatures", "_positions", "_position_limits"):
            setattr(self, name, torch.cat([getattr(self, name), getattr(new, name)]))
        self.generations = self.generations + new.generations

    def _run(self, policy: nn.Module, ids: Tensor, positions: Tensor) -> Tensor:
        trunk: Any = bare_model(policy).base_model
        outputs = trunk(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return outputs.last_hidden_state[:, -1]  # type: ignore[no-any-return]

    def _refuse_foreign_cache(self, policy: nn.Module) -> None:
        """Raise where a family left our cache empty, or (a state-space model) needs another."""
        layers = self._cache.layers
        if not layers or any(layer.get_seq_length() != self._mask.shape[1] for layer in layers):
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
