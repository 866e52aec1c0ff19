"""Knobs that every method has which samples from the policy while it learns."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.sampling_config import SamplingConfig
from accord.core.train_config import TrainConfig
from accord.stages.policy_training.environment_config import EnvironmentConfig


class OnlineConfig(EnvironmentConfig, SamplingConfig, TrainConfig):
    """Prompts, rewards, sampling, and how far the policy may go."""

    prompts: InputPath
    """prompts to respond to; their other columns reach the reward"""
    eval_prompts: InputPath | None = None
    """prompts for the held-out reward; without them a share of `prompts` is held out"""
    eval_fraction: float = Field(default=0.1, gt=0, lt=1)
    """share of `prompts` held out when there are no eval_prompts"""
    max_eval_prompts: int = Field(default=128, ge=1)
    """held-out prompts that each evaluation responds to"""
    per_device_train_batch_size: int = Field(default=64, ge=1)
    """rollouts an update"""
    max_completion_length: int = Field(default=64, ge=1)
    """longest response in tokens"""
    temperature: float = Field(default=1.0, gt=0)
    """of sampling, and of every log-prob"""
    eval_steps: int = Field(default=10, ge=1)
    """updates between held-out evaluations"""
    save_steps: int = Field(default=20, ge=1)
    """updates between checkpoints"""
