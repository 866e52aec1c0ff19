"""Knobs of the ORPO stage."""

from pydantic import Field

from accord.stages.policy_training.pair_config import PairConfig


class Config(PairConfig):
    """Odds-ratio preference optimisation: imitation and preferences at once, no reference."""

    beta: float = Field(default=0.1, ge=0)
    """weight of the odds ratio beside the likelihood of the better response"""
