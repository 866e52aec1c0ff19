"""A reward model as a `Reward`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accord.core import processes
from accord.core.errors import ConfigError, DataError, TooLongError
from accord.core.files import hash_json
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.models.heads import (
    head_readings,
    load_reward_model,
    response_features,
    score_head,
)
from accord.models.loading import context_length, evaluating, load_tokenizer
from accord.models.score_heads import Parts, ScoreHeads
from accord.rewards.batching import batches_by_length, padded

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
            self.heads: ScoreHeads | None = None
        else:
            self.name = str(model)
            self.heads = ScoreHeads.load(Path(model), device=device)
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

        A model with several heads tells them as `parts`, and the standard deviation of its members
        as `spread`, in the same units.

        Raises:
            DataError: a response alone leaves no room for a prompt token, or its score is no finite
                number; its index is named.
        """
        readings = self.read(prompts, responses, prompt_ids=prompt_ids, response_ids=response_ids)
        members = (readings.members - self.shift) / self.scale
        return Scores(
            members.mean(-1).tolist(),
            spread=None if members.shape[1] == 1 else members.std(-1, correction=0).tolist(),
            parts={name: values.tolist() for name, values in readings.attributes.items()},
        )

    def read(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
    ) -> Parts:
        """What every member of the model, and every attribute, scores; arguments as for `score`."""
        rows = [
            self._encode(index, prompts[index], response, prompt_ids[index], response_ids[index])
            for index, response in enumerate(responses)
        ]
        self.cut_rows += sum(row.cut > 0 for row in rows)
        names = () if self.heads is None else self.heads.layout.attributes
        count = 1 if self.heads is None else self.heads.layout.members
        found = torch.zeros(len(rows), count + len(names), dtype=torch.float64)
        with torch.no_grad(), evaluating(self.model):
            batches = batches_by_length([len(row.input_ids) for row in rows], self.tokens_per_batch)
            for batch in processes.share(batches):
                found[batch] = self._read_batch([rows[index].input_ids for index in batch])
        found = processes.summed_tensor(found)
        self._refuse_nonfinite(found)
        return Parts(found[:, :count], dict(zip(names, found[:, count:].T, strict=True)))

    def _refuse_nonfinite(self, values: Tensor) -> None:
        for index, row in enumerate(values.tolist()):
            for value in row:
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
            raise TooLongError(
                f"response {index} has {len(answer)} tokens and leaves no room for its prompt in "
                f"the reward model's max_length {self.max_length}; raise it, or shorten responses"
            )
        cut = max(0, len(head) - room)
        return Encoded(head[cut:], answer, cut)

    def _read_batch(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(n, members + attributes) of some rows, on the CPU."""
        batch = padded(rows, pad_id=self.encoder.pad_id, device=self.device)
        features = response_features(self.model, *batch)
        if self.heads is None:
            return head_readings(score_head(self.model), features).double().cpu()
        members, attributes = self.heads.read(features)
        return torch.column_stack([members, *attributes.values()]).double().cpu()
