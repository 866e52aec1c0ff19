"""Agreement: by hand, against other implementations, and the published votes' golden values."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from accord.annotation.agreement import (
    agreement_interval,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent,
)
from accord.annotation.tables import Votes


def counts(*rows: list[int]) -> Any:
    return np.array(rows, dtype=np.float64)


# By hand -----------------------------------------------------------------------------------------


def test_votes_are_numbered_and_counted() -> None:
    votes = Votes.of([("t", "x", "a"), ("u", "x", "b"), ("t", "y", "tie")])
    assert votes.counts().tolist() == [[1, 0, 1], [0, 1, 0]]
    assert votes.without("tie").counts().tolist() == [[1, 0], [0, 1]]
    assert votes.without("a").categories == ["b", "tie"]
    ordered = Votes.of([("t", "x", "b")], categories=["a", "b"])
    assert ordered.counts().tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="none of"):
        Votes.of([("t", "x", "c")], categories=["a", "b"])
    with pytest.raises(ValueError, match="no votes"):
        Votes.of([])


def test_percent_by_hand() -> None:
    """Three votes, two equal: one pair of three; two votes, both equal: one of one."""
    assert percent(counts([2, 1], [0, 2])) == pytest.approx(2 / 4)
    assert percent(counts([2, 1], [0, 2]), np.array([3.0, 1.0])) == pytest.approx(4 / 10)
    assert math.isnan(percent(counts([1, 0])))


def test_cohen_by_hand() -> None:
    """Cohen's: 20 yes-yes, 5, 10, 15 no-no: .7 seen, .5 by chance."""
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert cohen_kappa(first, second, categories=2) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    a, b = rng.integers(3, size=(2, 50))
    expected = cohen_kappa_score(a, b)
    assert cohen_kappa(a, b, categories=3) == pytest.approx(expected, abs=1e-12)


FLEISS = counts(
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
)  # fmt: skip
"""A well-known worked example: ten tasks, fourteen annotators, kappa .210."""


def test_fleiss_of_a_worked_example() -> None:
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_krippendorff_of_worked_examples() -> None:
    """Krippendorff 2011's data of four observers and twelve units: .743, .815, .849."""
    data = [
        [1, 1, None, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
        [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [None, 5, 5, 5], [None, None, 1, 1],
        [None, None, 3, None],
    ]  # fmt: skip
    rows = [
        (unit, observer, label)
        for unit, labels in enumerate(data)
        for observer, label in enumerate(labels)
        if label is not None
    ]
    table = Votes.of(rows, categories=[1, 2, 3, 4, 5]).counts()
    assert krippendorff_alpha(table) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(table, level="ordinal") == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(table, level="interval") == pytest.approx(0.849, abs=5e-4)
    doubled = krippendorff_alpha(table, level="interval", values=[2, 4, 6, 8, 10])
    assert doubled == pytest.approx(0.849, abs=5e-4)


def test_gwet_by_hand_where_kappa_fails() -> None:
    """Two annotators, 98 of 100 tasks both yes, one each way: pi = .99, p_e = .0198."""
    table = counts(*[[2, 0]] * 98, [1, 1], [1, 1])
    assert gwet_ac1(table) == pytest.approx((0.98 - 0.0198) / (1 - 0.0198))
    assert abs(fleiss_kappa(table)) < 0.02


@pytest.mark.parametrize("coefficient", [percent, fleiss_kappa, gwet_ac1, krippendorff_alpha])
def test_weights_are_repetitions(coefficient: Any) -> None:
    table, weights = FLEISS[:4], np.array([2.0, 0.0, 1.0, 3.0])
    repeated = np.repeat(table, weights.astype(int), axis=0)
    assert coefficient(table, weights) == pytest.approx(coefficient(repeated), abs=1e-12)


@pytest.mark.parametrize("coefficient", [percent, fleiss_kappa, gwet_ac1, krippendorff_alpha])
def test_ends(coefficient: Any) -> None:
    assert coefficient(counts([3, 0], [0, 3])) == pytest.approx(1.0)
    assert math.isnan(coefficient(counts([1, 0], [0, 1])))
    rng = np.random.default_rng(0)
    by_chance = counts(*[np.bincount(rng.integers(3, size=4), minlength=3) for _ in range(3000)])
    assert abs(coefficient(by_chance) - (1 / 3 if coefficient is percent else 0)) < 0.02


def test_interval_resamples_prompts() -> None:
    """Ten copies of each task under one prompt say no more than one."""
    alone = agreement_interval(percent, FLEISS, range(10), seed=0)
    copied = agreement_interval(
        percent, np.repeat(FLEISS, 10, axis=0), np.repeat(range(10), 10).tolist(), seed=0
    )
    assert copied == pytest.approx(alone, abs=1e-9)
    assert alone[0] < percent(FLEISS) < alone[1]
    with pytest.raises(ValueError, match="one cluster a task"):
        agreement_interval(percent, FLEISS, [1], seed=0)


# Published votes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llmfao(accord_data: Path) -> Votes:
    with (accord_data / "votes/llmfao/crowd-comparisons.csv").open() as file:
        rows = [(row["id"], row["worker"], row["winner"]) for row in csv.DictReader(file)]
    return Votes.of(rows, categories=["left", "tie", "right"])


def test_llmfao_has_its_golden_values(llmfao: Votes) -> None:
    table = llmfao.counts()
    assert (len(llmfao.task), len(llmfao.annotators), len(table)) == (8931, 124, 2139)
    assert percent(table) == pytest.approx(0.5322, abs=5e-5)
    assert percent(llmfao.without("tie").counts()) == pytest.approx(0.7013, abs=5e-5)
    assert krippendorff_alpha(table) == pytest.approx(0.29060, abs=5e-6)
    assert krippendorff_alpha(table, level="ordinal") == pytest.approx(0.28755, abs=5e-6)
    assert gwet_ac1(table) == pytest.approx(0.2958, abs=5e-5)
    unanimous = (table.max(1) == table.sum(1)).mean()
    assert unanimous == pytest.approx(0.252, abs=5e-4)
    decisive = table[:, [0, 2]].sum(0)
    assert decisive[0] / decisive.sum() == pytest.approx(0.533, abs=5e-4)


def test_pandalm_has_its_golden_values(accord_data: Path) -> None:
    rows = json.loads((accord_data / "votes/pandalm/testset-v1.json").read_text())
    names = ["annotator1", "annotator2", "annotator3"]
    votes = Votes.of([(row["idx"], name, row[name]) for row in rows for name in names])
    table = votes.counts()
    assert table.sum(1).tolist() == [3.0] * 999
    labels = [votes.label[votes.annotator == i] for i in range(3)]
    found = [cohen_kappa(labels[a], labels[b], categories=3) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert sorted(found) == pytest.approx([0.852, 0.862, 0.879], abs=5e-4)
    assert krippendorff_alpha(table) == pytest.approx(0.86422, abs=5e-6)
    assert fleiss_kappa(table) == pytest.approx(0.86418, abs=5e-6)
    assert gwet_ac1(table) == pytest.approx(0.88644, abs=5e-6)
