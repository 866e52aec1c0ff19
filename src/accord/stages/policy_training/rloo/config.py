"""Knobs of the RLOO stage."""

from pydantic import Field

from accord.stages.policy_training.critic_free_config import CriticFreeConfig


class Config(CriticFreeConfig):
    """REINFORCE with a leave-one-out baseline, against a reward, near a frozen reference."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """rate, after linear warm-up"""
    num_generations: int = Field(default=2, ge=2)
    """responses to each prompt; per_device_train_batch_size is a multiple of it"""
    beta: float = Field(default=0.05, ge=0)
    """weight of a response's KL to the reference, which is subtracted from its score"""
