"""A process reward model as a `Reward`: every step has a score, and the steps make the value."""

from collections.abc import Sequence
from pathlib import Path

import torch

from accord.core import processes
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.corpora.steps import EncodedSteps, encode_steps, split_steps
from accord.models.heads import load_reward_model, token_scores
from accord.models.loading import evaluating, load_tokenizer
from accord.models.process_reward import ProcessFormat
from accord.objectives.process import response_value
from accord.rewards.batching import batches_by_length, padded


class ProcessReward:
    """Scores the steps of a response; its value is the least, the product or another of these.

    The text is split at the separator that the model was trained with, and encoded anew.
    """

    def __init__(
        self,
        model: str,
        form: ProcessFormat,
        *,
        device: torch.device,
        max_length: int,
        tokens_per_batch: int = 8192,
    ) -> None:
        self.model = load_reward_model(model, device=device)
        self.encoder = ChatEncoder(load_tokenizer(model))
        self.form = form
        self.device = device
        self.max_length = max_length
        self.tokens_per_batch = tokens_per_batch

    @classmethod
    def load_if_process(
        cls, model: str, *, device: torch.device, max_length: int
    ) -> "ProcessReward | None":
        """The reward of a process reward model; None when `model` is none."""
        form = ProcessFormat.load(Path(model))
        return None if form is None else cls(model, form, device=device, max_length=max_length)

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        response_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        columns: Sequence[Row],  # noqa: ARG002 (the protocol's)
    ) -> Scores:
        """Probabilities, in [0, 1], that each step is right, and a value of each response.

        Raises:
            DataError: a response alone leaves no room for a prompt token; its index is named.
        """
        items = [
            encode_steps(
                prompt,
                split_steps(response, separator=self.form.step_separator),
                self.encoder,
                separator=self.form.step_separator,
                max_length=self.max_length,
                where=f"response {index}",
            )
            for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
        ]
        found = torch.zeros(len(items), max(len(item.ends) for item in items), dtype=torch.float64)
        with torch.no_grad(), evaluating(self.model):
            lengths = [len(item.row.input_ids) for item in items]
            for batch in processes.share(batches_by_length(lengths, self.tokens_per_batch)):
                self._read_batch([items[index] for index in batch], batch, found)
        found = processes.summed_tensor(found)
        steps = [row[: len(item.ends)] for row, item in zip(found, items, strict=True)]
        aggregation = self.form.step_aggregation
        return Scores(
            [float(response_value(row, aggregation=aggregation)) for row in steps],
            per_step=[row.tolist() for row in steps],
        )

    def _read_batch(
        self, items: Sequence[EncodedSteps], rows: Sequence[int], found: torch.Tensor
    ) -> None:
        """Fill in the rows of `found`."""
        ids, mask = padded(
            [item.row.input_ids for item in items], pad_id=self.encoder.pad_id, device=self.device
        )
        scores = token_scores(self.model, ids, mask).double().sigmoid().cpu()
        for row, item, read in zip(rows, items, scores, strict=True):
            found[row, : len(item.ends)] = read[item.places]
