"""The policy that learns and its frozen reference, on one device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from accord.core import processes
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import TokenLogprobs, token_logprobs
from accord.models.lora import adapted, reference_of
from accord.stages.policy_training.online_config import OnlineConfig
from accord.training.batches import TokenBatch


def by_share(read: Callable[[TokenBatch], Tensor], batch: TokenBatch) -> Tensor:
    """What `read` says of a batch, (B, L), each process reading a part of its rows."""
    if processes.count() == 1:
        return read(batch)
    rows = list(processes.share(range(len(batch.input_ids))))
    grid = torch.zeros(batch.target_mask.shape, device=batch.input_ids.device)
    if rows:
        grid[rows] = read(TokenBatch(*(part[rows] for part in batch)))
    return processes.summed_tensor(grid)


class Policy:
    """pi_theta and pi_ref.

    Attributes:
        module: the policy, a `transformers` causal LM (under peft with `use_peft`).
        encoder: conversations to token ids, as the policy was trained to read them.
    """

    def __init__(self, config: OnlineConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.tokenizer: Any = load_tokenizer(config.model_name_or_path)
        self.encoder = ChatEncoder(self.tokenizer)
        start = load_policy(
            config.model_name_or_path, device=device, load_in_4bit=config.load_in_4bit
        )
        self.module = adapted(start, config)
        self._as_reference = reference_of(self.module, use_peft=config.use_peft)

    def autocast(self) -> torch.autocast:
        """The precision of the trunk; heads stay in float32 by themselves."""
        return torch.autocast(
            device_type=self.device.type, dtype=torch.bfloat16, enabled=self.config.bf16
        )

    @torch.no_grad()
    def reference_logprobs(self, batch: TokenBatch) -> Tensor:
        """(B, L) log-probs of the responses under the frozen reference, in nats."""

        def read(part: TokenBatch) -> Tensor:
            with self._as_reference() as reference, self.autocast():
                return token_logprobs(
                    reference, *part, temperature=self.config.temperature
                ).logprobs

        return by_share(read, batch)

    def logprobs(self, batch: TokenBatch, *, with_entropy: bool = False) -> TokenLogprobs:
        """(B, L) log-probs of the responses, and entropies if asked for; with gradients."""
        with self.autocast():
            return token_logprobs(
                self.module,
                *batch,
                temperature=self.config.temperature,
                with_entropy=with_entropy,
            )
