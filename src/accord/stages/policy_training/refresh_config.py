"""Knobs of the reward model that is trained further while the policy learns from it."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.monitors_config import MonitorsConfig
from accord.core.reward_config import RewardConfig


class RefreshConfig(MonitorsConfig, RewardConfig):
    """When the reward model is refreshed, who judges the fresh responses, and how it learns."""

    refresh_steps: int = Field(default=0, ge=0)
    """updates between refreshes of the reward model: pairs of the policy's responses are judged,
    and it is trained further on them and on as many old pairs; 0 leaves it as it is"""
    refresh_annotators: str | None = None
    """who judges: dotted name of a list of annotators, or of a function from a seed to one, as for
    preferences; all of them judge every pair"""
    refresh_scorer: str | None = None
    """or by what: dotted name of a function, written as reward_funcs; the higher score wins"""
    refresh_comparisons: list[InputPath] = Field(default=[])
    """comparisons that the reward model learned from, so that it does not forget them"""
    refresh_prompts: int = Field(default=128, ge=2)
    """prompts a refresh, with two fresh responses each"""
    refresh_learning_rate: float = Field(default=1e-5, gt=0)
    """peak rate of the reward model"""
    refresh_epochs: float = Field(default=1.0, gt=0)
    """passes over the pairs of a refresh; the moment of the lowest held-out loss is kept"""

    @model_validator(mode="after")
    def _can_refresh(self) -> Self:
        if not self.refresh_steps:
            return self
        if (self.refresh_annotators is None) == (self.refresh_scorer is None):
            raise ConfigError(
                "refresh_steps: somebody has to judge the fresh responses; give refresh_annotators "
                "or refresh_scorer, and not both"
            )
        if len(self.reward_model_name_or_path) != 1 or self.reward_ensemble:
            raise ConfigError(
                f"refresh_steps refreshes one reward model (reward_model_name_or_path), got "
                f"{len(self.reward_model_name_or_path)}"
                f"{' in an ensemble' if self.reward_ensemble else ''}"
            )
        if self.monitors == "off":
            raise ConfigError(
                "refresh_steps needs monitors warn or stop: figures from before a refresh are "
                "scored again, and they keep the responses"
            )
        return self
