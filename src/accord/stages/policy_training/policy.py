"""The policy that learns and its frozen reference, on one device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from accord.core import processes
from accord.core.interfaces import Engine, EngineFactory
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import TokenLogprobs, token_logprobs
from accord.models.lora import adapted, reference_of
from accord.models.sharding import replica, whole_weights
from accord.stages.policy_training.online_config import OnlineConfig
from accord.training.batches import TokenBatch


def by_share(
    read: Callable[[TokenBatch], Tensor], batch: TokenBatch, *, token_budget: int
) -> Tensor:
    """What `read` says of a batch, (B, L), without gradient: each process reads a part of its rows,
    in pieces of at most `token_budget` padded tokens.
    """
    grid = torch.zeros(batch.target_mask.shape, device=batch.input_ids.device)
    # Neighbours stay together: the responses to one prompt share its computation.
    rows = list(processes.share(range(len(grid))))
    size = max(1, token_budget // grid.shape[1])
    pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
    for piece in pieces:
        grid[piece] = read(TokenBatch(*(part[piece] for part in batch)))
    if processes.shards():  # weights are gathered from all: whoever has fewer reads a row again
        most = -(-len(grid) // processes.count())
        for _ in range(-(-most // size) - len(pieces)):
            read(TokenBatch(*(part[:1] for part in batch)))
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
        if config.use_peft:
            self.module = adapted(start, config)
            self._as_reference = reference_of(self.module, use_peft=True)
        else:
            self._as_reference = reference_of(start, use_peft=False)
            self.module = adapted(start, config)

    def engine(self, factory: EngineFactory, *, version: int) -> Engine:
        """What samples from the policy; where that is sharded, each process has all of a copy."""
        with self.autocast():  # the local engine takes its products' numbers from it
            built = factory(replica(self.module), self.tokenizer)
        built.load_weights(self.weights(), version=version)
        return built

    def weights(self) -> dict[str, Tensor]:
        """All of the policy's weights, for an engine; its own memory where it is not sharded."""
        return whole_weights(self.module)

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

        return by_share(read, batch, token_budget=self.config.tokens_per_micro_batch)

    def logprobs(self, batch: TokenBatch, *, with_entropy: bool = False) -> TokenLogprobs:
        """(B, L) log-probs of the responses, and entropies if asked for; with gradients."""
        with self.autocast():
            return token_logprobs(
                self.module,
                *batch,
                temperature=self.config.temperature,
                with_entropy=with_entropy,
            )
