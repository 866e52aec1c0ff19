"""Knobs of the classifier stage."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """A probability for each label of a text, calibrated, to the minimum of the held-out loss."""

    dataset_name: list[InputPath]
    """rows with text, or prompt and completion, and a label: true or false (or a probability),
    several of these by name, or the name of a class that excludes the others"""
    eval_dataset_name: InputPath | None = None
    """rows whose loss picks the moment that is kept, and that set the temperatures; without them a
    share is held out by text"""
    eval_fraction: float = Field(default=0.1, gt=0, lt=1)
    """share held out when there is no eval_dataset_name"""
    test_dataset_name: InputPath | None = None
    """rows for the reported figures, read once, when the model is final; without them the figures
    are those of the rows that picked it, and say so"""
    subgroup_terms: list[str] = Field(default=[])
    """words, such as names of groups of people: the figures are also given for the texts that have
    each of them, and against the others"""

    @model_validator(mode="after")
    def _no_adapter(self) -> Self:
        if self.save_adapter:
            raise ValueError("save_adapter: adapters are kept with a single head; leave it out")
        return self
