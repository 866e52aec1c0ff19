"""Rollouts of a policy: which prompts, sampling, scoring, the token grid, held-out figures."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from accord.core.episodes import Rollout
from accord.core.errors import ConfigError, DataError
from accord.core.interfaces import Engine, Reward
from accord.core.types import PromptRow, SamplingParams, Scores
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.pairs import split_by_prompt
from accord.corpora.prompts import load_prompts
from accord.engine.generate import generate
from accord.models.loading import within_context
from accord.models.logprobs import bare_model
from accord.rewards.mixed import load_reward
from accord.stages.policy_training.episodes import (
    EpisodeReward,
    collect_episodes,
    count_cut_episodes,
    episode_scores,
)
from accord.stages.policy_training.online_config import OnlineConfig
from accord.stages.policy_training.policy import Policy
from accord.training.batches import TokenBatch, collate, rows_at

C = TypeVar("C", bound=OnlineConfig)


def split_prompts(config: OnlineConfig) -> tuple[list[PromptRow], list[PromptRow]]:
    """Prompts to learn on, and held-out ones; no prompt is on both sides.

    Raises:
        DataError: one of the two would be empty.
    """
    rows = load_prompts(config.prompts)
    if config.eval_prompts:
        train, heldout = rows, load_prompts(config.eval_prompts)
    else:
        kept, held = split_by_prompt(
            [row.prompt for row in rows], fraction=config.eval_fraction, seed=config.seed + 1
        )
        train, heldout = [rows[i] for i in kept], [rows[i] for i in held]
    if not train or not heldout:
        raise DataError(
            f"{len(rows)} prompts are too few to hold some out ({len(train)} to learn on, "
            f"{len(heldout)} held out); add prompts, or name eval_prompts"
        )
    return train, heldout[: config.max_eval_prompts]


def configured_reward(config: OnlineConfig, policy: Policy) -> Reward:
    """The reward that a config's fields name."""
    if config.environment is not None:
        return EpisodeReward()
    return load_reward(
        config,
        device=policy.device,
        max_length=config.max_length,
        policy_encoder=policy.encoder,
    )


def within_policy(config: C, policy: Policy) -> C:
    """The config with its `max_length` inside the policy's context."""
    longest = within_context(config.max_length, bare_model(policy.module).config)
    return config.model_copy(update={"max_length": longest})


def prompts_at(rows: Sequence[PromptRow], update: int, *, count: int, seed: int) -> list[PromptRow]:
    """An update's prompts."""
    return [rows[i] for i in rows_at(len(rows), update, size=count, seed=seed)]


def total_updates(config: OnlineConfig, rollouts: int) -> int:
    """Updates of a whole run, when an epoch has so many rollouts."""
    if config.max_steps > 0:
        return config.max_steps
    return max(1, int(config.num_train_epochs * rollouts / config.per_device_train_batch_size))


def count_cut(rows: Sequence[PromptRow], encoder: ChatEncoder, config: OnlineConfig) -> int:
    """Prompts that lose their start to leave room for a response."""
    if config.environment is not None:
        return count_cut_episodes(rows, encoder, config)
    room = prompt_room(config)
    return sum(len(encoder.encode_prompt(row.prompt)) > room for row in rows)


def collect_rollouts(
    engine: Engine,
    rows: Sequence[PromptRow],
    encoder: ChatEncoder,
    config: OnlineConfig,
    *,
    seed: int,
) -> list[Rollout]:
    """One response to each prompt, or one episode in the config's environment, with the log-probs
    of the policy that sampled it.
    """
    if config.environment is not None:
        return collect_episodes(engine, rows, encoder, config, seed=seed)
    params = SamplingParams(config.max_completion_length, config.temperature)
    prompts = encoded_prompts(rows, encoder, config)
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


def encoded_prompts(
    rows: Sequence[PromptRow], encoder: ChatEncoder, config: OnlineConfig
) -> list[tuple[int, ...]]:
    """Token ids; over-long prompts lose their start, never the room for a response."""
    return [encoder.encode_prompt(row.prompt)[-prompt_room(config) :] for row in rows]


def prompt_room(config: OnlineConfig) -> int:
    """Tokens of a prompt beside the longest response.

    Raises:
        ConfigError: there is no room.
    """
    room = config.max_length - config.max_completion_length
    if room < 1:
        raise ConfigError(
            f"max_completion_length {config.max_completion_length} leaves no room for a "
            f"prompt in max_length {config.max_length}"
        )
    return room


def score_rollouts(
    reward: Reward, rows: Sequence[PromptRow], rollouts: Sequence[Rollout], encoder: ChatEncoder
) -> Scores:
    """Raw scores of the responses; a text is what the policy said, without an environment's."""
    if isinstance(reward, EpisodeReward):
        return episode_scores(rollouts)
    return reward.score(
        [row.prompt for row in rows],
        [encoder.decode(rollout.chosen_ids) for rollout in rollouts],
        prompt_ids=[rollout.prompt_ids for rollout in rollouts],
        response_ids=[rollout.response_ids for rollout in rollouts],
        columns=[row.columns for row in rows],
    )


def score_metrics(scores: Sequence[Scores]) -> dict[str, float]:
    """Means over some batches: the score, the ensemble's spread, and the parts of a mixture."""
    series: dict[str, list[float]] = {}
    for batch in scores:
        spread = {} if batch.spread is None else {"spread": batch.spread}
        parts = batch.parts if len(batch.parts) > 1 else {}
        for name, values in {"mean": batch.values, **spread, **parts}.items():
            series.setdefault(name, []).extend(v for v in values if not math.isnan(v))
    return {f"score/{name}": sum(all_) / len(all_) for name, all_ in series.items() if all_}


def rollout_grid(rollouts: Sequence[Rollout], policy: Policy) -> tuple[TokenBatch, Tensor]:
    """The batch, whose targets are the policy's own tokens, and its behaviour log-probs, (B, L)."""
    encoded = [Encoded(r.prompt_ids, r.response_ids) for r in rollouts]
    batch = collate(encoded, pad_id=policy.encoder.pad_id, device=policy.device)
    old_logprobs = torch.zeros(batch.target_mask.shape)
    chosen = torch.zeros(batch.target_mask.shape, dtype=torch.bool)
    for row, rollout in enumerate(rollouts):
        start = len(rollout.prompt_ids)
        end = start + len(rollout.response_ids)
        old_logprobs[row, start:end] = torch.tensor(rollout.old_logprobs)
        chosen[row, start:end] = torch.tensor(rollout.response_mask)
    return batch._replace(target_mask=chosen.to(policy.device)), old_logprobs.to(policy.device)
