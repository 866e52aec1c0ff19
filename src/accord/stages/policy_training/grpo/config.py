"""Knobs of the GRPO stage."""

from typing import Literal

from pydantic import Field

from accord.stages.policy_training.critic_free_config import CriticFreeConfig


class Config(CriticFreeConfig):
    """Group-relative policy optimisation, with its corrections as options."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """rate, after linear warm-up"""
    num_generations: int = Field(default=8, ge=2)
    """responses to each prompt; per_device_train_batch_size is a multiple of it"""
    loss_type: Literal["grpo", "dapo", "dr_grpo"] = "dapo"
    """how token losses add up: grpo means over each response first, dapo over all tokens, dr_grpo
    sums and divides by a constant"""
    scale_rewards: bool = True
    """divide a group's advantages by its standard deviation (Dr. GRPO: false)"""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """what the ratio is of; sequence is GSPO"""
    dynamic_sampling: bool = False
    """replace groups whose scores are all equal by those of the next prompts (DAPO)"""
    beta: float = Field(default=0.0, ge=0)
    """weight of the KL to the reference in the loss; 0 reads no reference while training"""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """estimator of the per-token KL in the loss. All three have the gradient of the KL (k2's), so
    that they train alike and differ in what is logged; TRL trains on k3's own"""
