"""Classifiers of texts: a reward model's trunk with a head of several labels, and its words."""

from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from accord.core import files
from accord.core.errors import ModelError
from accord.models.heads import load_classifier

_FILE = "classifier.json"


class ClassifierFormat(BaseModel):
    """What a head's outputs mean: a file beside the weights.

    Attributes:
        labels: their names, in the head's order.
        exclusive: whether a text has exactly one of them.
        temperatures: of each label's logit, by which probabilities mean what they say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...] = Field(min_length=1)
    exclusive: bool
    temperatures: tuple[float, ...]

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.temperatures) != len(self.labels) or not all(t > 0 for t in self.temperatures):
            raise ValueError("expected a temperature above 0 for each label")
        return self

    def probabilities(self, logits: Tensor) -> Tensor:
        """(N, K) calibrated probabilities of (N, K) logits."""
        scaled = logits / torch.tensor(self.temperatures, dtype=logits.dtype, device=logits.device)
        return scaled.softmax(-1) if self.exclusive else scaled.sigmoid()

    def save(self, model_path: Path) -> None:
        """Write it into a model's directory."""
        files.write_json(model_path / _FILE, self.model_dump())

    @classmethod
    def load(cls, model_path: Path) -> "ClassifierFormat | None":
        """What lies in a model's directory; None for a model that is no classifier of ours.

        Raises:
            ModelError: the file cannot be read.
        """
        path = model_path / _FILE
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); copy the model again") from error

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
