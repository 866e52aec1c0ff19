"""A policy with its value: log-probs, entropies and values read from one batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from accord.core import files, processes
from accord.core.types import PromptRow
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.models.heads import save_scored_model
from accord.models.loading import load_tokenizer
from accord.models.logprobs import bare_model, before, hidden_states, logprobs_from_states
from accord.models.lora import with_adapters
from accord.models.sharding import shard, whole
from accord.models.values import ValueHead, ValueModel
from accord.rewards.learned import encoding_hash
from accord.stages.policy_training.policy import Policy, by_share
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.rollouts import prompt_room, within_policy
from accord.training.batches import TokenBatch, collate

RELOAD_PROMPTS = 4
"""Prompts at which a saved value model is read again."""


class Readings(NamedTuple):
    """(B, L) grids with gradients: log-probs and entropies in nats, values."""

    logprobs: Tensor
    entropies: Tensor
    values: Tensor


class ActorCritic(Policy):
    """pi_theta, pi_ref and V(s).

    Attributes:
        value: a `ValueModel` of its own, or a `ValueHead` on the policy's trunk.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        super().__init__(config, device)
        self.value: ValueModel | ValueHead
        uses_peft = config.use_peft if config.value_use_peft is None else config.value_use_peft
        if config.value_model == "separate":
            four_bit = uses_peft and config.load_in_4bit
            self.value = ValueModel(self._value_start(), device=device, load_in_4bit=four_bit)
        else:
            base = bare_model(self.module)
            hidden_size: int = base.config.get_text_config().hidden_size  # type: ignore[operator, union-attr]
            self.value = ValueHead(hidden_size).to(device)
        if uses_peft and isinstance(self.value, ValueModel):
            model: Any = self.value.model
            self.value.model = with_adapters(model, config)
        if processes.shards() and isinstance(self.value, ValueModel):
            shard(self.value.model, leads=False)

    def _value_start(self) -> str:
        """A reward model that reads the policy's token ids, or else the policy."""
        for model in self.config.reward_model_name_or_path:
            encoder = ChatEncoder(load_tokenizer(model))
            if encoding_hash(encoder) == encoding_hash(self.encoder):
                return model
        return self.config.model_name_or_path

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What trains, by name."""
        return {"policy": self.module, "value": self.value}

    @torch.no_grad()
    def values(self, batch: TokenBatch) -> Tensor:
        """(B, L) V(state before token l) of the responses' tokens."""
        return by_share(self._values, batch, token_budget=self.config.tokens_per_micro_batch)

    def _values(self, batch: TokenBatch) -> Tensor:
        with self.autocast():
            if isinstance(self.value, ValueModel):
                return self.value.values(*batch)
            return self.value.values(self._states(batch), batch.target_mask)

    def _states(self, batch: TokenBatch) -> Tensor:
        """(N, H) the policy's states before the responses' tokens."""
        read = before(batch.target_mask)
        return hidden_states(self.module, batch.input_ids, batch.attention_mask, read=read)

    def read(self, batch: TokenBatch) -> Readings:
        """All three, for an optimizer step."""
        with self.autocast():
            states = self._states(batch)
            if isinstance(self.value, ValueModel):
                values = self.value.values(*batch)
            else:
                values = self.value.values(states, batch.target_mask)
            logprobs, entropies = logprobs_from_states(
                self.module,
                states,
                batch.input_ids,
                batch.target_mask,
                temperature=self.config.temperature,
                with_entropy=True,
            )
        return Readings(logprobs, entropies, values)

    def save_value(self, path: Path, prompts: Sequence[PromptRow]) -> None:
        """A directory that `ValueModel.load` reads, or `ValueHead.load` where the trunk is shared.

        A model of its own has its adapters merged, and is loaded again and read at some of the
        prompts before it gets its name.
        """
        if isinstance(self.value, ValueHead):
            with files.atomic_directory(path) as temporary:
                save_file(self.value.state_dict(), temporary / "head.safetensors")
            return
        room = prompt_room(within_policy(self.config, self))
        read = [self.encoder.encode_prompt(row.prompt)[-room:] for row in prompts[:RELOAD_PROMPTS]]
        sample = collate(
            [Encoded(ids, ()) for ids in read], pad_id=self.encoder.pad_id, device=self.device
        )
        # A value model has the form of a reward model, and is saved as one.
        save_scored_model(whole(self.value.model), self.tokenizer, path, sample=sample)
