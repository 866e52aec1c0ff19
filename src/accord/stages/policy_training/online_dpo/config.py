"""Knobs of the online DPO stage."""

from typing import Literal

from pydantic import Field

from accord.stages.policy_training.online_config import OnlineConfig


class Config(OnlineConfig):
    """DPO on the best and the worst of a few fresh responses to each prompt."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """rate, after linear warm-up"""
    num_generations: int = Field(default=2, ge=2)
    """responses to each prompt; per_device_train_batch_size is a multiple of it"""
    beta: float = Field(default=0.1, gt=0)
    """strength of the pull to the reference"""
    loss_type: Literal["sigmoid", "ipo", "hinge", "apo_zero", "apo_down"] = "sigmoid"
    """as for dpo"""
    missing_eos_penalty: float = Field(default=0.0, ge=0)
    """subtracted from the score of a response that did not end its turn"""
