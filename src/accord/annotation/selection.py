"""Which pairs to ask next: where the reward models disagree, on prompts unlike the others.

A share is drawn at random whatever the scores, and every pair's probability of being drawn (its
propensity) is known, so that means over the pool can be estimated without bias from what was asked.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from accord.annotation.tables import Floats, Ints

LEAST_RANDOM = 0.2
_BLOCK = 1024


class Selection(NamedTuple):
    """Places in the pool, in the order of asking, and of each the propensity and whether it was
    drawn at random rather than by its score. Log all three with the task.
    """

    chosen: Ints
    propensity: Floats
    at_random: list[bool]


def disagreement(margins: Floats) -> Floats:
    """(N,) variance over the members of an ensemble of sigmoid(margin), that a is the better.

    Of the margins themselves it would be largest where all are sure of the same side: such pairs
    teach little (benchmarks/active_choice.py).

    Args:
        margins: (members, N) score of a less score of b, in log-odds.

    Raises:
        ValueError: one member cannot disagree.
    """
    if margins.ndim != 2 or len(margins) < 2:
        raise ValueError(f"expected (members, N) margins of two members or more: {margins.shape}")
    found: Floats = expit(margins).var(0, ddof=1)
    return found


def diversity(features: Floats, asked: Floats | None = None) -> Floats:
    """(N,) in (0, 1]: one over the number of prompts like this one, itself among them.

        1 / sum_j max(0, cos(x_i, x_j))^2, over the pool and what was asked

    Args:
        features: (N, D) of the pool's prompts: embeddings, or hashed words.
        asked: (M, D) of the prompts that have been asked already.
    """
    own = _unit(features)
    every = own if asked is None else np.concatenate([own, _unit(asked)])
    alike = np.empty(len(own))
    for begin in range(0, len(own), _BLOCK):
        block = own[begin : begin + _BLOCK] @ every.T
        alike[begin : begin + _BLOCK] = np.square(np.maximum(block, 0)).sum(1)
    # A prompt without features is like none, not even itself.
    found: Floats = 1 / np.maximum(alike, 1.0)
    return found


def select_pairs(
    scores: Floats, count: int, *, seed: int, random_share: float = LEAST_RANDOM
) -> Selection:
    """Draw `count` pairs: most by their squared scores, the others evenly from the rest.

    Pair i is among the first m with probability q_i = min(1, c score_i^2), sum_i q_i = m, by
    systematic sampling in a random order (Madow 1949); then the remaining ones are drawn alike, so

        propensity_i = q_i + (1 - q_i) (count - m) / (N - m)

    Args:
        scores: (N,) 0 or more: `disagreement` times `diversity`, say.
        count: pairs to draw; the whole pool, where it has no more.
        seed: of the draw.
        random_share: of the pairs, rounded up, at least a fifth: means over the pool rest on them.

    Raises:
        ValueError: scores below 0 or not finite, no count, or too small a random share.
    """
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError("scores must be finite, and 0 or more")
    if count < 1 or not LEAST_RANDOM <= random_share <= 1:
        raise ValueError(
            f"expected a count of 1 or more and a random share of {LEAST_RANDOM} to 1,"
            f" got {count} and {random_share}"
        )
    size = len(scores)
    if count >= size:
        return Selection(np.arange(size), np.ones(size), [False] * size)
    rng = np.random.default_rng(seed)
    by_score = count - int(np.ceil(random_share * count - 1e-9))
    q = inclusion(np.square(scores), by_score)
    first = _systematic(q, by_score, rng)
    rest = np.setdiff1d(np.arange(size), first)
    others = rng.choice(rest, count - by_score, replace=False)
    propensity = q + (1 - q) * (count - by_score) / (size - by_score)
    chosen = np.concatenate([first, others])
    is_random = np.arange(count) >= by_score
    order = rng.permutation(count)
    return Selection(
        chosen[order], propensity[chosen[order]], [bool(random) for random in is_random[order]]
    )


def inclusion(weights: Floats, count: int) -> Floats:
    """(N,) probabilities min(1, c weight) that sum to `count`; where fewer weights are above 0,
    these are certain, and the others share what is left.
    """
    is_certain = np.zeros(len(weights), dtype=bool)
    while True:
        left = count - int(is_certain.sum())
        still_open = np.where(is_certain, 0.0, weights)
        if not still_open.any():
            still_open = np.where(is_certain, 0.0, 1.0)
        relative = still_open / still_open.max()
        q = np.where(is_certain, 1.0, left * relative / relative.sum())
        if not (q > 1).any():
            return q
        is_certain |= q >= 1


def inverse_propensity_mean(values: Floats, propensity: Floats, *, pool: int) -> float:
    """The pool's mean of something, from the pairs that were asked: unbiased.

        sum_i value_i / propensity_i / N   (Horvitz and Thompson 1952)

    Args:
        values: (n,) of the chosen pairs: whether the model agrees with the vote, say.
        propensity: (n,) of the same.
        pool: N, how many pairs could have been drawn.
    """
    return float((values / propensity).sum() / pool)


def _systematic(q: Floats, count: int, rng: np.random.Generator) -> Ints:
    """`count` places, each with its probability: evenly spaced marks on the sum of all q."""
    order = rng.permutation(len(q))
    ends = np.cumsum(q[order])
    marks = rng.random() + np.arange(count)
    # The last end is `count` but for rounding.
    places = np.minimum(np.searchsorted(ends, marks, side="right"), len(q) - 1)
    found: Ints = order[places]
    return found


def _unit(features: Floats) -> Floats:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    found: Floats = features / np.where(norms > 0, norms, 1.0)
    return found
