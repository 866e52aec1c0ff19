"""GRPO, visibly: what a group's scores say of each response. The loop is in `critic_free.py`.

Sources: Shao et al. 2024, arXiv:2402.03300; Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO); Yu et al.
2025, arXiv:2503.14476 (DAPO); Zheng et al. 2025, arXiv:2507.18071 (GSPO).
"""

from torch import Tensor

from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.objectives.groups import group_advantages
from accord.stages.policy_training.critic_free import Result, train
from accord.stages.policy_training.critic_free_update import Method
from accord.stages.policy_training.group_sampling import Sampled
from accord.stages.policy_training.grpo.config import Config

__all__ = ["Result", "run"]

AGGREGATIONS = {"grpo": "sequence", "dapo": "token", "dr_grpo": "constant"}


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Train a policy against a reward and save it under `model/`."""

    def advantages(sampled: Sampled) -> Tensor:
        found = group_advantages(
            sampled.scores,
            group_size=config.num_generations,
            kind="scaled" if config.scale_rewards else "centred",
        )
        return found[:, None].expand(sampled.batch.target_mask.shape)

    method = Method(
        "GRPO",
        advantages,
        aggregation=AGGREGATIONS[config.loss_type],
        level=config.importance_sampling_level,
        kl_coef=config.beta,
        kl_estimator=config.kl_estimator,
        resamples=config.dynamic_sampling,
    )
    return train(config, run_dir, method, engine_factory=engine_factory)
