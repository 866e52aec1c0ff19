"""Noise is told from plurality: by hand, at stated rates, and over tasks with few votes."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from accord.annotation.plurality import disagreement_map, groups_differ
from accord.annotation.tables import Votes
from accord.annotation.values import Groups

WORTH = [1.0, 0.5, 0.0]


def two_groups(rows: list[tuple[int, str, str]], *, categories: Any = ("a", "tie", "b")) -> Groups:
    """An annotator's group is the first letter of the name; "?" is in none."""
    shown = {who: who[0] for _, who, _ in rows if who[0] != "?"}
    return Groups.of(Votes.of(rows, categories=categories), shown)


def crowd(p_by_group: Any, seed: int, *, tasks: int, people: int) -> Groups:
    rng = np.random.default_rng(seed)
    rows = [
        (task, f"{name}{who}", "a" if rng.random() < p[task % len(p)] else "b")
        for task in range(tasks)
        for name, p in p_by_group.items()
        for who in range(people)
    ]
    return two_groups(rows)


def test_noise_is_told_from_plurality() -> None:
    """Tasks of three kinds in turn: all for a; coins; g for a and h for b."""
    groups = crowd({"g": [1, 0.5, 0.95], "h": [1, 0.5, 0.05]}, 0, tasks=90, people=8)
    found = disagreement_map(groups, WORTH, seed=0)
    kinds = np.array(found.findings).reshape(30, 3)
    assert set(kinds[:, 0]) == {"agreed"}
    assert (kinds[:, 1] == "plural").mean() <= 0.1
    assert (kinds[:, 2] == "plural").mean() >= 0.9
    assert found.preference[2, 0] > 0.7 > 0.3 > found.preference[2, 1]
    again = disagreement_map(groups, WORTH, seed=0)
    assert again.findings == found.findings


def test_the_map_by_hand() -> None:
    """Three against three: one of 20 ways to deal the votes out is this, one its mirror."""
    rows = [(0, f"g{i}", "a") for i in range(3)] + [(0, f"h{i}", "b") for i in range(3)]
    rows += [(1, "g0", "a"), (1, "g1", "tie"), (2, "g0", "a"), (2, "h0", "a")]
    found = disagreement_map(two_groups(rows), WORTH, seed=1, shuffles=20_000)
    assert found.p_values[0] == pytest.approx(0.1, abs=0.01)
    assert np.isnan(found.p_values[1:]).all()
    assert found.preference[1, 0] == 0.75 and np.isnan(found.preference[1, 1])
    assert found.findings[1:] == ["noise", "agreed"]


def test_groups_of_unequal_size_by_hand() -> None:
    """One against four: the odd vote is the lone one's in one of five ways to deal them out."""
    rows = [(0, "g0", "a")] + [(0, f"h{i}", "b") for i in range(4)]
    rows += [(1, "g0", "b"), (1, "h0", "a")] + [(1, f"h{i}", "b") for i in range(1, 4)]
    found = disagreement_map(two_groups(rows), WORTH, seed=1, shuffles=20_000)
    assert found.p_values == pytest.approx([0.2, 1.0], abs=0.01)


def test_chance_is_called_plural_no_more_often_than_stated() -> None:
    """Where no group differs, any finding is false; that may happen in a tenth of the studies."""
    alarms = 0
    for seed in range(60):
        groups = crowd({"g": [0.5], "h": [0.5]}, seed, tasks=10, people=6)
        found = disagreement_map(groups, WORTH, seed=seed, shuffles=199)
        alarms += "plural" in found.findings
    assert alarms <= 12  # 60 at a tenth: above 12 with probability .005


def test_groups_differ_where_no_single_task_shows_it() -> None:
    """Three of eight of each group vote on a task: no p of the map is below 1/10, and over sixty
    tasks the difference is plain.
    """
    groups = crowd({"g": [0.8], "h": [0.45]}, 0, tasks=60, people=8)
    place = np.arange(60 * 16) % 8  # people are in order within a task and group
    task, rng = groups.votes.task, np.random.default_rng(1)
    kept = (place - rng.integers(8, size=60)[task]) % 8 < 3
    few = dataclasses.replace(groups, votes=groups.votes.where(kept), group=groups.group[kept])
    found = disagreement_map(few, WORTH, seed=0)
    assert np.nanmin(found.p_values) > 0.05 and "plural" not in found.findings
    assert groups_differ(few, WORTH, seed=0) < 0.01


def test_one_persons_taste_is_not_a_groups() -> None:
    """One of eight in g always says b: people are shuffled, so that no more alarms than stated."""
    alarms = 0
    for seed in range(100):
        groups = crowd({"g": [0.9], "h": [0.9]}, seed, tasks=60, people=8)
        odd = groups.votes.annotators.index("g0")
        label = np.where(groups.votes.annotator == odd, 2, groups.votes.label)
        votes = dataclasses.replace(groups.votes, label=label)
        changed = dataclasses.replace(groups, votes=votes)
        alarms += groups_differ(changed, WORTH, seed=seed, shuffles=99) <= 0.1
    assert alarms <= 19  # 100 at a tenth: above 19 with probability .002


def test_groups_differ_by_hand() -> None:
    """Two against two, each pair of one mind: one of six ways, and its mirror image."""
    rows = [(t, who, "a" if who[0] == "g" else "b") for t in range(2) for who in
            ("g0", "g1", "h0", "h1")]  # fmt: skip
    p = groups_differ(two_groups(rows), WORTH, seed=0, shuffles=9999)
    assert p == pytest.approx(1 / 3, abs=0.02)
