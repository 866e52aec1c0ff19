"""Knobs of the DPO stage."""

from typing import Literal

from pydantic import Field

from accord.stages.policy_training.pair_config import PairConfig


class Config(PairConfig):
    """Direct preference optimisation against the model it starts from."""

    beta: float = Field(default=0.1, gt=0)
    """strength of the pull to the reference"""
    loss_type: Literal["sigmoid", "robust", "ipo", "hinge", "apo_zero", "apo_down"] = "sigmoid"
    """sigmoid is DPO; robust corrects for label_smoothing; ipo, hinge (SLiC) and the two APO losses
    read the same rewards"""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """share of judgements that are wrong: corrected for by robust, hedged by the others (cDPO)"""
    length_normalized: bool = False
    """log-probs are means over a response's tokens, not sums"""
    ld_alpha: float = Field(default=1.0, ge=0, le=1)
    """weight of the tokens beyond the shorter response's length (LD-DPO); 1 counts them fully"""
