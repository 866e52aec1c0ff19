"""Several aspects: their weighted mean, and pairs by it."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from accord.judges.aspects import AspectGrader, PairsByGrade


class Grades:
    name = "grades (x 123456)"

    def __init__(self, by_text: dict[str, float]) -> None:
        self.by_text = by_text

    def grade(self, prompts: Any, responses: Sequence[str], columns: Any = None) -> list[float]:
        return [self.by_text[text] for text in responses]


PROMPT: Any = [{"role": "user", "content": "?"}]
CLEAR = Grades({"x": 6.0, "y": 2.0, "z": math.nan})
TRUE = Grades({"x": 3.0, "y": 5.0, "z": 4.0})


def test_the_weighted_mean_by_hand() -> None:
    grader = AspectGrader({"clear": CLEAR, "true": TRUE}, {"clear": 1.0, "true": 3.0})
    assert grader.grade([PROMPT] * 3, ["x", "y", "z"])[:2] == [3.75, 4.25]
    assert math.isnan(grader.grade([PROMPT], ["z"])[0])
    assert grader.grade_each([PROMPT], ["x"]) == {"clear": [6.0], "true": [3.0]}
    assert grader.name == "grades (aspects: clear 1, true 3)"


def test_pairs_follow_the_difference_of_grades() -> None:
    judge = PairsByGrade(AspectGrader({"clear": CLEAR, "true": TRUE}, {"clear": 1, "true": 3}))
    forth, back = (
        judge.compare([PROMPT], ["x"], ["y"])[0],
        judge.compare([PROMPT], ["y"], ["x"])[0],
    )
    assert forth == pytest.approx(1 / (1 + math.exp(0.5)), abs=1e-12)
    assert forth + back == 1
    assert math.isnan(judge.compare([PROMPT], ["x"], ["z"])[0])


@pytest.mark.parametrize("weights", [{"clear": 1.0}, {"clear": 1.0, "true": 0.0}])
def test_weights_have_to_fit(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        AspectGrader({"clear": CLEAR, "true": TRUE}, weights)
