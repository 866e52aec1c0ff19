"""Comparisons of a policy's own responses, sampled and judged while it learns."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from accord.core import processes
from accord.core.interfaces import Annotator, Engine
from accord.core.types import Comparison, PromptRow
from accord.corpora.pairs import comparison_row
from accord.judges.named import judgement_by, named_annotators
from accord.judges.pairing import Pair, tasks_of
from accord.rewards.fitting import scores_that_fit
from accord.rewards.functions import FunctionReward
from accord.stages.policy_training.online_config import OnlineConfig
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.refresh_config import RefreshConfig
from accord.stages.policy_training.rollouts import collect_rollouts
from accord.store.imports.entries import task_id
from accord.training.batches import rows_at

_WORTH = {"a": 1.0, "tie": 0.5, "b": 0.0}
_SEED = 3 * 2**40
"""Far from the seeds of training and of its evaluations."""
_PROJECT = "refresh"


class Votes(Protocol):
    """Who judges fresh pairs."""

    name: str
    count: int
    """votes a pair"""

    def of(self, pairs: Sequence[Pair]) -> list[float]:
        """That a is the better, in [0, 1]; NaN where there is nothing to say."""


def configured_votes(config: RefreshConfig) -> Votes:
    """The judge that a config names.

    Raises:
        ConfigError: the name leads to nothing, or to something else.
    """
    if config.refresh_annotators:
        return AnnotatorVotes(config.refresh_annotators, seed=config.seed)
    assert config.refresh_scorer
    return ScorerVotes(config.refresh_scorer)


class AnnotatorVotes:
    """The share of annotators for a, a tie being half a vote; all of them judge each pair."""

    def __init__(self, name: str, *, seed: int) -> None:
        self.name = name
        self.annotators = named_annotators(name, seed=seed)
        self.count = len(self.annotators)

    def of(self, pairs: Sequence[Pair]) -> list[float]:
        """As `Votes`.

        Raises:
            DataError: an annotator lacks a column, or said something that is no verdict.
        """
        votes = [[_vote(annotator, pair) for annotator in self.annotators] for pair in pairs]
        return [sum(said) / len(said) for said in votes]


def _vote(annotator: Annotator, pair: Pair) -> float:
    (task,) = tasks_of([pair], _PROJECT, policy=None, overlap=1)
    said = judgement_by(annotator, task)
    worth = _WORTH[said.verdict]
    return worth if said.response_a == pair.response_a else 1 - worth


class ScorerVotes:
    """The response with the higher score wins; equal scores are a tie."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scorer = FunctionReward(name)
        self.count = 1

    def of(self, pairs: Sequence[Pair]) -> list[float]:
        """As `Votes`.

        Raises:
            DataError: the function returned something else than a number a response.
        """
        rows = [pair.row for pair in pairs] * 2
        values = scores_that_fit(
            self.scorer,
            [row.prompt for row in rows],
            [pair.response_a for pair in pairs] + [pair.response_b for pair in pairs],
            [row.columns for row in rows],
        )
        sides = zip(values[: len(pairs)], values[len(pairs) :], strict=True)
        return [math.nan if math.isnan(x + y) else (1 + (x > y) - (x < y)) / 2 for x, y in sides]


def fresh_comparisons(
    engine: Engine,
    policy: Policy,
    rows: Sequence[PromptRow],
    votes: Votes,
    config: OnlineConfig,
    update: int,
) -> list[Comparison]:
    """Two responses to each of some prompts, judged; a function of the policy and the update.

    Equal responses are left out, and what nobody has anything to say of. Empty ones are judged: a
    policy may find out that nothing pays.
    """
    encoder = policy.encoder
    count, number = min(config.refresh_prompts, len(rows)), update // config.refresh_steps
    places = rows_at(len(rows), number, size=count, seed=config.seed + _SEED)
    asked = [rows[place] for place in places for _ in range(2)]
    seed = _SEED + config.seed * 1_000_000 + update
    rollouts = collect_rollouts(engine, asked, encoder, config, seed=seed)
    texts = [encoder.decode(rollout.response_ids) for rollout in rollouts]
    pairs = [
        Pair(row, a, b)
        for row, a, b in zip(asked[::2], texts[::2], texts[1::2], strict=True)
        if a != b
    ]
    # Asked once, not by every process: an endpoint is paid, and may answer otherwise.
    judged = zip(pairs, processes.by_main(lambda: votes.of(pairs)), strict=True)
    return [_comparison(pair, share) for pair, share in judged if not math.isnan(share)]


def _comparison(pair: Pair, share: float) -> Comparison:
    """`chosen` is the side with a probability of 1/2 or more."""
    chosen, rejected = (
        (pair.response_a, pair.response_b) if share >= 0.5 else (pair.response_b, pair.response_a)
    )
    row = pair.row
    p_chosen = max(share, 1 - share)
    return Comparison(
        row.prompt, chosen, rejected, p_chosen, columns=row.columns, where="a fresh pair"
    )


def to_row(pair: Comparison, *, votes: int) -> dict[str, Any]:
    """In the columns that `load_comparisons` reads."""
    sides = (pair.chosen, pair.rejected)
    task = task_id(_PROJECT, "pairwise", pair.prompt, sorted(sides))
    return comparison_row(
        pair.columns, pair.prompt, sides, pair.p_chosen, task_id=task, votes=votes
    )
