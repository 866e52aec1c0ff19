"""Knobs of the reward-model stage."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """Bradley-Terry on comparisons, to the minimum of the held-out loss."""

    comparisons: list[InputPath]
    """pairs: prompt, chosen, rejected, and p_chosen and margin if there are any"""
    eval_comparisons: InputPath | None = None
    """pairs whose loss picks the moment that is kept; without them a share is held out by prompt"""
    eval_fraction: float = Field(default=0.1, gt=0, lt=1)
    """share held out when there are no eval_comparisons"""
    test_comparisons: InputPath | None = None
    """pairs for the reported figures, scored once, when the model is final; without them the
    figures are those of the pairs that picked it, and say so"""
    head_ridge: float | None = Field(default=None, gt=0)
    """fit the head first, on the trunk as it is, with this ridge penalty (0.3 is a good one); worth
    it with few pairs; without it the head starts at random"""
    folds: int = Field(default=0, ge=0)
    """cross-validate in so many folds by prompt, beside a TF-IDF ranker and "the longer wins";
    0 leaves it out"""
