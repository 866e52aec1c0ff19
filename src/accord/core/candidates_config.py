"""The knobs of stages that sample responses to be judged."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.sampling_config import SamplingConfig


class CandidatesConfig(SamplingConfig):
    """Which policy responds to which prompts, and how often."""

    model_name_or_path: InputPath | None = None
    """policy to sample from"""
    prompts: InputPath | None = None
    """prompts to respond to; their other columns reach the annotators"""
    max_prompts: int = Field(default=-1, ge=-1)
    """respond to this many prompts; -1 to all"""
    edge_share: float = Field(default=0, ge=0, le=1)
    """of max_prompts, at least this share are edge cases (column edge_case; `accord data pool`)"""
    red_team_share: float = Field(default=0, ge=0, le=1)
    """of max_prompts, at least this share are for the red team (column red_team)"""
    used_prompts: list[InputPath] = Field(default=[])
    """prompts of earlier rounds, which are not asked again"""
    num_generations: int = Field(default=2, ge=2)
    """responses a prompt, paired two by two"""
    temperature: float = Field(default=1.0, gt=0)
    """of sampling"""
    max_completion_length: int = Field(default=64, ge=1)
    """longest response in tokens"""

    @property
    def draws_a_batch(self) -> bool:
        """Whether prompts are drawn from a pool, all kinds alike; else the first ones are taken."""
        return bool(self.edge_share or self.red_team_share or self.used_prompts)

    @model_validator(mode="after")
    def _check_candidates(self) -> Self:
        if (self.edge_share or self.red_team_share) and self.max_prompts < 0:
            raise ConfigError("shares are of max_prompts, which takes all prompts now")
        if self.model_name_or_path and not self.prompts:
            raise ConfigError("sampling from model_name_or_path needs prompts")
        return self
