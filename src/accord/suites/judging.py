"""What judges said, as a suite's figures."""

from collections.abc import Hashable, Sequence

import numpy as np

from accord.annotation.judge_bias import JudgeBias
from accord.annotation.prediction_powered import corrected_mean
from accord.annotation.tables import Floats
from accord.annotation.win_rates import WinRate
from accord.core.errors import DataError
from accord.core.interfaces import PairJudge
from accord.core.types import Message
from accord.suites.base import Figure


def win_rate_figure(found: WinRate) -> Figure:
    """A win rate as a suite reports it."""
    return Figure(found.rate, found.low, found.high, found.prompts, found.standard_error)


def bias_figures(bias: JudgeBias) -> dict[str, Figure]:
    """What a judge prefers besides quality: shares, of which 1/2 is no preference."""
    figures = {
        "judge_consistency": Figure(*bias.consistency, bias.pairs),
        "judge_first_share": Figure(*bias.first_share, bias.pairs),
    }
    for name, preference in {"longer": bias.length, "own": bias.own}.items():
        if preference is not None:
            share, low, high = (1 / (1 + np.exp(-x)) for x in preference[:3])
            figures[f"judge_{name}_share"] = Figure(share, low, high, bias.pairs)
    return figures


def require_some(outcomes: Floats, judge: str) -> None:
    """Refuse a judge that had nothing to say: no win rate follows from silence.

    Raises:
        DataError: all outcomes are abstentions (NaN).
    """
    if np.isnan(outcomes).all():
        raise DataError(
            f"judge {judge} abstained on all of {len(outcomes)} pairs: its answers named no "
            "verdict, it could not be reached, or nothing fits into it; what was answered is kept"
        )


def number_or_none(value: float) -> float | None:
    """None for NaN (an abstention), which JSON does not have."""
    return None if np.isnan(value) else float(value)


def by_people(
    people: PairJudge | None,
    prompts: Sequence[Sequence[Message]],
    a: Sequence[str],
    b: Sequence[str],
    outcomes: Floats,
    clusters: Sequence[Hashable],
) -> tuple[dict[str, Figure], list[str]]:
    """A win rate put right by people's judgements of some of the pairs, and what to say of it.

    Args:
        people: the share of their votes for a; NaN where nobody judged; None where nobody did.
        prompts: of the pairs.
        a: our responses.
        b: the others'.
        outcomes: (N,) by the judge.
        clusters: (N,) prompts.
    """
    if people is None:
        return {}, []
    said = np.array(people.compare(prompts, a, b), dtype=float)
    asked = len({c for c, p in zip(clusters, said, strict=True) if not np.isnan(p)})
    if asked < 2:
        return {}, [f"people judged {asked} of these prompts: too few to correct a win rate by"]
    found = corrected_mean(outcomes, said, clusters)
    figure = Figure(found.value, found.low, found.high, found.labelled, found.standard_error)
    told = (
        f"people judged {found.labelled} of these pairs; by them the win rate is "
        f"{found.value:.1%} (the judge counts with a weight of {found.weight:.2f}), which holds as "
        "far as the pairs were drawn at random"
    )
    return {"win_rate_by_people": figure}, [told]
