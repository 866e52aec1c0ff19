"""Aggregation: by hand, whom it believes, display sides undone, and the published votes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.annotation.aggregation import (
    Labels,
    dawid_skene,
    mace,
    majority,
    one_coin,
    p_chosen,
)
from accord.annotation.tables import Votes


def simulated(
    skills: list[float], tasks: int, *, per_task: int, seed: int = 0
) -> tuple[Votes, Any]:
    """Binary tasks; annotator a is right with probability skills[a]; gives the truths, too."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=tasks)
    rows = []
    for task in range(tasks):
        for annotator in rng.permutation(len(skills))[:per_task]:
            right = rng.random() < skills[annotator]
            rows.append((task, int(annotator), int(truth[task] if right else 1 - truth[task])))
    votes = Votes.of(rows, categories=[0, 1])
    return votes, truth[[int(str(t)) for t in votes.tasks]]


def accuracy(found: Labels, truth: Any) -> float:
    return float((found.probabilities.argmax(1) == truth).mean())


def test_majority_by_hand() -> None:
    votes = Votes.of([("t", "x", "a"), ("t", "y", "a"), ("t", "z", "b"), ("u", "z", "b")])
    found = majority(votes)
    assert found.probabilities.tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3)], [0, 1]]
    assert found.quality.tolist() == [1.0, 1.0, 0.5]


def test_p_chosen_by_hand() -> None:
    """Two votes of four for a, one tie, one for b: 1/2 and half of 1/4."""
    rows = [("t", "w", "a"), ("t", "x", "tie"), ("t", "y", "b"), ("t", "z", "a"), ("u", "w", "tie")]
    votes = Votes.of(rows, categories=["b", "tie", "a", "both_bad"])
    found = p_chosen(votes, majority(votes), chosen="a", rejected="b")
    assert found.tolist() == [5 / 8, 1 / 2]
    mirrored = p_chosen(votes, majority(votes), chosen="b", rejected="a")
    assert mirrored.tolist() == [3 / 8, 1 / 2]


def test_a_step_of_dawid_and_skene_by_hand() -> None:
    """Two of three agree on t, all on u: after one round z is trusted less, and t is surer."""
    rows = [
        ("t", "x", 0),
        ("t", "y", 0),
        ("t", "z", 1),
        ("u", "x", 1),
        ("u", "y", 1),
        ("u", "z", 1),
    ]
    votes = Votes.of(rows, categories=[0, 1])
    found = dawid_skene(votes, max_steps=1)
    # Shares: t (2/3, 1/3), u (0, 1). Confusion of x and y: [0 -> 0] 1, [1 -> 0] 1/4, [1 -> 1] 3/4;
    # of z: [0 -> 1] 1, [1 -> 1] 1. Prior (1/3, 2/3).
    zero, one = (1 / 3) * 1 * 1 * 1, (2 / 3) * (1 / 4) ** 2 * 1
    assert found.probabilities[0, 0] == pytest.approx(zero / (zero + one), rel=1e-6)
    assert found.probabilities[1, 1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("aggregate", [dawid_skene, one_coin, lambda votes: mace(votes, seed=0)])
def test_good_annotators_are_believed(aggregate: Any) -> None:
    """Two in ten know; where the others throw coins, the two decide."""
    votes, truth = simulated([0.95, 0.95, *[0.5] * 8], 600, per_task=10)
    found = aggregate(votes)
    by_name = dict(zip(votes.annotators, found.quality, strict=True))
    assert accuracy(found, truth) > accuracy(majority(votes), truth) + 0.1 > 0.8
    assert min(by_name[0], by_name[1]) > max(by_name[i] for i in range(2, 10)) + 0.2


def test_skills_are_found() -> None:
    skills = [0.9, 0.8, 0.7, 0.6, 0.85]
    votes, _ = simulated(skills, 4000, per_task=5)
    found = dict(zip(votes.annotators, one_coin(votes).quality, strict=True))
    assert [found[i] for i in range(5)] == pytest.approx(skills, abs=0.03)


def test_whoever_is_always_wrong_is_read_backwards() -> None:
    votes, truth = simulated([0.9, 0.9, 0.9, 0.05], 400, per_task=4)
    quality = dict(zip(votes.annotators, dawid_skene(votes).quality, strict=True))
    assert quality[3] < 0.15
    assert accuracy(dawid_skene(votes), truth) > 0.97


def test_a_taste_for_the_left_is_undone_by_the_display() -> None:
    """Three of five press left whatever is there; sides were shuffled for each vote."""
    rng = np.random.default_rng(1)
    truth = rng.integers(2, size=800)
    rows, flipped = [], []
    for task in range(800):
        for annotator in range(5):
            flip = int(rng.integers(2))
            honest = truth[task] if rng.random() < 0.85 else 1 - truth[task]
            shown = 0 if annotator < 3 and rng.random() < 0.9 else honest ^ flip
            rows.append((task, annotator, int(shown ^ flip)))
            flipped.append(flip)
    votes = Votes.of(rows, categories=[0, 1])
    undone = dawid_skene(votes, flipped=np.array(flipped), swap=(1, 0))
    assert accuracy(undone, truth) > accuracy(majority(votes), truth) + 0.03
    with pytest.raises(ValueError, match="need swap"):
        dawid_skene(votes, flipped=np.array(flipped))
    with pytest.raises(ValueError, match="one entry a vote"):
        dawid_skene(votes, flipped=np.array(flipped[:3]), swap=(1, 0))


def test_ties_are_a_label_of_their_own() -> None:
    rows = [("t", a, "tie") for a in "xyz"] + [("u", a, "a") for a in "xyz"]
    votes = Votes.of(rows, categories=["a", "tie", "b"])
    for found in (dawid_skene(votes), one_coin(votes), mace(votes, seed=0)):
        assert found.probabilities[0].argmax() == 1 and found.probabilities[1].argmax() == 0


def test_one_vote_a_task_leaves_its_share() -> None:
    """Nothing can be learned of anybody: posteriors are sane, and sum to 1."""
    votes = Votes.of([(t, t, t % 2) for t in range(6)], categories=[0, 1])
    for found in (majority(votes), dawid_skene(votes), one_coin(votes), mace(votes, seed=0)):
        assert np.allclose(found.probabilities.sum(1), 1) and np.isfinite(found.probabilities).all()
    with pytest.raises(ValueError, match="one label alone"):
        one_coin(Votes.of([("t", "x", "a")]))


# Published votes ---------------------------------------------------------------------------------


def test_reliability_beats_majority_on_llmfao(accord_data: Path) -> None:
    """Against the GPT-4 judge where it chose a side: left or right, whichever is likelier, and half
    where they are equal. Published: majority .629, Dawid-Skene .652, one coin .678.
    """
    folder = accord_data / "votes/llmfao"
    with (folder / "crowd-comparisons.csv").open() as file:
        rows = [(row["id"], row["worker"], row["winner"]) for row in csv.DictReader(file)]
    with (folder / "gpt4-crowd-comparisons.csv").open() as file:
        gpt4 = {row["id"]: row["winner"] for row in csv.DictReader(file)}
    votes = Votes.of(rows, categories=["left", "right", "tie"])
    chosen = [(i, gpt4[str(task)]) for i, task in enumerate(votes.tasks)]
    known = [(i, side) for i, side in chosen if side != "tie"]
    truth = [votes.categories.index(side) for _, side in known]

    def agreement(found: Labels, floor: float = 0.0) -> float:
        left, right = np.maximum(found.probabilities, floor)[[i for i, _ in known], :2].T
        equal = np.abs(left - right) < 1e-12
        return float(np.where(equal, 0.5, (right > left) == np.array(truth)).mean())

    assert len(known) == 2073
    assert agreement(majority(votes)) == pytest.approx(0.629, abs=5e-4)
    assert agreement(one_coin(votes, max_steps=100)) == pytest.approx(0.678, abs=5e-4)
    stopped = dawid_skene(votes, max_steps=16)
    assert agreement(stopped, floor=1e-10) == pytest.approx(0.652, abs=5e-4)
    fixed = dawid_skene(votes)
    assert fixed.steps < 1000
    assert agreement(fixed) == pytest.approx(0.6544, abs=5e-5)
    assert agreement(fixed, floor=1e-10) == pytest.approx(0.6529, abs=5e-5)
