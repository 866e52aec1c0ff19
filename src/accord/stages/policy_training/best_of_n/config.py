"""Knobs of the best-of-n stage."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.reward_config import RewardConfig
from accord.core.sampling_config import SamplingConfig


class Config(RewardConfig, SamplingConfig):
    """Sample several responses to each prompt and keep the best: rejection sampling, whose output
    `sft` imitates."""

    model_name_or_path: InputPath
    """policy that responds"""
    prompts: InputPath
    """prompts to respond to; their other columns reach the reward and are kept"""
    max_prompts: int = -1
    """first prompts that are used; -1 means all"""
    num_generations: int = Field(default=8, ge=1)
    """n, responses to each prompt"""
    min_score: float | None = None
    """leave a prompt out whose best response scores less"""
    max_length: int = Field(default=1024, ge=2)
    """longest prompt plus response in tokens; longer prompts are cut at their start"""
    max_completion_length: int = Field(default=64, ge=1)
    """longest response in tokens"""
    temperature: float = Field(default=1.0, gt=0)
    """of sampling"""
