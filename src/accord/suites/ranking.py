"""Several models in one order, from a judge's verdicts on pairs of their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from accord.annotation.ranking import rank_policies
from accord.annotation.win_rates import win_rate
from accord.core.errors import DataError
from accord.suites.base import Outcome

_LEVEL = 0.95
_RESAMPLES = 1000


@dataclass(frozen=True)
class Standing:
    """One model in the ranking; the baseline is at 0, and wins half, without uncertainty."""

    model: str
    strength: float
    """log-odds of beating the baseline"""
    low: float
    high: float
    win_rate: float
    """against the baseline, as all pairs together say"""
    win_rate_low: float
    win_rate_high: float


@dataclass(frozen=True)
class Match:
    """What the judge said of two models alone."""

    first: str
    second: str
    win_rate: float | None
    """of the first; None where the judge abstained on all"""
    low: float | None
    high: float | None
    judged: int
    abstained: int


@dataclass(frozen=True)
class ModelRanking:
    """Models, the best first, with intervals of 95% over prompts."""

    baseline: str
    standings: tuple[Standing, ...]
    matches: tuple[Match, ...]


def rank_models(
    models: Sequence[str],
    outcomes: Mapping[tuple[int, int], Sequence[Outcome]],
    *,
    baseline: int,
    seed: int,
) -> ModelRanking:
    """Bradley-Terry over all pairs, ties being half a win each.

    The bootstrap draws prompts, each with all pairs about it: models answered the same ones.

    Args:
        models: their names.
        outcomes: by the places of the first and the second model.
        baseline: the place of the model that the others are measured by.
        seed: of the bootstraps.

    Raises:
        DataError: the judge's abstentions leave a model without a link to the baseline.
    """
    first = np.array([pair[0] for pair, found in outcomes.items() for _ in found])
    second = np.array([pair[1] for pair, found in outcomes.items() for _ in found])
    values = np.array([o.value for found in outcomes.values() for o in found])
    try:
        ranking = rank_policies(
            first,
            second,
            values,
            [o.prompt for found in outcomes.values() for o in found],
            items=len(models),
            baseline=baseline,
            seed=seed,
            level=_LEVEL,
            resamples=_RESAMPLES,
        )
    except ValueError as error:
        raise DataError(f"{', '.join(models)} cannot be ranked: {error}") from None
    strengths = zip(models, ranking.scores, ranking.low, ranking.high, strict=True)
    standings = [
        Standing(model, *map(float, numbers), *(float(expit(x)) for x in numbers))
        for model, *numbers in strengths
    ]
    return ModelRanking(
        models[baseline],
        tuple(sorted(standings, key=lambda standing: -standing.strength)),
        tuple(_match(models[a], models[b], found, seed=seed) for (a, b), found in outcomes.items()),
    )


def _match(first: str, second: str, outcomes: Sequence[Outcome], *, seed: int) -> Match:
    values = np.array([outcome.value for outcome in outcomes])
    abstained = int(np.isnan(values).sum())
    judged = len(values) - abstained
    if not judged:
        return Match(first, second, None, None, None, 0, abstained)
    alone = win_rate(values, [outcome.prompt for outcome in outcomes], seed=seed)
    return Match(first, second, alone.rate, alone.low, alone.high, judged, abstained)
