"""Knobs that every method has which learns from comparisons."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class PairConfig(TrainConfig):
    """Pairs to learn from, and pairs to measure on."""

    comparisons: list[InputPath]
    """pairs: prompt, chosen, rejected, and p_chosen if there is one"""
    learning_rate: float = Field(default=1e-6, gt=0)
    """peak rate, after linear warm-up; then a cosine to a tenth"""
    eval_comparisons: InputPath | None = None
    """pairs for the validation figures; without them a share is held out by prompt"""
    eval_fraction: float = Field(default=0.05, gt=0, lt=1)
    """share held out when there are no eval_comparisons"""
