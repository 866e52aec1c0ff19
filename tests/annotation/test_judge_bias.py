"""A fake judge with planted biases: the statistics find what was planted, and nothing else."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from accord.annotation.judge_bias import JudgeBias, _logistic, judge_bias

NAN = float("nan")


def planted(
    seed: int,
    *,
    position: float = 0.0,
    length: float = 0.0,
    own: float = 0.0,
    pairs: int = 1500,
    confounded: float = 0.0,
    knows_quality: bool = True,
) -> JudgeBias:
    """A judge who flips a coin with these log-odds; quality counts 1.5.

    Args:
        confounded: how much better the longer response really is.
        knows_quality: whether the statistics are given the quality.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.normal(0, 400, pairs)
    quality = rng.normal(size=pairs) + confounded * lengths / 400
    wrote = rng.integers(-1, 2, pairs).astype(float)
    unit = lengths / np.sqrt(np.square(lengths).mean())
    merit = 1.5 * quality + length * unit + own * wrote
    forth = (rng.random(pairs) < expit(position + merit)).astype(float)
    back = (rng.random(pairs) < expit(position - merit)).astype(float)
    return judge_bias(
        forth,
        back,
        range(pairs),
        seed=seed,
        length_gaps=lengths,
        quality_gaps=quality if knows_quality else None,
        own=wrote,
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "plant",
    [{}, {"position": 0.7}, {"length": -0.5}, {"own": 0.6}, {"position": -0.4, "length": 0.8}],
    ids=str,
)
def test_what_was_planted_is_found(plant: dict[str, float], seed: int) -> None:
    found = planted(seed, **plant)
    for name in ("position", "length", "own"):
        preference = getattr(found, name)
        true = plant.get(name, 0.0)
        assert preference.log_odds == pytest.approx(true, abs=0.2)
        assert preference.share == pytest.approx(expit(preference.log_odds))
        if abs(true) > 0.3:
            assert preference.low * preference.high > 0  # 0 is outside


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    found = [planted(seed, position=0.5, length=0.4, pairs=200) for seed in range(24)]
    for name, true in {"position": 0.5, "length": 0.4, "own": 0.0}.items():
        inside = [getattr(f, name).low <= true <= getattr(f, name).high for f in found]
        assert np.mean(inside) >= 0.8


def test_longer_and_better_is_no_bias_where_quality_is_known() -> None:
    with_it = planted(0, confounded=1.0)
    assert with_it.length is not None and with_it.length.low < 0 < with_it.length.high
    without = planted(0, confounded=1.0, knows_quality=False)
    assert without.length is not None and without.length.low > 0.5


def test_soft_verdicts_give_the_plant_exactly() -> None:
    lengths = np.array([3.0, -1.0, 2.0, -2.0, 0.5] * 20)
    unit = lengths / np.sqrt(np.square(lengths).mean())
    found = judge_bias(
        expit(0.3 + 0.9 * unit), expit(0.3 - 0.9 * unit), range(100), seed=0, length_gaps=lengths
    )
    assert found.position.log_odds == pytest.approx(0.3, abs=1e-3)
    assert found.length is not None and found.length.log_odds == pytest.approx(0.9, abs=1e-3)
    assert found.own is None


def test_shares_by_hand() -> None:
    # Same verdict both times; always the first; a tie both times; a win and a tie; an abstention.
    forth, back = np.array([1, 1, 0.5, 1, NAN]), np.array([0, 1, 0.5, 0.5, 1])
    found = judge_bias(forth, back, list("abcde"), seed=0)
    assert (found.pairs, found.abstained) == (4, 1)
    assert found.consistency.value == 0.5
    assert found.first_share.value == pytest.approx((0.5 + 1 + 0.5 + 0.75) / 4)


@pytest.mark.parametrize(("forth", "back", "share"), [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_one_who_looks_at_the_place_alone(forth: float, back: float, share: float) -> None:
    found = judge_bias(np.full(50, forth), np.full(50, back), range(50), seed=0)
    assert found.consistency.value == 0.0 and found.first_share == (share, share, share)
    assert np.isfinite(found.position.log_odds) and abs(found.position.share - share) < 0.01


def test_logistic_against_sklearn() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 3)), rng.integers(0, 2, 300)
    weights = rng.integers(1, 4, 300).astype(float)
    theirs = LogisticRegression(C=1 / 1e-3, fit_intercept=False, tol=1e-10).fit(
        x, y, sample_weight=weights
    )
    assert _logistic(x, y.astype(float), weights) == pytest.approx(theirs.coef_[0], abs=1e-5)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="3 length, one a pair, got 2"):
        judge_bias(np.ones(3), np.ones(3), list("abc"), seed=0, length_gaps=np.ones(2))
    with pytest.raises(ValueError, match="no pair of 2"):
        judge_bias(np.array([NAN, 1]), np.array([1, NAN]), ["a", "b"], seed=0)
