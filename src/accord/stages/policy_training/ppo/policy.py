"""The policy with its frozen reference and its value: three readings of one batch."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from accord.core import files
from accord.corpora.encoding import ChatEncoder
from accord.models.heads import ValueHead, ValueModel
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import hidden_states, logprobs_from_hidden, token_logprobs
from accord.models.lora import adapted, reference_of
from accord.stages.policy_training.ppo.config import Config
from accord.training.batches import TokenBatch


class Readings(NamedTuple):
    """(B, L) grids with gradients: log-probs and entropies in nats, values."""

    logprobs: Tensor
    entropies: Tensor
    values: Tensor


class Policy:
    """pi_theta, pi_ref and V(s) on one device.

    Attributes:
        module: the policy, a `transformers` causal LM (under peft with `use_peft`).
        value: a `ValueModel` of its own, or a `ValueHead` on the policy's trunk.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.tokenizer: Any = load_tokenizer(config.model_name_or_path)
        self.encoder = ChatEncoder(self.tokenizer)
        policy = load_policy(config.model_name_or_path, device=device)
        hidden_size = policy.config.get_text_config().hidden_size
        self.module = adapted(policy, config)
        self._as_reference = reference_of(self.module, use_peft=config.use_peft)
        self.value: ValueModel | ValueHead
        if config.value_model == "separate":
            start = config.reward_model_name_or_path or config.model_name_or_path
            self.value = ValueModel(start, device=device)
        else:
            self.value = ValueHead(hidden_size).to(device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            device_type=self.device.type, dtype=torch.bfloat16, enabled=self.config.bf16
        )

    @torch.no_grad()
    def reference_logprobs(self, batch: TokenBatch) -> Tensor:
        """(B, L) log-probs of the responses under the frozen reference."""
        with self._as_reference() as reference, self._autocast():
            out = token_logprobs(reference, *batch, temperature=self.config.temperature)
        return out.logprobs

    @torch.no_grad()
    def values(self, batch: TokenBatch) -> Tensor:
        """(B, L) V(state before token l)."""
        with self._autocast():
            if isinstance(self.value, ValueModel):
                return self.value.values(batch.input_ids, batch.attention_mask)
            hidden = hidden_states(self.module, batch.input_ids, batch.attention_mask)
            return self.value.values(hidden)

    def read(self, batch: TokenBatch) -> Readings:
        """All three, for an optimizer step."""
        with self._autocast():
            hidden = hidden_states(self.module, batch.input_ids, batch.attention_mask)
            if isinstance(self.value, ValueModel):
                values = self.value.values(batch.input_ids, batch.attention_mask)
            else:
                values = self.value.values(hidden)
            logprobs, entropies = logprobs_from_hidden(
                self.module,
                hidden,
                batch.input_ids,
                batch.target_mask,
                temperature=self.config.temperature,
                with_entropy=True,
            )
        return Readings(logprobs, entropies, values)

    def save_value(self, path: Path) -> None:
        """A directory that `ValueModel` loads, or one with the head's weights alone."""
        if isinstance(self.value, ValueModel):
            self.value.save(path, self.tokenizer)
        else:
            with files.atomic_directory(path) as temporary:
                save_file(self.value.state_dict(), temporary / "head.safetensors")
