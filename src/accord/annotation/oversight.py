"""Scalable oversight: what critiques do to people's votes, and aids for a weak judge."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.monitoring import Share, share
from accord.annotation.tables import Floats, Ints


class Movements(NamedTuple):
    """Shares of votes that a critique moved: of all, and of those whose critique took a side."""

    changed: Share
    towards: Share
    away: Share


@dataclass(frozen=True)
class Revisions:
    """Shares of votes, with intervals, where the truth is known and the critique took a side."""

    accuracy_before: Share
    accuracy_after: Share
    gain: tuple[float, float, float]
    """accuracy after less before: value, low, high, resampling tasks"""
    help: Share
    """of the wrong votes whose critique was right: those that were put right"""
    over_trust: Share
    """of the right votes whose critique was wrong: those that were given up"""
    stubborn: Share
    """of the wrong votes whose critique was right: those that stayed"""
    switched: Share
    """of all votes: those that changed"""


def revisions(
    before: Ints, after: Ints, critique: Ints, truth: Ints, task: Ints, *, seed: int
) -> Revisions:
    """How votes moved between the first, unaided one and the one after the critique.

    A critique that helps and one that is merely believed both move votes; they differ where it is
    wrong, so keep some tasks on which it is known to be.

    Args:
        before: (N,) labels that were voted first.
        after: (N,) and after the critique was shown.
        critique: (N,) label that the critique argues for.
        truth: (N,) of gold or adjudicated tasks.
        task: (N,) which task, for the interval of the gain.
        seed: of its resampling.

    Raises:
        ValueError: there are no votes, or the lengths differ.
    """
    if not len(before) or len({len(x) for x in (before, after, critique, truth, task)}) > 1:
        raise ValueError("expected at least one vote, and a label of each kind for every vote")
    was_right, is_right, is_good = before == truth, after == truth, critique == truth
    difference: Floats = is_right.astype(np.float64) - was_right
    low, high = cluster_bootstrap(difference, task.tolist(), seed=seed)
    could_help, could_harm = ~was_right & is_good, was_right & ~is_good
    return Revisions(
        accuracy_before=share(int(was_right.sum()), len(truth)),
        accuracy_after=share(int(is_right.sum()), len(truth)),
        gain=(float(difference.mean()), low, high),
        help=share(int((could_help & is_right).sum()), int(could_help.sum())),
        over_trust=share(int((could_harm & ~is_right).sum()), int(could_harm.sum())),
        stubborn=share(int((could_help & (after == before)).sum()), int(could_help.sum())),
        switched=share(int((after != before).sum()), len(truth)),
    )


class Recovered(NamedTuple):
    """How much of what separates a judge from the truth an aid makes good."""

    alone: float
    """accuracy of the judge by itself"""
    aided: float
    share: float
    """(aided - alone) / (1 - alone): 1 is the truth, 0 no help, below 0 harm; NaN where the judge
    alone is always right"""
    low: float
    high: float


def gap_recovered(
    alone: Floats, aided: Floats, clusters: Sequence[Hashable], *, seed: int, resamples: int = 2000
) -> Recovered:
    """The share of the gap to the truth, with a 95% interval over resampled prompts.

    Args:
        alone: (N,) 1 where the judge was right, 1/2 for a tie, 0 where not.
        aided: (N,) the same with the aid, on the same pairs.
        clusters: (N,) prompts.
        seed: of the resampling.
        resamples: of it.

    Raises:
        ValueError: there are no pairs, or the lengths differ.
    """
    if not len(alone) or not len(alone) == len(aided) == len(clusters):
        raise ValueError("expected at least one pair, and as many of each")
    names: dict[Hashable, int] = {}
    index = np.array([names.setdefault(cluster, len(names)) for cluster in clusters])
    sums = np.stack([np.bincount(index, weights=x) for x in (alone, aided, np.ones(len(alone)))])
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    without, with_aid, pairs = sums[:, drawn].sum(-1)
    gap = pairs - without
    shares = (with_aid - without)[gap > 0] / gap[gap > 0]
    low, high = np.quantile(shares, [0.025, 0.975]) if len(shares) else (np.nan, np.nan)
    missing = len(alone) - float(alone.sum())
    share = float((aided - alone).sum()) / missing if missing else float("nan")
    return Recovered(float(alone.mean()), float(aided.mean()), share, float(low), float(high))


def movements(changed: Ints, before: Floats, after: Floats) -> Movements:
    """Which way votes moved, whether or not the truth is known.

    Args:
        changed: (N,) 1 where the vote after the critique is another than the first.
        before: (N,) how far the first vote is from what the critique argues for; NaN where it
            argues for nothing.
        after: (N,) the same of the vote after it.

    Raises:
        ValueError: the lengths differ.
    """
    if len({len(x) for x in (changed, before, after)}) > 1:
        raise ValueError("expected a distance before and after for every vote")
    took_side = ~np.isnan(before)
    total = int(took_side.sum())
    return Movements(
        changed=share(int(changed.sum()), len(changed)),
        towards=share(int((after < before)[took_side].sum()), total),
        away=share(int((after > before)[took_side].sum()), total),
    )
