"""What sways a judge besides quality: the place of a response, its length, who wrote it.

Every pair is judged in both orders. `forth` (N,) are probabilities that response a, shown first,
is the better; `back` (N,) that b is, when b is shown first. NaN is an abstention; pairs on which
either order has one are left out, and counted.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.tables import Floats
from accord.annotation.win_rates import verdicts

_RIDGE = 1e-3
"""Times the squares of the coefficients: a judge who always takes the longer has none else."""
_RESAMPLES = 500


class Share(NamedTuple):
    """A share in [0, 1] with its 95% interval over prompts."""

    value: float
    low: float
    high: float


class Preference(NamedTuple):
    """A judge's preference for a feature when everything else in the regression is equal."""

    log_odds: float
    """of one unit of the feature; 0 is no preference"""
    low: float
    high: float
    share: float
    """sigmoid of the log-odds: how often it decides an otherwise even pair; 1/2 is no preference"""


class JudgeBias(NamedTuple):
    """Statistics of a judge, each over pairs that it judged in both orders."""

    consistency: Share
    """pairs on which both orders give the same verdict"""
    first_share: Share
    """verdicts for what was shown first, a tie being half; 1/2 is no bias"""
    position: Preference
    """for what is shown first"""
    length: Preference | None
    """for what is longer by one standard deviation of the length differences"""
    own: Preference | None
    """for what the judge's own model wrote"""
    pairs: int
    abstained: int


def judge_bias(
    forth: Floats,
    back: Floats,
    clusters: Sequence[Hashable],
    *,
    seed: int,
    length_gaps: Floats | None = None,
    quality_gaps: Floats | None = None,
    own: Floats | None = None,
) -> JudgeBias:
    """What a judge prefers besides quality, from its judgements of pairs in both orders.

    The verdict is regressed on all features at once:

        logit P(first is chosen) = b_position + b_length length + b_quality quality + b_own own

    so that a judge who likes long responses because they are better is not blamed, as far as
    quality is known. Without `quality_gaps` the preference for length (and for the judge's own)
    holds only as far as the longer are no better on the whole.

    Args:
        forth: (N,) as above.
        back: (N,) as above.
        clusters: (N,) prompts.
        seed: of the bootstrap, which draws prompts.
        length_gaps: (N,) length of a less that of b, in any unit.
        quality_gaps: (N,) how much better a is than b by a standard that the judge does not know,
            such as gold labels (1 and -1).
        own: (N,) 1 where the judge's own model wrote a alone, -1 where b alone, else 0.

    Raises:
        ValueError: an array has another length, a probability is outside [0, 1], or no pair was
            judged in both orders.
    """
    features = {"length": length_gaps, "quality": quality_gaps, "own": own}
    for name, values in {"back": back, "clusters": clusters, **features}.items():
        if values is not None and len(values) != len(forth):
            raise ValueError(f"expected {len(forth)} {name}, one a pair, got {len(values)}")
    a_first, b_first = verdicts(forth), verdicts(back)
    kept = ~np.isnan(a_first + b_first)
    if not kept.any():
        raise ValueError(f"no pair of {len(forth)} was judged in both orders")
    groups = [cluster for cluster, keep in zip(clusters, kept, strict=True) if keep]
    columns = {
        name: _scaled(values[kept], is_length=name == "length")
        for name, values in features.items()
        if values is not None
    }
    preferences = _preferences(forth[kept], back[kept], columns, groups, seed=seed)
    same = (a_first == 1 - b_first)[kept]
    first = ((a_first + b_first) / 2)[kept]
    return JudgeBias(
        consistency=_share(same.astype(np.float64), groups, seed=seed),
        first_share=_share(first, groups, seed=seed),
        position=preferences["position"],
        length=preferences.get("length"),
        own=preferences.get("own"),
        pairs=int(kept.sum()),
        abstained=int((~kept).sum()),
    )


def _share(values: Floats, groups: Sequence[Hashable], *, seed: int) -> Share:
    low, high = cluster_bootstrap(values, groups, seed=seed)
    return Share(float(values.mean()), low, high)


def _scaled(values: Floats, *, is_length: bool) -> Floats:
    """Lengths in standard deviations about 0, so that equal lengths stay 0."""
    spread = float(np.sqrt(np.square(values).mean())) if is_length else 1.0
    found: Floats = values / spread if spread > 0 else values
    return found


def _preferences(
    forth: Floats,
    back: Floats,
    columns: dict[str, Floats],
    groups: Sequence[Hashable],
    *,
    seed: int,
) -> dict[str, Preference]:
    """Of every feature, with percentile intervals over resampled prompts."""
    x = np.stack([np.ones(len(forth)), *columns.values()], 1)
    # Shown the other way round, every feature but the place changes its sign.
    x = np.concatenate([x, x * np.array([1.0] + [-1.0] * len(columns))])
    y = np.concatenate([forth, back])
    names: dict[Hashable, int] = {}
    group = np.tile([names.setdefault(g, len(names)) for g in groups], 2)
    found = _logistic(x, y, np.ones(len(y)))
    rng = np.random.default_rng(seed)
    count = len(names)
    again = np.stack(
        [
            _logistic(x, y, drawn[group].astype(np.float64), start=found)
            for drawn in rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
        ]
    )
    low, high = np.quantile(again, [0.025, 0.975], axis=0)
    return {
        name: Preference(float(b), float(below), float(above), float(expit(b)))
        for name, b, below, above in zip(["position", *columns], found, low, high, strict=True)
    }


def _logistic(x: Floats, y: Floats, weights: Floats, *, start: Floats | None = None) -> Floats:
    """(K,) coefficients of soft labels (N,) on features (N, K), by Newton's method with a ridge."""
    b = np.zeros(x.shape[1]) if start is None else start
    for _ in range(50):
        p = expit(x @ b)
        gradient = x.T @ (weights * (y - p)) - _RIDGE * b
        hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(len(b))
        step = np.linalg.solve(hessian, gradient)
        # A full step can leap over a separable optimum and never come back.
        b = b + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    found: Floats = b
    return found
