"""Knobs of the PPO stage."""

from typing import Any, Literal

from pydantic import Field, field_validator

from accord.core.config import InputPath
from accord.stages.policy_training.online_config import OnlineConfig


class Config(OnlineConfig):
    """Proximal policy optimisation against a reward, near a frozen reference."""

    mini_batch_size: int = Field(default=64, ge=1)
    """rollouts an optimizer step; an update takes batch / mini_batch steps an epoch"""
    num_ppo_epochs: int = Field(default=4, ge=1)
    """passes over each batch of rollouts"""
    kl_coef: float = Field(default=0.1, ge=0)
    """weight of the per-token KL penalty in the reward (the first value when it adapts)"""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """estimator of the per-token KL; in the reward only k1 has the KL's own gradient. In the loss
    all three have it (k2's), so that they train alike and differ in what is logged"""
    kl_in: Literal["reward", "loss"] = "reward"
    """where kl_coef acts: on every token's reward, or as a term of the loss"""
    target_kl_nats: float | None = None
    """adapt kl_coef towards this KL in nats a response; None keeps it fixed"""
    kl_horizon: int = Field(default=2000, ge=1)
    """rollouts over which the adaptive coefficient reacts"""
    normalize_scores: Literal["running", "scale", "none"] = "running"
    """running: subtract the running mean of the scores and divide by their running deviation;
    scale: only divide; none: neither (in files, true is running and false is none)"""
    clip_scores: float | None = Field(default=None, gt=0)
    """(normalised) scores are held within this of 0, the missing_eos_penalty apart; None leaves
    them"""
    missing_eos_penalty: float = Field(default=1.0, ge=0)
    """subtracted from the (normalised) score of a response that did not end its turn"""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """discount a token"""
    lam: float = Field(default=0.95, ge=0, le=1)
    """of generalised advantage estimation"""
    whiten_advantages: bool = True
    """advantages get mean 0 and variance 1 over all tokens of an update's rollouts, before these
    are split"""
    cliprange: float = Field(default=0.2, gt=0, lt=1)
    """half-width of the trust region of the policy's ratio"""
    cliprange_high: float | None = Field(default=None, gt=0)
    """how far the ratio may rise above 1; None takes cliprange"""
    dual_clip: float | None = Field(default=None, gt=1)
    """a bad token's loss is at most this times its advantage; None leaves it out"""
    importance_cap: float | None = Field(default=None, gt=0)
    """weigh tokens by trainer over sampler probability, at most this; None trusts the sampler"""
    cliprange_value: float = Field(default=0.2, gt=0)
    """how far a value may move from its old value before its loss is clipped"""
    vf_coef: float = Field(default=0.1, ge=0)
    """weight of the value loss"""
    entropy_coef: float = Field(default=0.0, ge=0)
    """weight of the entropy bonus"""
    ptx_dataset_name: list[InputPath] = Field(default=[])
    """demonstrations, or rows of plain `text`, whose likelihood is kept up meanwhile, as
    InstructGPT's pre-training mix"""
    ptx_coef: float = Field(default=0.0, ge=0)
    """weight of their cross-entropy, in nats a token; a minibatch takes as many as rollouts"""
    value_model: Literal["separate", "shared"] = "separate"
    """a model of its own (started from a reward model that reads the same token ids, if there is
    one), or a head on the policy's trunk"""
    value_learning_rate: float | None = None
    """rate of the value; None means learning_rate"""
    value_use_peft: bool | None = None
    """LoRA adapters for a separate value model, too; None follows use_peft"""
    value_warmup_steps: int = Field(default=0, ge=0)
    """first updates in which only the value learns"""
    max_update_kl: float | None = 0.1
    """leave an update's remaining steps when the policy is further than this from the one that
    sampled, in nats a token"""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """evaluate and save a moving average of the policy, of which this share stays at every update;
    the trained policy itself samples"""

    @field_validator("normalize_scores", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        return {True: "running", False: "none"}.get(value, value) if type(value) is bool else value
