"""Knobs of the process-reward stage."""

from typing import Literal

from pydantic import Field

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """A score a step: whether each step of a solution is right, to the minimum of the held-out
    loss."""

    dataset_name: list[InputPath]
    """rows with prompt, completions (the steps) and labels (true, false, or a probability each)"""
    eval_dataset_name: InputPath | None = None
    """rows whose loss picks the moment that is kept and whose figures are reported; without them a
    share is held out by prompt"""
    eval_fraction: float = Field(default=0.1, gt=0, lt=1)
    """share held out when there is no eval_dataset_name"""
    step_separator: str = Field(default="\n", min_length=1)
    """what ends a step in a response; kept with the model"""
    step_aggregation: Literal["min", "product", "mean", "last"] = "min"
    """how the steps' probabilities become the one reward of a response; kept with the model"""
