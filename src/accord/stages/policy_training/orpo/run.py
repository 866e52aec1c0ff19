"""ORPO: imitation and preference in one loss, no reference, one model in memory.

Source: Hong et al. 2024, arXiv:2403.07691.
"""

from collections.abc import Mapping

from torch import Tensor

from accord.core.run_dir import RunDir
from accord.objectives.reference_free import orpo_loss
from accord.stages.policy_training.orpo.config import Config
from accord.stages.policy_training.reference_free import Result, train

__all__ = ["Result", "run"]


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a policy on comparisons and save it under `model/`."""
    shown = ("reward/accuracy", "odds/log_ratio")
    return train(config, run_dir, name="ORPO", loss=_loss, shown=shown)


def _loss(
    chosen: Tensor, rejected: Tensor, config: Config, *, p_chosen: Tensor, denominator: float
) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
    out = orpo_loss(chosen, rejected, beta=config.beta, p_chosen=p_chosen, denominator=denominator)
    means = {"odds/loss": out.odds_loss, "odds/log_ratio": out.log_odds_ratio}
    return out.loss, out.accuracy, means
