"""Knobs that the methods share which learn from scores alone, without a value."""

from pydantic import Field

from accord.stages.policy_training.online_config import OnlineConfig


class CriticFreeConfig(OnlineConfig):
    """A batch of scored rollouts, and the clipped steps on it."""

    num_generations: int = Field(default=8, ge=1)
    """responses to each prompt; per_device_train_batch_size is a multiple of it"""
    mini_batch_size: int = Field(default=64, ge=1)
    """rollouts an optimizer step; an update takes batch / mini_batch steps an epoch"""
    num_iterations: int = Field(default=1, ge=1)
    """passes over each batch of rollouts"""
    cliprange: float = Field(default=0.2, gt=0, lt=1)
    """how far the policy's ratio may fall below 1, and rise above it without cliprange_high"""
    cliprange_high: float | None = Field(default=None, gt=0)
    """how far the ratio may rise above 1 (DAPO: 0.28); None takes cliprange"""
    dual_clip: float | None = Field(default=None, gt=1)
    """a bad response's loss is at most this times its advantage; None leaves it out"""
    importance_cap: float | None = Field(default=None, gt=0)
    """weigh tokens by trainer over sampler probability, at most this; None trusts the sampler"""
    missing_eos_penalty: float = Field(default=0.0, ge=0)
    """subtracted from the score of a response that did not end its turn"""
    mask_truncated_completions: bool = False
    """leave responses that did not end their turn out of the loss"""
    entropy_coef: float = Field(default=0.0, ge=0)
    """weight of the entropy bonus"""
    max_update_kl: float | None = None
    """leave an update's remaining steps when the policy is further than this from the one that
    sampled, in nats a token"""
