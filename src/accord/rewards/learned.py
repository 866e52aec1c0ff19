"""A reward model as a `Reward`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accord.core import processes
from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.models.heads import load_reward_model, response_scores
from accord.models.loading import context_length, evaluating, load_tokenizer

TOKENS_PER_BATCH = 8192
"""Padded tokens that are scored at one time."""


def encoding_hash(encoder: ChatEncoder) -> str:
    """Equal for encoders that give the same ids to the same conversation."""
    tokenizer = encoder.tokenizer
    return hash_json([tokenizer.get_vocab(), tokenizer.chat_template, encoder.end_of_turn_id])


class LearnedReward:
    """Scores responses with a sequence classifier of one label, at the response's last token.

    Where the policy encodes as the reward model does, its token ids are scored as they were
    sampled. Elsewhere, and for responses that come as text alone (with empty ids), the text is
    encoded anew and closed with the end of turn.

    Attributes:
        cut_rows: responses, over all calls, whose prompt was cut at its start to fit.
    """

    def __init__(
        self,
        model: str | Path | tuple[nn.Module, ChatEncoder],
        *,
        device: torch.device,
        max_length: int,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        policy_encoder: ChatEncoder | None = None,
        shift: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        """Load the model, or take one that is on `device` already, with its encoder.

        Args:
            model: a directory, a hub name, or the two things themselves.
            device: where to score.
            max_length: longest prompt plus response in tokens.
            tokens_per_batch: padded tokens that are scored at one time; sets memory, not results.
            policy_encoder: what made the ids that `score` will be given, if it will be given any.
            shift: subtracted from the model's score (its mean, to normalise).
            scale: the difference is divided by it (the standard deviation, to normalise).

        Raises:
            ModelError: no such reward model.
            ConfigError: `scale` is not positive, or `max_length` is beyond the model's context.
        """
        if isinstance(model, tuple):
            self.model, self.encoder = model
            self.name = type(self.model).__name__
        else:
            self.name = str(model)
            self.model = load_reward_model(str(model), device=device)
            self.encoder = ChatEncoder(load_tokenizer(str(model)))
        if not scale > 0:
            raise ConfigError(f"scale must be positive, got {scale}")
        config: Any = getattr(self.model, "config", None)
        context = None if config is None else context_length(config)
        if context is not None and max_length > context:
            raise ConfigError(
                f"max_length is {max_length}, but the reward model's context has {context} tokens"
            )
        self.device = device
        self.max_length = max_length
        self.tokens_per_batch = tokens_per_batch
        self.shift = shift
        self.scale = scale
        self.cut_rows = 0
        self.shares_ids = policy_encoder is not None and (
            encoding_hash(policy_encoder) == encoding_hash(self.encoder)
        )

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],  # noqa: ARG002 (the protocol's)
    ) -> Scores:
        """(score - shift) / scale of each response, without gradient.

        Raises:
            DataError: a response alone leaves no room for a prompt token, or its score is no finite
                number; its index is named.
        """
        rows = [
            self._encode(index, prompts[index], response, prompt_ids[index], response_ids[index])
            for index, response in enumerate(responses)
        ]
        self.cut_rows += sum(row.cut > 0 for row in rows)
        values = [0.0] * len(rows)
        with torch.no_grad(), evaluating(self.model):
            batches = _batches([len(row.input_ids) for row in rows], self.tokens_per_batch)
            for batch in processes.share(batches):
                scores = self._score_batch([rows[index].input_ids for index in batch])
                for index, value in zip(batch, scores, strict=True):
                    values[index] = (value - self.shift) / self.scale
        whole = processes.summed_tensor(torch.tensor(values, dtype=torch.float64)).tolist()
        self._refuse_nonfinite(whole)
        return Scores(whole)

    def _refuse_nonfinite(self, values: Sequence[float]) -> None:
        for index, value in enumerate(values):
            if not math.isfinite(value):
                raise DataError(
                    f"reward model {self.name} gave {value} for response {index}; expected a "
                    "finite number: its weights are damaged, or its activations overflow"
                )

    def _encode(
        self,
        index: int,
        prompt: Sequence[Message],
        response: str,
        prompt_ids: Sequence[int],
        response_ids: Sequence[int],
    ) -> Encoded:
        if self.shares_ids and response_ids:
            head, answer = tuple(prompt_ids), tuple(response_ids)
        else:
            head = self.encoder.encode_prompt(prompt)
            answer = self.encoder.encode_response(response)
        room = self.max_length - len(answer)
        if room < 1:
            raise DataError(
                f"response {index} has {len(answer)} tokens and leaves no room for its prompt in "
                f"the reward model's max_length {self.max_length}; raise it, or shorten responses"
            )
        cut = max(0, len(head) - room)
        return Encoded(head[cut:], answer, cut)

    def _score_batch(self, rows: Sequence[Sequence[int]]) -> list[float]:
        lengths = torch.tensor([len(row) for row in rows])
        columns = torch.arange(int(lengths.max()))
        attention_mask = (columns < lengths[:, None]).long()
        input_ids = torch.full(attention_mask.shape, self.encoder.pad_id)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = torch.tensor(row)
        scores = response_scores(
            self.model, input_ids.to(self.device), attention_mask.to(self.device)
        )
        return [float(score) for score in scores.tolist()]


def _batches(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Indices from the shortest row to the longest, in batches of a bounded padded size.

    A row above the bound is a batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # Rows come sorted, so this row's length is what the batch is padded to.
        if batches and lengths[index] * (len(batches[-1]) + 1) <= tokens_per_batch:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
