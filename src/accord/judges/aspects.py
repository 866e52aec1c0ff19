"""A rubric of several aspects: a grade for each, one number from all, and pairs by that number."""

import math
from collections.abc import Mapping, Sequence

from accord.core.interfaces import RubricJudge
from accord.core.types import Message, Row


class AspectGrader:
    """A `RubricJudge`: the weighted mean of its aspects' grades, NaN where one of them is NaN."""

    def __init__(self, graders: Mapping[str, RubricJudge], weights: Mapping[str, float]) -> None:
        """Take a grader for each aspect.

        Args:
            graders: by aspect.
            weights: of the same aspects, above 0.

        Raises:
            ValueError: no aspects, other ones, or a weight of 0 or less.
        """
        if not graders or graders.keys() != weights.keys() or min(weights.values()) <= 0:
            raise ValueError("expected a grader and a weight above 0 for each of the same aspects")
        self.graders = dict(graders)
        self.weights = dict(weights)

    @property
    def name(self) -> str:
        """Of the first grader, and the aspects with their weights."""
        first = next(iter(self.graders.values())).name
        weighed = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items())
        return f"{first.rsplit(' (', 1)[0]} (aspects: {weighed})"

    def grade_each(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> dict[str, list[float]]:
        """By aspect, a grade each; NaN where the judge abstained."""
        return {
            name: grader.grade(prompts, responses, columns) for name, grader in self.graders.items()
        }

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The weighted means."""
        return self.weighed(self.grade_each(prompts, responses, columns))

    def weighed(self, grades: Mapping[str, Sequence[float]]) -> list[float]:
        """One number each from grades by aspect."""
        total = sum(self.weights.values())
        return [
            sum(w * g for w, g in zip(self.weights.values(), each, strict=True)) / total
            for each in zip(*(grades[name] for name in self.weights), strict=True)
        ]


class PairsByGrade:
    """A `PairJudge` by the difference of two grades; which comes first does not matter.

        p(a is better) = sigmoid(grade_a - grade_b)

    One whole grade is odds of e until people's judgements calibrate it.
    """

    def __init__(self, grader: RubricJudge) -> None:
        self.grader = grader

    @property
    def name(self) -> str:
        """The grader's."""
        return self.grader.name

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The probability that response a is the better; NaN where a grade is missing.

        Raises:
            ValueError: the arguments are not equally long.
        """
        count = len(prompts)
        if not len(a) == len(b) == count == len(prompts if columns is None else columns):
            raise ValueError(
                f"expected one entry a pair: {count} prompts, {len(a)} and {len(b)} responses"
            )
        rows = None if columns is None else [*columns, *columns]
        grades = self.grader.grade([*prompts, *prompts], [*a, *b], rows)
        gaps = [x - y for x, y in zip(grades[:count], grades[count:], strict=True)]
        return [0.5 * (1 + math.tanh(gap / 2)) for gap in gaps]
