"""Knobs of the reward-model stage."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """Bradley-Terry on comparisons, to the minimum of the held-out loss."""

    comparisons: list[InputPath]
    """pairs: prompt, chosen, rejected, and p_chosen and margin if there are any; or rankings:
    prompt, completions, ranks (1 the best). A column `attribute` says which head a row trains"""
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
    center_rewards_coefficient: float = Field(default=0.0, ge=0)
    """pulls the mean of the scores to 0, which the pairs alone leave free (0.01 is usual)"""
    attributes: list[str] = Field(default=[])
    """names of several heads, such as helpful, harmless, honest; rows without an attribute train
    their weighted sum, which is the score"""
    attribute_weights: list[float] = Field(default=[])
    """of the heads in the score, in their order; all 1 when left out"""
    members: int = Field(default=1, ge=1)
    """heads of an ensemble on one trunk, each on a resampling of the pairs of its own; their mean
    is the score, and their disagreement is reported beside it"""
    disentangle_length: bool = False
    """keep what response length explains out of the score, in a head that is left out (ODIN)"""
    folds: int = Field(default=0, ge=0)
    """cross-validate in so many folds by prompt, beside a TF-IDF ranker and "the longer wins";
    0 leaves it out"""

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.attribute_weights and len(self.attribute_weights) != len(self.attributes):
            raise ValueError(
                f"{len(self.attribute_weights)} attribute_weights for {len(self.attributes)} "
                "attributes; give one each"
            )
        has_several = self.members > 1 or len(self.attributes) > 1 or self.disentangle_length
        if self.save_adapter and has_several:
            raise ValueError("save_adapter: adapters are kept with a single head; leave one out")
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError("an attribute is named twice")
        return self
