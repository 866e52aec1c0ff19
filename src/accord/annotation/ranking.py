"""Several policies in one order, from pairwise outcomes, with intervals."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from accord.annotation.strengths import bradley_terry
from accord.annotation.tables import Floats, Ints


class Ranking(NamedTuple):
    """(items,) each; the baseline has log-strength 0, without uncertainty."""

    scores: Floats
    """log-strengths in nats"""
    low: Floats
    high: Floats
    win_rates: Floats
    """sigmoid of the scores: how often each should beat the baseline"""


def rank_policies(
    first: Ints,
    second: Ints,
    outcomes: Floats,
    clusters: Sequence[Hashable],
    *,
    items: int,
    baseline: int,
    seed: int,
    level: float = 0.9,
    resamples: int = 200,
) -> Ranking:
    """Bradley-Terry by maximum likelihood; a tie, or a doubtful judge, is part of a win for each.

    Unlike Elo it does not depend on the order of the games.

    Args:
        first: (N,) places of the first policies.
        second: (N,) of the second ones.
        outcomes: (N,) in [0, 1], that the first was the better; NaN abstained, and is left out.
        clusters: (N,) the prompt of each comparison, drawn as a whole by the bootstrap.
        items: how many policies there are.
        baseline: the place of the policy that the others are measured by.
        level: of the percentile intervals.

    Raises:
        ValueError: an outcome is outside [0, 1], or a policy is not linked to the baseline by
            comparisons.
    """
    is_known = ~np.isnan(outcomes)
    if ((outcomes[is_known] < 0) | (outcomes[is_known] > 1)).any():
        raise ValueError("outcomes lie in [0, 1]; NaN is an abstention")
    _require_links(first[is_known], second[is_known], items)
    games, wins = _wins_by_prompt(first, second, outcomes, clusters, is_known)

    def fit(weights: Floats) -> Floats:
        """(items,) scores when prompt g counts `weights[g]` times."""
        scores = bradley_terry(
            games[:, 0],
            games[:, 1],
            np.ones(len(games)),
            items=items,
            weights=weights @ wins,
        ).scores
        anchored: Floats = scores - scores[baseline]
        return anchored

    prompts = wins.shape[0]
    scores = fit(np.ones(prompts))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    found = np.stack([fit(weights.astype(np.float64)) for weights in drawn])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Ranking(scores, low, high, expit(scores))


def _require_links(first: Ints, second: Ints, items: int) -> None:
    """Strengths of policies that nothing links cannot be compared."""
    links = coo_array((np.ones(len(first)), (first, second)), shape=(items, items))
    groups, group = connected_components(links, directed=False)
    if groups > 1:
        apart = [place for place in range(items) if group[place] != group[0]]
        raise ValueError(f"no comparisons link policies {apart} to the others")


def _wins_by_prompt(
    first: Ints,
    second: Ints,
    outcomes: Floats,
    clusters: Sequence[Hashable],
    is_known: npt.NDArray[np.bool_],
) -> tuple[Ints, Floats]:
    """(games, 2) winner and loser, and (prompts, games) how often that was so, in parts of wins.

    The likelihood only knows these sums, so a resample costs as little as there are policies.
    """
    prompts: dict[Hashable, int] = {}
    prompt = np.array([prompts.setdefault(cluster, len(prompts)) for cluster in clusters])
    a, b, y = first[is_known], second[is_known], outcomes[is_known]
    rows = np.concatenate([np.stack([a, b], 1), np.stack([b, a], 1)])
    games, game = np.unique(rows, axis=0, return_inverse=True)
    wins = np.zeros((len(prompts), len(games)))
    np.add.at(wins, (np.tile(prompt[is_known], 2), game.ravel()), np.concatenate([y, 1 - y]))
    return games.astype(np.int64), wins
