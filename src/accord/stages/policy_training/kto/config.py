"""Knobs of the KTO stage."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """Kahneman-Tversky optimisation against the model it starts from; needs no pairs."""

    dataset_name: list[InputPath]
    """rows: prompt, completion and label (true is desirable); a pair is two of them"""
    learning_rate: float = Field(default=1e-6, gt=0)
    """peak rate, after linear warm-up; then a cosine to a tenth"""
    eval_dataset_name: InputPath | None = None
    """rows for the validation figures; without them a share is held out by prompt"""
    eval_fraction: float = Field(default=0.05, gt=0, lt=1)
    """share held out when there is no eval_dataset_name"""
    beta: float = Field(default=0.1, gt=0)
    """strength of the pull to the reference"""
    desirable_weight: float = Field(default=1.0, ge=0)
    """weight of desirable responses; weight times count should be alike for both kinds"""
    undesirable_weight: float = Field(default=1.0, ge=0)
    """weight of undesirable responses"""
