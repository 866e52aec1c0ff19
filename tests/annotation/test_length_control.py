"""The regression on planted lengths, against scikit-learn's own cross-validation."""

import numpy as np
import pytest
import sklearn
from scipy.special import expit
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold

from accord.annotation.length_control import (
    Coefficients,
    JudgedRows,
    length_controlled_win_rate,
    predicted_preferences,
    prediction_error,
    surrogate_preferences,
)

NAN = float("nan")


def planted(
    seed: int, *, length: float, policy: float, count: int = 800, longer: float = 0.0
) -> JudgedRows:
    """A judge with these log-odds, of responses that are `longer` standard deviations longer."""
    rng = np.random.default_rng(seed)
    gaps = rng.normal(-longer, 1, count) * 500
    difficulty = rng.normal(0.5, 1, count)
    rows = JudgedRows(np.zeros(count), gaps, difficulty)
    p = surrogate_preferences(Coefficients(length, 0.7, policy), rows)
    return rows._replace(preferences=(rng.random(count) < p).astype(float))


@pytest.mark.parametrize("seed", range(3))
def test_length_is_taken_out(seed: int) -> None:
    rows = planted(seed, length=-1.5, policy=-0.4, longer=1.0, count=4000)
    found = length_controlled_win_rate(rows, seed=0, resamples=50)
    honest = predicted_preferences(Coefficients(-1.5, 0.7, -0.4), rows.difficulty).mean()
    assert rows.preferences.mean() > honest + 0.15  # the raw rate is fooled
    assert found.rate == pytest.approx(honest, abs=0.05)
    assert found.coefficients == pytest.approx((-1.5, 0.7, -0.4), abs=0.35)


def test_the_interval_is_the_sampling_error() -> None:
    found, truth = [], []
    for seed in range(25):
        rows = planted(seed, length=-1.0, policy=0.3, count=300)
        found.append(length_controlled_win_rate(rows, seed=0, resamples=40))
        truth.append(predicted_preferences(Coefficients(-1.0, 0.7, 0.3), rows.difficulty).mean())
    spread = np.std([one.rate for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.35)
    inside = [one.low <= true <= one.high for one, true in zip(found, truth, strict=True)]
    assert np.mean(inside) >= 0.84


def test_a_policy_against_itself_has_one_half() -> None:
    rows = JudgedRows(np.full(50, 0.5), np.zeros(50), np.linspace(-1, 1, 50))
    found = length_controlled_win_rate(rows, seed=0, resamples=20)
    assert (found.rate, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.prediction_error == pytest.approx(0, abs=1e-12)


def test_abstentions_train_nothing_but_are_predicted() -> None:
    rows = planted(0, length=-1.0, policy=0.5, count=200)
    silent = np.arange(200) % 4 == 0
    some = rows._replace(preferences=np.where(silent, NAN, rows.preferences))
    found = length_controlled_win_rate(some, seed=0, resamples=10)
    harder = some._replace(difficulty=np.where(silent, -9.0, some.difficulty))
    again = length_controlled_win_rate(harder, seed=0, resamples=10)
    assert again.coefficients == found.coefficients
    assert again.rate < found.rate - 0.1
    with pytest.raises(ValueError, match="4 judged rows are too few"):
        few = rows._replace(preferences=np.where(np.arange(200) < 4, 1.0, NAN))
        length_controlled_win_rate(few, seed=0)


def test_gamed_rows_hold_the_length_coefficient() -> None:
    # The policy is always 500 characters longer: alone, length and policy cannot be told apart.
    rng = np.random.default_rng(0)
    gaps = rng.normal(-500, 1, 400)
    own = JudgedRows((rng.random(400) < 0.8).astype(float), gaps, np.zeros(400))
    spread = rng.normal(0, 500, 400)
    gamed = JudgedRows(expit(-2.0 * np.tanh(spread / spread.std(ddof=1))), spread, np.zeros(400))
    held = length_controlled_win_rate(own, (gamed, gamed), seed=0, resamples=10).coefficients
    assert held.length == pytest.approx(-2.0, abs=0.3)
    free = length_controlled_win_rate(own, seed=0, resamples=10).coefficients
    assert abs(free.length - held.length) > 0.5
    assert held.difficulty == 0


def test_against_cross_validation_by_sklearn() -> None:
    rows = planted(5, length=-1.2, policy=-0.8, count=400)
    found = length_controlled_win_rate(rows, seed=0, resamples=2).coefficients
    gaps = np.tanh(rows.length_gaps / rows.length_gaps.std(ddof=1))
    x = np.tile(np.stack([gaps, rows.difficulty, np.ones(400)], 1), (2, 1))
    labels, p = np.repeat([1, 0], 400), np.concatenate([rows.preferences, 1 - rows.preferences])

    def log_loss(y_true, y_pred, share):  # type: ignore[no-untyped-def]
        y = np.where(y_true == 1, share, 1 - share)
        return -np.mean(y * np.log(y_pred) + (1 - y) * np.log(1 - y_pred))

    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(log_loss, response_method="predict_proba", greater_is_better=False)
        model = LogisticRegressionCV(
            Cs=10,
            cv=GroupKFold(5),
            scoring=scorer.set_score_request(share=True),
            l1_ratios=(1,),
            solver="liblinear",
            fit_intercept=False,
            random_state=123,
            use_legacy_attributes=False,
        ).set_fit_request(sample_weight=True)
        model.fit(x, labels, sample_weight=p, groups=np.tile(np.arange(400), 2), share=p)
    assert found == pytest.approx(tuple(model.coef_[0]), abs=1e-6)


def test_prediction_error_by_hand() -> None:
    assert prediction_error(np.array([0.2, 0.4, 0.6])) == pytest.approx(0.2 / 3**0.5)


def test_who_loses_everything_does_not_tie_at_equal_length() -> None:
    rows = planted(0, length=0.0, policy=0.0, count=40)
    lost = length_controlled_win_rate(rows._replace(preferences=np.zeros(40)), seed=0, resamples=20)
    assert lost.rate < 0.05 and lost.high < 0.05
    once = (np.arange(40) == 7).astype(float)
    assert length_controlled_win_rate(rows._replace(preferences=once), seed=0).high < 0.3
