"""An update's rollouts: several responses to each prompt, scored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accord.core.episodes import Rollout
from accord.core.errors import ConfigError
from accord.core.interfaces import Engine, Reward
from accord.core.types import PromptRow, Scores
from accord.objectives.groups import has_contrast
from accord.stages.policy_training.episodes import episode_metrics
from accord.stages.policy_training.online_config import OnlineConfig
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.rollouts import (
    collect_rollouts,
    prompts_at,
    rollout_grid,
    score_metrics,
    score_rollouts,
)
from accord.training.batches import TokenBatch


@dataclass(frozen=True)
class Sampled:
    """A batch of scored rollouts on the (B, L) grid; the responses to a prompt lie together."""

    batch: TokenBatch
    sampler_logprobs: Tensor
    reference_logprobs: Tensor | None
    scores: Tensor  # (B,), penalties subtracted


def prompts_an_update(config: OnlineConfig, num_generations: int) -> int:
    """Prompts that make a batch of rollouts.

    Raises:
        ConfigError: the batch is no multiple of `num_generations`.
    """
    prompts, left = divmod(config.per_device_train_batch_size, num_generations)
    if left:
        raise ConfigError(
            f"per_device_train_batch_size {config.per_device_train_batch_size} counts rollouts; "
            f"expected a multiple of num_generations {num_generations}"
        )
    return prompts


MAX_RESAMPLED = 4
"""Batches of prompts that dynamic sampling may take for one update."""


@dataclass(frozen=True)
class Sampler:
    """Where an update's rollouts come from."""

    engine: Engine
    policy: Policy
    reward: Reward
    rows: Sequence[PromptRow]
    config: OnlineConfig
    prompts: int  # an update
    num_generations: int
    missing_eos_penalty: float = 0.0
    masks_truncated: bool = False

    def sample(
        self, cursor: int, *, resamples: bool, reads_reference: bool
    ) -> tuple[Sampled, dict[str, float], int]:
        """An update's rollouts, their metrics, and the next cursor.

        When it `resamples`, groups whose scores are all equal are replaced by those of the next
        prompts (DAPO, arXiv:2503.14476, section 3.2), up to MAX_RESAMPLED batches of prompts; what
        is missing then is filled with the equal ones.
        """
        size, wanted = self.num_generations, self.config.per_device_train_batch_size
        kept: list[tuple[Rollout, float]] = []
        equal: list[tuple[Rollout, float]] = []
        seen: list[Scores] = []
        for _ in range(MAX_RESAMPLED if resamples else 1):
            scored, batch_scores = self._score_next(cursor)
            cursor += 1
            scores = torch.tensor([shaped for _, shaped in scored])
            seen.append(batch_scores)
            contrast = has_contrast(scores, group_size=size).repeat_interleave(size).tolist()
            for item, differs in zip(scored, contrast, strict=True):
                (kept if differs or not resamples else equal).append(item)
            if len(kept) >= wanted:
                break
        chosen = [*kept, *equal][:wanted]
        rollouts = [rollout for rollout, _ in chosen]
        batch, sampler_logprobs = rollout_grid(rollouts, self.policy)
        reference = self.policy.reference_logprobs(batch) if reads_reference else None
        values = torch.tensor([shaped for _, shaped in chosen], device=self.policy.device)
        sampled = Sampled(batch, sampler_logprobs, reference, values)
        metrics = _metrics(sampled, rollouts, size)
        if self.masks_truncated:
            finished = torch.tensor([r.finished for r in rollouts], device=self.policy.device)
            counted = batch._replace(target_mask=batch.target_mask & finished[:, None])
            sampled = replace(sampled, batch=counted)
        metrics |= score_metrics(seen) | {"group/prompts": float(len(seen) * self.prompts)}
        return sampled, metrics, cursor

    def _score_next(self, cursor: int) -> tuple[list[tuple[Rollout, float]], Scores]:
        """The next batch of prompts' rollouts with their scores less penalties, and the scores."""
        config = self.config
        rows = prompts_at(self.rows, cursor, count=self.prompts, seed=config.seed)
        rows = [row for row in rows for _ in range(self.num_generations)]
        seed = config.seed * 1_000_000 + cursor
        rollouts = collect_rollouts(self.engine, rows, self.policy.encoder, config, seed=seed)
        scores = score_rollouts(self.reward, rows, rollouts, self.policy.encoder)
        shaped = [
            (rollout, score - (0.0 if rollout.finished else self.missing_eos_penalty))
            for rollout, score in zip(rollouts, scores.values, strict=True)
        ]
        return shaped, scores


def _metrics(sampled: Sampled, rollouts: Sequence[Rollout], size: int) -> dict[str, float]:
    mask = sampled.batch.target_mask
    metrics = {
        "score/std": float(sampled.scores.std(correction=0)),
        "length/mean": sum(len(r.chosen_ids) for r in rollouts) / len(rollouts),
        "stop_rate": sum(r.finished for r in rollouts) / len(rollouts),
    }
    if size > 1:
        differs = has_contrast(sampled.scores, group_size=size)
        metrics["group/equal_share"] = 1 - float(differs.float().mean())
        metrics["group/std"] = float(sampled.scores.view(-1, size).std(dim=1).mean())
    metrics |= episode_metrics(rollouts)
    if sampled.reference_logprobs is not None:
        ratio = (sampled.sampler_logprobs - sampled.reference_logprobs) * mask
        metrics["kl_nats"] = float(ratio.sum(1).mean())
    return metrics
