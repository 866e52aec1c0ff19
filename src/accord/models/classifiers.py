"""Classifiers of texts: a reward model's trunk with a head of several labels, and its words."""

from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from accord.core.errors import ModelError
from accord.models.heads import load_classifier
from accord.models.note import ModelNote


class ClassifierFormat(ModelNote):
    """What a head's outputs mean: a file beside the weights.

    Attributes:
        labels: their names, in the head's order.
        exclusive: whether a text has exactly one of them.
        temperatures: of each label's logit, by which probabilities mean what they say.
        weights: what probabilities are divided by where one class is named, so that rare ones are
            named more readily; empty for the likeliest class.
    """

    file: ClassVar[str] = "classifier.json"

    labels: tuple[str, ...] = Field(min_length=1)
    exclusive: bool
    temperatures: tuple[float, ...]
    weights: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.temperatures) != len(self.labels) or not all(t > 0 for t in self.temperatures):
            raise ValueError("expected a temperature above 0 for each label")
        if self.weights and (len(self.weights) != len(self.labels) or min(self.weights) <= 0):
            raise ValueError("expected a weight above 0 for each label, or none at all")
        return self

    def probabilities(self, logits: Tensor) -> Tensor:
        """(N, K) calibrated probabilities of (N, K) logits."""
        scaled = logits / torch.tensor(self.temperatures, dtype=logits.dtype, device=logits.device)
        return scaled.softmax(-1) if self.exclusive else scaled.sigmoid()

    def named(self, logits: Tensor) -> Tensor:
        """(N,) the class that each of (N, K) logits names, of classes that exclude each other."""
        given = self.probabilities(logits)
        weights = torch.tensor(self.weights or (1.0,), dtype=given.dtype, device=given.device)
        return (given / weights).argmax(-1)

    def name_labels(self, config: Any) -> None:
        """Tell a model's config the names, for whoever loads it with `transformers`."""
        config.id2label = dict(enumerate(self.labels))
        config.label2id = {name: number for number, name in enumerate(self.labels)}
        config.problem_type = (
            "single_label_classification" if self.exclusive else "multi_label_classification"
        )


def load_labelled_classifier(path: str, *, device: torch.device) -> PreTrainedModel:
    """A classifier with any number of labels, float32, in evaluation mode.

    Raises:
        ModelError: no such model, or no saved head.
    """
    model, has_head = load_classifier(path, device=device, several_labels=True)
    if not has_head:
        raise ModelError(
            f"{path}: holds no classifier's head; expected a classifier: train one with the "
            "classifier stage, which starts from a policy"
        )
    return model
