"""Knobs of every stage that scores responses by what its user names."""

from typing import Literal

from pydantic import Field

from accord.core.config import InputPath, StageConfig


class RewardConfig(StageConfig):
    """Reward models and functions, alone or together."""

    reward_model_name_or_path: list[InputPath] = Field(default=[])
    """reward models that score responses"""
    reward_funcs: list[str] = Field(default=[])
    """dotted names of functions f(completions, prompts, **columns) -> list[float], which score
    responses too, or alone"""
    reward_weights: list[float] = Field(default=[])
    """weight of each reward in their sum, models first, then functions; all 1 when left out"""
    reward_ensemble: Literal["mean", "worst", "uncertainty"] | None = None
    """read all reward models, and the members that share a trunk, as one reward: their mean, their
    worst, or their mean less reward_uncertainty_coef times their variance"""
    reward_uncertainty_coef: float = Field(default=0.1, ge=0)
    """of the variance of an ensemble's members"""
