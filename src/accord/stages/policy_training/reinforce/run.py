"""REINFORCE++, visibly: the return of every token, normalised over the batch.

The loop is in `critic_free.py`.

Source: Hu et al. 2025, arXiv:2501.03262.
"""

import torch
from torch import Tensor

from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.objectives.gae import gae
from accord.objectives.groups import group_advantages
from accord.objectives.kl import kl_estimate
from accord.objectives.masked import whiten
from accord.objectives.rewards import per_token_rewards
from accord.stages.policy_training.critic_free import Result, train
from accord.stages.policy_training.critic_free_update import Method
from accord.stages.policy_training.group_sampling import Sampled
from accord.stages.policy_training.reinforce.config import Config

__all__ = ["Result", "run"]


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Train a policy against a reward and save it under `model/`."""

    def advantages(sampled: Sampled) -> Tensor:
        mask = sampled.batch.target_mask
        scores = sampled.scores
        if config.num_generations > 1:
            scores = group_advantages(scores, group_size=config.num_generations, kind="centred")
        kl = torch.zeros_like(sampled.sampler_logprobs)
        if sampled.reference_logprobs is not None:
            kl = kl_estimate(
                sampled.sampler_logprobs,
                sampled.reference_logprobs,
                estimator="k1",  # as a reward, the others' gradients are not the KL's
            )
        counts = mask.any(dim=1)
        returns = torch.zeros_like(kl)
        rewards = per_token_rewards(
            kl[counts], scores[counts], mask[counts], kl_coef=config.kl_coef
        )
        # Without values, and with gamma and lambda 1, the advantage is the sum of rewards to come.
        returns[counts] = gae(
            rewards, torch.zeros_like(rewards), mask[counts], gamma=1.0, lam=1.0
        ).returns
        return whiten(returns, mask)

    method = Method(
        "REINFORCE++", advantages, aggregation="token", needs_reference=config.kl_coef > 0
    )
    return train(config, run_dir, method, engine_factory=engine_factory)
