"""Knobs of the SimPO stage."""

from pydantic import Field

from accord.stages.policy_training.pair_config import PairConfig


class Config(PairConfig):
    """Simple preference optimisation: length-normalised, without a reference."""

    beta: float = Field(default=2.0, gt=0)
    """scale of the rewards, the mean log-probs of a token"""
    gamma: float = Field(default=1.0, ge=0)
    """margin by which the better response should lead"""
