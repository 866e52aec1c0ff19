"""The reward that a directly optimised policy implies, as a `Reward`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from accord.core import processes
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.models.loading import evaluating
from accord.models.logprobs import token_logprobs
from accord.rewards.batching import batches_by_length, padded
from accord.rewards.learned import TOKENS_PER_BATCH


class ImplicitReward:
    """beta (log pi(y | x) - log pi_ref(y | x)), summed over the response's tokens, in nats.

    Source: Rafailov et al. 2023, "Direct preference optimization", arXiv:2305.18290, eq. 5; what
    depends on the prompt alone is left out, so only responses to one prompt can be compared.

    Attributes:
        cut_rows: responses, over all calls, whose prompt was cut at its start to fit.
    """

    def __init__(
        self,
        policy: nn.Module,
        reference: nn.Module,
        encoder: ChatEncoder,
        *,
        beta: float,
        device: torch.device,
        max_length: int,
        tokens_per_batch: int = TOKENS_PER_BATCH,
    ) -> None:
        """Take models that are on `device` already.

        Args:
            policy: a causal LM.
            reference: the one that the policy started from; it has the same tokenizer.
            encoder: of both.
            beta: of the training.
            device: where to score.
            max_length: longest prompt plus response in tokens.
            tokens_per_batch: padded tokens that are scored at one time; sets memory, not results.

        Raises:
            ValueError: beta is not positive.
        """
        if not beta > 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.policy, self.reference, self.encoder = policy, reference, encoder
        self.beta = beta
        self.device = device
        self.max_length = max_length
        self.tokens_per_batch = tokens_per_batch
        self.cut_rows = 0

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        response_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        columns: Sequence[Row],  # noqa: ARG002 (the protocol's)
    ) -> Scores:
        """One value a response; texts are encoded anew, and end with the end of turn.

        Raises:
            TooLongError: a response alone leaves no room for a prompt token.
        """
        rows = [
            self.encoder.encode(prompt, response, max_length=self.max_length)
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        self.cut_rows += sum(row.cut > 0 for row in rows)
        gaps = self._sequence_logprobs(self.policy, rows)
        gaps -= self._sequence_logprobs(self.reference, rows)
        return Scores((self.beta * gaps).tolist())

    def _sequence_logprobs(self, model: nn.Module, rows: Sequence[Encoded]) -> Tensor:
        """(N,) float64, on the CPU."""
        found = torch.zeros(len(rows), dtype=torch.float64)
        batches = batches_by_length([len(row) for row in rows], self.tokens_per_batch)
        with torch.no_grad(), evaluating(model):
            for batch in processes.share(batches):
                ids, attention = padded(
                    [rows[i].input_ids for i in batch], pad_id=self.encoder.pad_id,
                    device=self.device,
                )  # fmt: skip
                targets = torch.zeros_like(ids, dtype=torch.bool)
                for place, i in enumerate(batch):
                    targets[place, : len(rows[i])] = torch.tensor(rows[i].target_mask)
                logprobs = token_logprobs(model, ids, attention, targets).logprobs
                found[batch] = logprobs.double().sum(-1).cpu()
        return processes.summed_tensor(found)
