"""Knobs of the REINFORCE++ stage."""

from pydantic import Field

from accord.stages.policy_training.critic_free_config import CriticFreeConfig


class Config(CriticFreeConfig):
    """REINFORCE++ against a reward, near a frozen reference: PPO's update without a value."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """rate, after linear warm-up"""
    num_generations: int = Field(default=1, ge=1)
    """responses to each prompt; above 1, their mean score is subtracted first"""
    kl_coef: float = Field(default=0.01, ge=0)
    """weight of the per-token KL penalty in the reward"""
