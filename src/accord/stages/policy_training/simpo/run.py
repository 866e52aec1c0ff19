"""SimPO: no reference, one model in memory.

Source: Meng et al. 2024, arXiv:2405.14734.
"""

from collections.abc import Mapping

from torch import Tensor

from accord.core.run_dir import RunDir
from accord.objectives.reference_free import simpo_loss
from accord.stages.policy_training.reference_free import Result, train
from accord.stages.policy_training.simpo.config import Config

__all__ = ["Result", "run"]


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a policy on comparisons and save it under `model/`."""
    shown = ("reward/accuracy", "reward/margin")
    return train(config, run_dir, name="SimPO", loss=_loss, shown=shown)


def _loss(
    chosen: Tensor, rejected: Tensor, config: Config, *, p_chosen: Tensor, denominator: float
) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
    out = simpo_loss(
        chosen,
        rejected,
        beta=config.beta,
        gamma=config.gamma,
        p_chosen=p_chosen,
        denominator=denominator,
    )
    means = {
        "reward/chosen": out.chosen_reward,
        "reward/rejected": out.rejected_reward,
        "reward/margin": out.margin,
    }
    return out.loss, out.accuracy, means
