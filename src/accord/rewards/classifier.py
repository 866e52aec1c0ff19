"""A classifier of ours at work: calibrated probabilities of texts, and one of them as a reward."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from accord.core import processes
from accord.core.errors import ConfigError, ModelError, describe_choice
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.corpora.labelled import encode_labelled
from accord.models.classifiers import ClassifierFormat, load_labelled_classifier
from accord.models.heads import head_readings, response_features, score_head
from accord.models.loading import evaluating, load_tokenizer, within_context
from accord.rewards.batching import batches_by_length, padded


class Classifier:
    """What the classifier stage left, loaded to classify.

    Attributes:
        labels: their names.
        cut_rows: texts, over all calls, that did not fit the model's context whole.
    """

    def __init__(
        self, model: str, *, device: torch.device, max_length: int, tokens_per_batch: int = 8192
    ) -> None:
        """Load it.

        Args:
            model: the directory.
            device: where to compute.
            max_length: longest prompt plus text in tokens.
            tokens_per_batch: padded tokens that are read at one time; sets memory, not results.

        Raises:
            ModelError: no classifier of ours is there.
        """
        form = ClassifierFormat.load(Path(model))
        if form is None:
            raise ModelError(
                f"{model}: has no classifier.json; expected what `accord classifier` left in model/"
            )
        self.path = model
        self.form = form
        self.labels = form.labels
        self.model = load_labelled_classifier(model, device=device)
        self.encoder = ChatEncoder(load_tokenizer(model))
        self.device = device
        self.max_length = within_context(max_length, self.model.config)
        self.tokens_per_batch = tokens_per_batch
        self.cut_rows = 0

    def probabilities(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str]
    ) -> Tensor:
        """(N, labels) float64, calibrated; an empty prompt is for a text that answers nothing."""
        return self.form.probabilities(self._logits(prompts, responses))

    def classify(self, prompts: Sequence[Sequence[Message]], responses: Sequence[str]) -> list[str]:
        """The class of each, rare ones named as readily as its training found best.

        Raises:
            ConfigError: its labels do not exclude each other.
        """
        if not self.form.exclusive:
            raise ConfigError(f"{self.path}: its labels do not exclude each other")
        named = self.form.named(self._logits(prompts, responses))
        return [self.labels[place] for place in named.tolist()]

    def _logits(self, prompts: Sequence[Sequence[Message]], responses: Sequence[str]) -> Tensor:
        rows = [
            encode_labelled(prompt, text, self.encoder, max_length=self.max_length)
            for prompt, text in zip(prompts, responses, strict=True)
        ]
        self.cut_rows += sum(row.cut > 0 for row in rows)
        found = torch.zeros(len(rows), len(self.labels), dtype=torch.float64)
        with torch.no_grad(), evaluating(self.model):
            batches = batches_by_length([len(row) for row in rows], self.tokens_per_batch)
            for batch in processes.share(batches):
                ids = [rows[index].input_ids for index in batch]
                found[batch] = self._read_batch(ids)
        return processes.summed_tensor(found)

    def _read_batch(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(n, labels) logits, on the CPU."""
        batch = padded(rows, pad_id=self.encoder.pad_id, device=self.device)
        features = response_features(self.model, *batch)
        return head_readings(score_head(self.model), features).double().cpu()


class ClassifierReward:
    """The probability of one label as a `Reward`, or, of an unwanted one, what is left to 1."""

    def __init__(
        self, classifier: Classifier, label: str, *, is_unwanted: bool = False, alone: bool = False
    ) -> None:
        """Take a classifier.

        Args:
            classifier: whose probabilities are read.
            label: which of them.
            is_unwanted: reward its absence.
            alone: read responses without their prompts, as texts were that it learned from.

        Raises:
            ConfigError: there is no such label.
        """
        if label not in classifier.labels:
            raise ConfigError(f"no label {describe_choice(label, list(classifier.labels))}")
        self.classifier = classifier
        self.column = classifier.labels.index(label)
        self.is_unwanted = is_unwanted
        self.alone = alone

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        response_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        columns: Sequence[Row],  # noqa: ARG002 (the protocol's)
    ) -> Scores:
        """A probability each; all labels' are among the parts."""
        read = [() for _ in prompts] if self.alone else prompts
        found = self.classifier.probabilities(read, responses)
        value = found[:, self.column]
        return Scores(
            (1 - value if self.is_unwanted else value).tolist(),
            parts={name: found[:, k].tolist() for k, name in enumerate(self.classifier.labels)},
        )
