"""Collecting rollouts, and all that is computed of them before the policy moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accord.core.errors import ConfigError
from accord.core.interfaces import Engine, Reward
from accord.core.types import PromptRow, Rollout, SamplingParams, Scores
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.engine.generate import generate
from accord.objectives.gae import gae
from accord.objectives.kl import kl_estimate
from accord.objectives.masked import whiten
from accord.objectives.ppo import explained_variance
from accord.objectives.rewards import per_token_rewards
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import Progress
from accord.stages.policy_training.ppo.policy import Policy
from accord.training.batches import TokenBatch, collate


@dataclass(frozen=True)
class Experience:
    """A batch of scored rollouts on the (B, L) grid; nothing in it has a gradient.

    `old_logprobs` are the sampler's own, so the ratio is against the true behaviour policy.
    """

    batch: TokenBatch
    old_logprobs: Tensor
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    metrics: dict[str, float]
    kl_nats: float  # to the reference, mean a response

    def rows(self, index: Sequence[int]) -> "Experience":
        """The same for some rows, cut to their longest."""
        chosen = list(index)
        length = int(self.batch.attention_mask[chosen].sum(1).max())

        def cut(grid: Tensor) -> Tensor:
            return grid[chosen, :length]

        return Experience(
            TokenBatch(*(cut(grid) for grid in self.batch)),
            old_logprobs=cut(self.old_logprobs),
            old_values=cut(self.old_values),
            advantages=cut(self.advantages),
            returns=cut(self.returns),
            metrics=self.metrics,
            kl_nats=self.kl_nats,
        )


def collect_rollouts(
    engine: Engine, rows: Sequence[PromptRow], encoder: ChatEncoder, config: Config, *, seed: int
) -> list[Rollout]:
    """One response to each prompt, with the log-probs of the policy that sampled it."""
    params = SamplingParams(config.max_completion_length, config.temperature)
    # Over-long prompts lose their start, never the room for a response.
    prompts = [encoder.encode_prompt(row.prompt)[-prompt_room(config) :] for row in rows]
    return [
        Rollout(
            prompt_ids=done.prompt_ids,
            response_ids=done.response_ids,
            response_mask=(True,) * len(done.tokens),
            old_logprobs=tuple(token.logprob for token in done.tokens),
            finished=done.finish == "stop",
        )
        for done in generate(engine, prompts, params, seed=seed)
    ]


def prompt_room(config: Config) -> int:
    """Tokens of a prompt beside the longest response.

    Raises:
        ConfigError: there is no room.
    """
    room = config.max_length - config.max_completion_length
    if room < 1:
        raise ConfigError(
            f"ppo: max_completion_length {config.max_completion_length} leaves no room for a "
            f"prompt in max_length {config.max_length}"
        )
    return room


def score_rollouts(
    reward: Reward, rows: Sequence[PromptRow], rollouts: Sequence[Rollout], encoder: ChatEncoder
) -> Scores:
    """Raw scores of the responses."""
    return reward.score(
        [row.prompt for row in rows],
        [encoder.decode(rollout.response_ids) for rollout in rollouts],
        prompt_ids=[rollout.prompt_ids for rollout in rollouts],
        response_ids=[rollout.response_ids for rollout in rollouts],
        columns=[row.columns for row in rows],
    )


def rollout_grid(rollouts: Sequence[Rollout], policy: Policy) -> tuple[TokenBatch, Tensor]:
    """The batch and its behaviour log-probs, (B, L)."""
    encoded = [Encoded(r.prompt_ids, r.response_ids) for r in rollouts]
    batch = collate(encoded, pad_id=policy.encoder.pad_id, device=policy.device)
    old_logprobs = torch.zeros(batch.target_mask.shape)
    for row, rollout in enumerate(rollouts):
        start = len(rollout.prompt_ids)
        end = start + len(rollout.response_ids)
        old_logprobs[row, start:end] = torch.tensor(rollout.old_logprobs)
    return batch, old_logprobs.to(policy.device)


@torch.no_grad()
def prepare(
    policy: Policy,
    rollouts: Sequence[Rollout],
    scores: Sequence[float],
    progress: Progress,
    config: Config,
) -> Experience:
    """Reference log-probs, values, per-token rewards, advantages and returns of a batch."""
    moments, kl_coef = progress.moments, progress.controller.coef
    batch, old_logprobs = rollout_grid(rollouts, policy)
    mask = batch.target_mask
    reference_logprobs = policy.reference_logprobs(batch)
    old_values = policy.values(batch)
    moments.update(list(scores))
    shaped = [
        (moments.normalize(score) if config.normalize_scores else score)
        - (0.0 if rollout.finished else config.missing_eos_penalty)
        for score, rollout in zip(scores, rollouts, strict=True)
    ]
    kl = kl_estimate(old_logprobs, reference_logprobs, estimator=config.kl_estimator)
    rewards = per_token_rewards(
        kl, torch.tensor(shaped, device=policy.device), mask, kl_coef=kl_coef
    )
    advantages, returns = gae(rewards, old_values, mask, gamma=config.gamma, lam=config.lam)
    if config.whiten_advantages:
        advantages = whiten(advantages, mask)
    kl_nats = float(((old_logprobs - reference_logprobs) * mask).sum(1).mean())
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
    return Experience(batch, old_logprobs, old_values, advantages, returns, metrics, kl_nats)


@torch.no_grad()
def evaluate_policy(
    engine: Engine,
    policy: Policy,
    reward: Reward,
    rows: Sequence[PromptRow],
    config: Config,
) -> dict[str, float]:
    """Held-out reward, KL and length, with the same sampling seeds at every call."""
    seed = config.seed + 1_000_003
    rollouts = collect_rollouts(engine, rows, policy.encoder, config, seed=seed)
    values = score_rollouts(reward, rows, rollouts, policy.encoder).values
    batch, old_logprobs = rollout_grid(rollouts, policy)
    reference_logprobs = policy.reference_logprobs(batch)
    kl = ((old_logprobs - reference_logprobs) * batch.target_mask).sum(1)
    return {
        "heldout/score": sum(values) / len(values),
        "heldout/kl_nats": float(kl.mean()),
        "heldout/length": float(batch.target_mask.sum(1).float().mean()),
        "heldout/stop_rate": sum(r.finished for r in rollouts) / len(rollouts),
    }
