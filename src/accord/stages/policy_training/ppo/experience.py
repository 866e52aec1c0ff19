"""All that PPO computes of a batch of rollouts before the policy moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accord.core.types import Rollout
from accord.objectives.gae import gae
from accord.objectives.importance import truncated_importance_weights
from accord.objectives.kl import kl_estimate
from accord.objectives.masked import whiten
from accord.objectives.ppo import explained_variance
from accord.objectives.rewards import per_token_rewards
from accord.stages.policy_training.policy import by_share
from accord.stages.policy_training.ppo.actor_critic import ActorCritic
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import RunningMoments
from accord.stages.policy_training.rollouts import rollout_grid
from accord.training.batches import TokenBatch


@dataclass(frozen=True)
class Experience:
    """A batch of scored rollouts on the (B, L) grid; nothing in it has a gradient.

    `old_logprobs`, which the ratio is against, are the sampler's own; with importance weights they
    are the trainer's reading of the same weights, and `weights` correct for the difference.
    """

    batch: TokenBatch
    sampler_logprobs: Tensor
    old_logprobs: Tensor
    weights: Tensor
    reference_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    metrics: dict[str, float]
    kl_nats: float  # to the reference, mean a response
    kl_coef: float  # when the batch was prepared

    def rows(self, index: Sequence[int]) -> "Experience":
        """The same for some rows, cut to their longest."""
        chosen = list(index)
        length = int(self.batch.attention_mask[chosen].sum(1).max())

        def cut(grid: Tensor) -> Tensor:
            return grid[chosen, :length]

        return Experience(
            TokenBatch(*(cut(grid) for grid in self.batch)),
            sampler_logprobs=cut(self.sampler_logprobs),
            old_logprobs=cut(self.old_logprobs),
            weights=cut(self.weights),
            reference_logprobs=cut(self.reference_logprobs),
            old_values=cut(self.old_values),
            advantages=cut(self.advantages),
            returns=cut(self.returns),
            metrics=self.metrics,
            kl_nats=self.kl_nats,
            kl_coef=self.kl_coef,
        )


@torch.no_grad()
def prepare(
    policy: ActorCritic,
    rollouts: Sequence[Rollout],
    scores: Sequence[float],
    moments: RunningMoments,
    kl_coef: float,
    config: Config,
) -> Experience:
    """Reference log-probs, values, per-token rewards, advantages and returns of a batch."""
    batch, sampler_logprobs = rollout_grid(rollouts, policy)
    mask = batch.target_mask
    reference_logprobs = policy.reference_logprobs(batch)
    old_values = policy.values(batch)
    moments.update(list(scores))
    shaped = [
        _shaped(score, moments, config) - (0.0 if rollout.finished else config.missing_eos_penalty)
        for score, rollout in zip(scores, rollouts, strict=True)
    ]
    kl = kl_estimate(sampler_logprobs, reference_logprobs, estimator=config.kl_estimator)
    rewards = per_token_rewards(
        kl,
        torch.tensor(shaped, device=policy.device),
        mask,
        kl_coef=kl_coef if config.kl_in == "reward" else 0.0,
    )
    advantages, returns = gae(rewards, old_values, mask, gamma=config.gamma, lam=config.lam)
    if config.whiten_advantages:
        advantages = whiten(advantages, mask)
    old_logprobs, weights = sampler_logprobs, torch.ones_like(sampler_logprobs)
    if config.importance_cap is not None:
        old_logprobs = by_share(lambda part: policy.logprobs(part).logprobs, batch)
        weights = truncated_importance_weights(
            old_logprobs, sampler_logprobs, mask, cap=config.importance_cap
        )
    kl_nats = float(((sampler_logprobs - reference_logprobs) * mask).sum(1).mean())
    metrics = {
        "score/mean": sum(scores) / len(scores),
        "score/shaped_mean": sum(shaped) / len(shaped),
        "reward/mean": float((rewards * mask).sum(1).mean()),
        "value/mean": float(old_values[mask].mean()),
        "return/mean": float(returns[mask].mean()),
        "value/explained_variance": float(explained_variance(old_values, returns, mask)),
        "kl_nats": kl_nats,
        "kl_coef": kl_coef,
        "length/mean": float(mask.sum(1).float().mean()),
        "stop_rate": sum(r.finished for r in rollouts) / len(rollouts),
    }
    return Experience(
        batch,
        sampler_logprobs,
        old_logprobs,
        weights,
        reference_logprobs,
        old_values,
        advantages,
        returns,
        metrics,
        kl_nats,
        kl_coef,
    )


def _shaped(score: float, moments: RunningMoments, config: Config) -> float:
    """A score, normalised and clipped as the config says."""
    shaped = moments.normalize(score) if config.normalize_scores else score
    limit = config.clip_scores
    return shaped if limit is None else max(-limit, min(limit, shaped))
