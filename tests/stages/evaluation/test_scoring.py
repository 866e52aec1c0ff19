"""Repetition by hand, and that a text is scored once."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from accord.core.types import Message, PromptRow, Scores
from accord.stages.evaluation.figures import Figures
from accord.stages.evaluation.scoring import (
    Remembered,
    distinct_share,
    repetition_rate,
    score_texts,
)

ROWS = [PromptRow((Message(role="user", content=f"q {i}"),)) for i in range(3)]


def test_distinct_by_hand() -> None:
    # Words: a b a | a b: 2 of 5 distinct; pairs: ab ba | ab: 2 of 3.
    assert distinct_share(["a b a", "a b"], n=1) == 2 / 5
    assert distinct_share(["a b a", "a b"], n=2) == 2 / 3
    assert distinct_share(["a", ""], n=2) is None


def test_repetition_by_hand() -> None:
    # Runs of three: abc bca cab abc bca: three of five are new.
    assert repetition_rate("a b c a b c a") == pytest.approx(2 / 5)
    assert repetition_rate("a b c d") == 0
    assert math.isnan(repetition_rate("a b"))


class Counting:
    """A score that is another one at every call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, prompts: Any, responses: Sequence[str], **_: Any) -> Scores:
        self.calls.append(len(responses))
        return Scores([10.0 * len(self.calls) + i for i in range(len(responses))])


def test_a_text_is_scored_once() -> None:
    inner = Counting()
    reward = Remembered(inner)
    assert score_texts(reward, ROWS, ["x", "y", "x"]) == [10, 11, 12]  # prompts differ
    assert score_texts(reward, ROWS, ["x", "z", "x"]) == [10, 20, 12]
    twice = [ROWS[0], ROWS[0], ROWS[1]]
    assert score_texts(reward, twice, ["new", "new", "y"]) == [30, 30, 11]
    assert inner.calls == [3, 1, 1]


def test_figures_leave_out_what_does_not_apply() -> None:
    figures = Figures(ROWS, seed=0)
    nan = math.nan
    share = figures.share([1.0, nan, 0.0])
    assert share is not None and (share["mean"], share["n"]) == (0.5, 2)
    mean = figures.mean([nan, 4.0, nan])
    assert mean == {"mean": 4.0, "low": 4.0, "high": 4.0, "n": 1}
    assert figures.share([nan] * 3) is None


def test_a_win_needs_another_text_and_a_margin() -> None:
    figures = Figures(ROWS, seed=0)
    rate = figures.win_rate([0.3, 1e-12, 5.0], ["a", "b", "c"], ["x", "y", "c"])
    assert (rate["mean"], rate["ties"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    lost = figures.win_rate([-1.0, -2.0, -3.0], ["a", "b", "c"], ["x", "y", "z"])
    assert (lost["mean"], lost["low"], lost["high"], lost["ties"]) == (0, 0, 0, 0)


def test_a_pair_without_a_score_is_no_loss() -> None:
    rows = [PromptRow((Message(role="user", content=str(i)),), {}) for i in range(3)]
    figures, ours, theirs = Figures(rows, seed=0), ["a", "b", "c"], ["x", "y", "z"]
    found = figures.win_rate([1.0, math.nan, 0.0], ours, theirs)
    assert found and (found["mean"], found["ties"], found["n"]) == (0.75, 0.5, 2)
    assert figures.win_rate([math.nan] * 3, ours, theirs) is None
