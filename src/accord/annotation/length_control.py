"""Win rates at equal length: AlpacaEval 2's regression.

A judge's preference is regressed on how much longer the policy's response is, on how hard the
instruction is, and on who the policy is; then the length's part is taken out. Source: Dubois et
al. 2024, "Length-controlled AlpacaEval", arXiv:2404.04475.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from accord.annotation.tables import Floats, Ints

_GAMED_WEIGHT = 0.1
"""Of each row of the baseline's gamed answers: 0.2 over the two kinds, concise and verbose."""
_STRENGTHS = np.logspace(-4, 4, 10)
"""C, the inverse of the L1 penalty, among which cross-validation chooses."""
_FOLDS = 5
_SEED = 123
_TRACE = 0.5
"""Rows in all that a side has by right: a win or loss that could still have come."""


class Coefficients(NamedTuple):
    """Log-odds of preferring the policy, by feature; there is no intercept."""

    length: float
    """times tanh of the length gap in standard deviations; positive where short is preferred"""
    difficulty: float
    """times the instruction's difficulty"""
    policy: float
    """the policy's own strength against the baseline"""


class JudgedRows(NamedTuple):
    """(N,) each: one policy's responses against the baseline's."""

    preferences: Floats
    """that the policy's response is the better, in [0, 1]; NaN abstained"""
    length_gaps: Floats
    """characters of the baseline's response less those of the policy's"""
    difficulty: Floats
    """of the instructions, as the benchmark fixes it; all 0 where it is not known"""


class LengthControlled(NamedTuple):
    """A win rate at equal length, in [0, 1], and the regression behind it."""

    rate: float
    low: float
    high: float
    standard_error: float
    """over resampled prompts"""
    prediction_error: float
    """standard error of the mean of predictions, as leaderboards print it: not the sampling error,
    for the coefficients are taken as known"""
    coefficients: Coefficients


def predicted_preferences(coefficients: Coefficients, difficulty: Floats) -> Floats:
    """(N,) that the policy would be preferred if both responses were equally long."""
    found: Floats = expit(coefficients.difficulty * difficulty + coefficients.policy)
    return found


def surrogate_preferences(coefficients: Coefficients, rows: JudgedRows) -> Floats:
    """(N,) what a fitted regression says of rows, with their lengths as they are."""
    found: Floats = expit(_features(rows) @ np.array(coefficients))
    return found


def length_controlled_win_rate(
    rows: JudgedRows,
    gamed: tuple[JudgedRows, ...] = (),
    *,
    seed: int,
    resamples: int = 200,
) -> LengthControlled:
    """Fit the regression to one policy, and predict its win rate at equal length.

        logit p = b_1 tanh((len_base - len) / sd) + b_2 difficulty + b_3

    sd is over the policy's own rows, with N - 1. The baseline's gamed answers train b_1 and b_2
    (their b_3 is 0 by definition) at a tenth of the weight, so that a policy whose lengths hardly
    vary cannot hide in b_1. Each row stands twice, as a win with weight p and as a loss with weight
    1 - p. The L1 penalty is chosen by five-fold cross-validation over rows.

    Args:
        rows: the policy's.
        gamed: the baseline's gamed answers against the baseline itself, by the same judge.
        seed: of the bootstrap, which refits at the penalty that was chosen.

    Raises:
        ValueError: fewer than five rows were judged.
    """
    known = ~np.isnan(rows.preferences)
    if known.sum() < _FOLDS:
        raise ValueError(f"{known.sum()} judged rows are too few; expected {_FOLDS} or more")
    tables = [_gamed_table(one) for one in gamed]
    x, y = _features(rows), rows.preferences
    own = _Table(x[known], y[known], np.ones(int(known.sum())))
    strength = _chosen_strength(_stacked([*tables, own]))
    coefficients = _fit(_stacked([*tables, own]), strength)
    predictions = predicted_preferences(coefficients, rows.difficulty)

    rng = np.random.default_rng(seed)
    found = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(len(own.y), size=len(own.y))
        again = _fit(_stacked([*tables, own.take(drawn)]), strength)
        found[i] = predicted_preferences(again, own.x[drawn, 1]).mean()
    low, high = np.quantile(found, [0.025, 0.975])
    return LengthControlled(
        rate=float(predictions.mean()),
        low=float(low),
        high=float(high),
        standard_error=float(found.std(ddof=1)),
        prediction_error=prediction_error(predictions),
        coefficients=coefficients,
    )


def prediction_error(predictions: Floats) -> float:
    """Standard error of the mean of (N,) predictions, as leaderboards print it."""
    return float(predictions.std(ddof=1) / np.sqrt(len(predictions)))


class _Table(NamedTuple):
    """Features (N, 3), soft labels (N,), weights (N,)."""

    x: Floats
    y: Floats
    weights: Floats

    def take(self, places: Ints) -> "_Table":
        return _Table(self.x[places], self.y[places], self.weights[places])


def _features(rows: JudgedRows) -> Floats:
    """(N, 3); the gaps are divided by their spread, but not centred."""
    spread = rows.length_gaps.std(ddof=1)
    gaps = rows.length_gaps / spread if spread > 0 else np.sign(rows.length_gaps)
    return np.stack([np.tanh(gaps), rows.difficulty, np.ones(len(gaps))], 1)


def _gamed_table(rows: JudgedRows) -> _Table:
    known = ~np.isnan(rows.preferences)
    x = _features(rows)
    x[:, 2] = 0
    return _Table(x[known], rows.preferences[known], np.full(int(known.sum()), _GAMED_WEIGHT))


def _stacked(tables: list[_Table]) -> _Table:
    return _Table(*(np.concatenate(parts) for parts in zip(*tables, strict=True)))


def _fit(table: _Table, strength: float) -> Coefficients:
    labels = np.repeat([1, 0], len(table.y))
    weights = np.concatenate([table.y, 1 - table.y]) * np.tile(table.weights, 2)
    # liblinear drops rows without weight, and takes the only side that is left for the wins.
    if not all(weights[labels == side].any() for side in (0, 1)):
        weights = np.maximum(weights, _TRACE / len(table.y))
    model = LogisticRegression(
        C=strength,
        l1_ratio=1,
        solver="liblinear",
        fit_intercept=False,
        random_state=_SEED,
        max_iter=10_000,
    )
    model.fit(np.tile(table.x, (2, 1)), labels, sample_weight=weights)
    return Coefficients(*(float(value) for value in model.coef_[0]))


def _chosen_strength(table: _Table) -> float:
    """The C with the least weighted log-loss on rows that were left out."""
    losses = np.zeros(len(_STRENGTHS))
    rows = np.arange(len(table.y))
    # Both copies of a row, the win and the loss, are left out together.
    for kept, left in GroupKFold(_FOLDS).split(table.x, groups=rows):
        trained, held = table.take(kept), table.take(left)
        for place, strength in enumerate(_STRENGTHS):
            p = expit(held.x @ np.array(_fit(trained, float(strength))))
            p = np.clip(p, 1e-15, 1 - 1e-15)
            loss = -(held.y * np.log(p) + (1 - held.y) * np.log1p(-p))
            losses[place] += (held.weights * loss).mean()
    return float(_STRENGTHS[losses.argmin()])
