"""Agreement beside krippendorff's and statsmodels' figures, on random votes with holes."""

from typing import Any

import numpy as np
import pytest

from accord.annotation.agreement import Level, cohen_kappa, fleiss_kappa, krippendorff_alpha
from accord.annotation.intervals import wilson_interval

krippendorff = pytest.importorskip("krippendorff")
inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]


def counted(data: Any) -> Any:
    """(tasks, 4) from (annotators, tasks), where NaN is a hole."""
    return np.stack([(data == label).sum(0) for label in range(4)], 1).astype(float)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(5))
def test_krippendorff(level: Level, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=60)
    data = np.where(rng.random((5, 60)) < 0.6, truth, rng.integers(4, size=(5, 60))).astype(float)
    data[rng.random(data.shape) < 0.4] = np.nan
    expected = krippendorff.alpha(
        reliability_data=data, level_of_measurement=level, value_domain=[0, 1, 2, 3]
    )
    assert krippendorff_alpha(counted(data), level=level) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_cohen_and_fleiss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.choice(4, size=(5, 40), p=[0.6, 0.2, 0.1, 0.1])
    expected = inter_rater.fleiss_kappa(counted(data), method="fleiss")
    assert fleiss_kappa(counted(data)) == pytest.approx(expected, abs=1e-6)
    square = np.zeros((4, 4))
    np.add.at(square, (data[0], data[1]), 1)
    expected = inter_rater.cohens_kappa(square).kappa
    assert cohen_kappa(data[0], data[1], categories=4) == pytest.approx(expected, abs=1e-6)


def test_wilson() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for wins, total in ((0, 3), (7, 9), (500, 501)):
        expected = proportion.proportion_confint(wins, total, method="wilson")
        assert wilson_interval(wins, total) == pytest.approx(expected, abs=1e-6)
