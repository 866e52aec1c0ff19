"""Simulated annotators: probabilities by hand, what votes show, what aggregation is worth."""

from typing import Any

import numpy as np
import pytest
from benchmarks.aggregation import TEST_PAIRS, accuracies

from accord.annotation.simulation import (
    Crowd,
    crowd_with_bad_ones,
    p_says_left,
    simulate_votes,
)


def crowd(**given: Any) -> Crowd:
    size = len(next(iter(given.values())))
    none = {name: np.zeros(size) for name in ("error", "left_bias", "fatigue")}
    found = {name: np.array(values) for name, values in given.items()}
    return Crowd(**{**none, "group": np.zeros(size, dtype=int), **found})


def test_what_is_said_by_hand() -> None:
    """All think left better with .8: errs .1; presses left .5; is half tired; is wholly tired."""
    people = crowd(error=[0.1, 0, 0, 0], left_bias=[0, 0.5, 0, 0], fatigue=[0, 0, 0.05, 0.05])
    found = p_says_left(people, np.arange(4), np.full(4, 0.8), np.array([9, 9, 10, 99]))
    assert found == pytest.approx([0.8 * 0.9 + 0.2 * 0.1, 0.9, 0.25 + 0.4, 0.5])


def test_groups_sides_and_order() -> None:
    """Group 0 wants a, group 1 b; one in each presses left, and so says both as often."""
    people = crowd(group=[0, 0, 1, 1], left_bias=[0.0, 1.0, 0.0, 1.0])
    found = simulate_votes(people, np.repeat([[1.0], [0.0]], 3000, 1), per_task=3, seed=0)
    votes = found.votes
    assert votes.counts().sum(1).tolist() == [3] * 3000
    assert len(set(zip(votes.task, votes.annotator, strict=True))) == 9000
    means = votes.mean_by_annotator(votes.label.astype(float))
    assert means[[0, 2]].tolist() == [0.0, 1.0]
    assert means[[1, 3]] == pytest.approx([0.5, 0.5], abs=0.03)
    was_left = votes.label == found.flipped
    assert votes.mean_by_annotator(was_left.astype(float))[[1, 3]].tolist() == [1.0, 1.0]
    again = simulate_votes(people, np.repeat([[1.0], [0.0]], 3000, 1), per_task=3, seed=0)
    assert (again.votes.label == votes.label).all() and (again.flipped == found.flipped).all()


def test_fatigue_grows_with_what_was_done() -> None:
    """Two people do all 2,000 tasks; after 1,000 the tired one tosses coins."""
    people = crowd(fatigue=[0.001, 0.0])
    votes = simulate_votes(people, np.ones((1, 2000)), per_task=2, seed=1).votes
    wrong = np.bincount(votes.task * 2 + votes.annotator, votes.label).reshape(2000, 2)
    assert wrong[:, 1].sum() == 0
    assert wrong[:1000, 0].mean() == pytest.approx(0.25, abs=0.05)
    assert wrong[1000:, 0].mean() == pytest.approx(0.5, abs=0.06)


def test_bad_ones_are_of_three_kinds() -> None:
    people = crowd_with_bad_ones(20, bad_share=0.3, seed=0, groups=2)
    assert ((people.error == 0.5).sum(), (people.error == 0.9).sum()) == (2, 2)
    assert (people.left_bias == 0.9).sum() == 2 and (people.group == 1).sum() == 10
    assert len(people) == 20 and people.error.min() >= 0.05


def test_crowds_and_tasks_that_cannot_be_are_refused() -> None:
    people = crowd(error=[0.1, 0.1])
    with pytest.raises(ValueError, match="probabilities"):
        crowd(error=[1.5])
    with pytest.raises(ValueError, match="one entry"):
        crowd(error=[0.1], left_bias=[0.1, 0.1])
    with pytest.raises(ValueError, match="as many annotators"):
        simulate_votes(people, np.ones((1, 4)), per_task=3, seed=0)
    with pytest.raises(ValueError, match="group 1 judges"):
        simulate_votes(crowd(group=[0, 1]), np.ones((1, 4)), per_task=1, seed=0)


def test_soft_labels_train_a_better_reward_than_majority_and_raw_votes() -> None:
    """benchmarks/aggregation.py at a small size: means of three seeds, by a point at least."""
    results = [
        accuracies(seed, pairs=1000, annotators=20, per_pair=5, bad_share=0.3) for seed in range(3)
    ]
    mean = {name: np.mean([result[name] for result in results]) for name in results[0]}
    assert len(results[0]["one coin"]) == TEST_PAIRS
    for name in ("one coin", "Dawid-Skene by side", "MACE", "GLAD"):
        assert mean[name] > max(mean["majority"], mean["raw votes"]) + 0.01
    honest = accuracies(0, pairs=1000, annotators=20, per_pair=5, bad_share=0.0)
    assert honest["one coin"].mean() > honest["raw votes"].mean() - 0.01
