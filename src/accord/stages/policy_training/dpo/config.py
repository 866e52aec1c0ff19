"""Knobs of the DPO stage."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """Direct preference optimisation against the model it starts from."""

    comparisons: list[InputPath]
    """pairs: prompt, chosen, rejected, and p_chosen if there is one"""
    learning_rate: float = Field(default=1e-6, gt=0)
    """peak rate, after linear warm-up; then a cosine to a tenth"""
    eval_comparisons: InputPath | None = None
    """pairs for the validation figures; without them a share is held out by prompt"""
    eval_fraction: float = Field(default=0.05, gt=0, lt=1)
    """share held out when there are no eval_comparisons"""
    beta: float = Field(default=0.1, gt=0)
    """strength of the pull to the reference"""
