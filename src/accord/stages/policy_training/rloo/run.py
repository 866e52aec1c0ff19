"""RLOO, visibly: a response is one action, and its baseline the others' mean.

The loss is the sum over a response's tokens, so that its gradient on policy is REINFORCE's; the
clip only matters for further passes over a batch. The loop is in `critic_free.py`.

Source: Ahmadian et al. 2024, arXiv:2402.14740.
"""

from torch import Tensor

from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.objectives.groups import group_advantages
from accord.objectives.kl import kl_estimate
from accord.objectives.masked import zero_outside
from accord.stages.policy_training.critic_free import Result, train
from accord.stages.policy_training.critic_free_update import Method
from accord.stages.policy_training.group_sampling import Sampled
from accord.stages.policy_training.rloo.config import Config

__all__ = ["Result", "run"]


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Train a policy against a reward and save it under `model/`."""

    def advantages(sampled: Sampled) -> Tensor:
        mask = sampled.batch.target_mask
        returns = sampled.scores
        if sampled.reference_logprobs is not None:
            # k1 alone: the others' gradients are not those of the KL when it is part of a reward.
            kl = kl_estimate(sampled.sampler_logprobs, sampled.reference_logprobs, estimator="k1")
            returns = returns - config.beta * zero_outside(kl, mask).sum(dim=1)
        found = group_advantages(returns, group_size=config.num_generations, kind="leave_one_out")
        # The constant's mean divides by the longest response; a sum over tokens is wanted.
        return config.max_completion_length * found[:, None].expand(mask.shape)

    method = Method("RLOO", advantages, aggregation="constant", needs_reference=config.beta > 0)
    return train(config, run_dir, method, engine_factory=engine_factory)
