"""All that PPO computes of a batch of rollouts before the policy moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accord.core import processes
from accord.core.episodes import Rollout
from accord.objectives.gae import gae
from accord.objectives.importance import truncated_importance_weights
from accord.objectives.kl import kl_estimate
from accord.objectives.masked import whiten
from accord.objectives.ppo import explained_variance
from accord.objectives.rewards import per_token_rewards, shape_scores
from accord.stages.policy_training.episodes import episode_metrics
from accord.stages.policy_training.policy import by_share
from accord.stages.policy_training.ppo.actor_critic import ActorCritic, Readings
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import RunningMoments
from accord.stages.policy_training.rollouts import rollout_grid
from accord.training.batches import TokenBatch


@dataclass(frozen=True)
class Experience:
    """A batch of scored rollouts on the (B, L) grid; nothing but `readings` has a gradient.

    `old_logprobs`, which the ratio is against, are the sampler's own; with importance weights they
    are the trainer's reading of the same weights, and `weights` correct for the difference.
    `readings` has, or is empty, what the first minibatch would read once more, and which takes it.
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
    readings: list[Readings]

    def rows(self, index: Sequence[int]) -> "Experience":
        """The same for some rows, cut to their longest, without readings."""
        cut = self._cut(index)
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
            readings=[],
        )

    def take_readings(self, index: Sequence[int]) -> Readings | None:
        """What was read of these rows before the first step, once: a graph is not to outlive it."""
        if not self.readings:
            return None
        cut = self._cut(index)
        return Readings(*(cut(grid) for grid in self.readings.pop()))

    def _cut(self, index: Sequence[int]) -> Callable[[Tensor], Tensor]:
        chosen = list(index)
        length = int(self.batch.attention_mask[chosen].sum(1).max())
        return lambda grid: grid[chosen, :length]


@torch.no_grad()
def prepare(
    policy: ActorCritic,
    rollouts: Sequence[Rollout],
    scores: Sequence[float],
    moments: RunningMoments,
    kl_coef: float,
    config: Config,
) -> Experience:
    """Reference log-probs, values, per-token rewards, advantages and returns of a batch.

    All at once: what is whitened is whitened over the whole batch, however it is split later.
    """
    batch, sampler_logprobs = rollout_grid(rollouts, policy)
    mask = batch.target_mask
    readings = _first_readings(policy, batch, config)
    old_logprobs, weights = _behaviour(policy, batch, sampler_logprobs, readings, config)
    reference_logprobs = policy.reference_logprobs(batch)
    old_values = readings[0].values.detach() if readings else policy.values(batch)
    shaped = _shaped(rollouts, scores, moments, config).to(policy.device)
    kl = kl_estimate(old_logprobs, reference_logprobs, estimator=config.kl_estimator)
    penalty = kl_coef if config.kl_in == "reward" else 0.0
    rewards = per_token_rewards(kl, shaped, mask, kl_coef=penalty)
    advantages, returns = gae(rewards, old_values, mask, gamma=config.gamma, lam=config.lam)
    if config.whiten_advantages:
        advantages = whiten(advantages, mask)
    kl_nats = float(((old_logprobs - reference_logprobs) * mask).sum(1).mean())
    metrics = {
        "score/shaped_mean": float(shaped.mean()),
        "reward/mean": float((rewards * mask).sum(1).mean()),
        "value/mean": float(old_values[mask].mean()),
        "return/mean": float(returns[mask].mean()),
        "value/explained_variance": float(explained_variance(old_values, returns, mask)),
        "kl_nats": kl_nats,
        "kl_coef": kl_coef,
        "length/mean": float(mask.sum(1).float().mean()),
        "stop_rate": sum(r.finished for r in rollouts) / len(rollouts),
    }
    metrics |= episode_metrics(rollouts)
    if config.importance_cap is not None:
        metrics["importance/mean"] = float(weights[mask].mean())
        is_capped = weights[mask] == config.importance_cap
        metrics["importance/capped_share"] = float(is_capped.float().mean())
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
        readings,
    )


def _first_readings(policy: ActorCritic, batch: TokenBatch, config: Config) -> list[Readings]:
    """What the first minibatch reads, if that is the whole batch at once: its values are the old
    ones, and a forward pass is saved. Dropout is for learning, and not for old values.
    """
    rows, length = batch.input_ids.shape
    is_one = rows <= config.mini_batch_size and rows * length <= config.tokens_per_micro_batch
    if not is_one or processes.count() > 1 or config.lora_dropout:
        return []
    with torch.enable_grad():
        return [policy.read(batch)]


def _behaviour(
    policy: ActorCritic,
    batch: TokenBatch,
    sampler_logprobs: Tensor,
    readings: list[Readings],
    config: Config,
) -> tuple[Tensor, Tensor]:
    """What the ratio is against, and the tokens' weights; the policy has not moved yet.

    Without a cap the sampler's log-probs are what they are: no other forward pass is made.
    """
    if config.importance_cap is None:
        return sampler_logprobs, torch.ones_like(sampler_logprobs)
    if readings:
        old_logprobs = readings[0].logprobs.detach()
    else:
        old_logprobs = by_share(
            lambda part: policy.logprobs(part).logprobs,
            batch,
            token_budget=config.tokens_per_micro_batch,
        )
    weights = truncated_importance_weights(
        old_logprobs, sampler_logprobs, batch.target_mask, cap=config.importance_cap
    )
    return old_logprobs, weights


def _shaped(
    rollouts: Sequence[Rollout], scores: Sequence[float], moments: RunningMoments, config: Config
) -> Tensor:
    """(B,) what each response is paid; this batch's scores are in the running moments."""
    moments.update(list(scores))
    return shape_scores(
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor([rollout.finished for rollout in rollouts]),
        shift=moments.mean if config.normalize_scores == "running" else 0.0,
        scale=1.0 if config.normalize_scores == "none" else moments.std,
        clip=config.clip_scores,
        missing_eos_penalty=config.missing_eos_penalty,
    ).float()
