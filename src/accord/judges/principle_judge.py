"""A judge by a constitution: each pair by one principle that is drawn for it, or by all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from accord.core.interfaces import PairJudge
from accord.core.types import Message, Row
from accord.judges.constitution import Constitution, Principle, draw_principle
from accord.judges.principle_wording import OPTIONS, comparison_wording
from accord.judges.wording import Wording, Words, transcript


@dataclass(frozen=True)
class DrawnPrinciples:
    """A `Wording` that asks about every pair by the principle that is drawn for it.

    The draw is from the seed and the whole texts, whatever their order: both orders of a pair are
    asked the same, also where a text is shortened to fit.
    """

    constitution: Constitution
    seed: int = 0
    options: tuple[str, str] = OPTIONS

    @property
    def label(self) -> str:
        """The constitution's, and the seed."""
        return f"{self.constitution.label}, drawn by {self.seed}"

    def principle(self, conversation: str, a: str, b: str) -> Principle:
        """By which a pair is judged."""
        return draw_principle(self.constitution, self.seed, conversation, sorted((a, b)))

    def for_pair(self, conversation: str, a: str, b: str) -> Words:
        """Its principle's words."""
        return comparison_wording(self.constitution, self.principle(conversation, a, b))


class PrincipleJudge:
    """A `PairJudge` by a constitution, around whatever judges in given words."""

    def __init__(
        self,
        constitution: Constitution,
        judge_in: Callable[[Wording], PairJudge],
        *,
        principles: Literal["sampled", "average"] = "sampled",
        seed: int = 0,
    ) -> None:
        """Make the judge, or one a principle.

        Args:
            constitution: by which is judged.
            judge_in: makes a judge from a wording.
            principles: one a pair, drawn by weight; or all of them, and the mean of what they say
                by weight, at as many times the cost.
            seed: of the draw.
        """
        self.drawn = DrawnPrinciples(constitution, seed)
        self.principles = principles
        if principles == "sampled":
            self._judges = [judge_in(self.drawn)]
            self._weights = [1.0]
        else:
            found = constitution.principles
            self._judges = [judge_in(comparison_wording(constitution, p)) for p in found]
            self._weights = [principle.weight for principle in found]

    @property
    def name(self) -> str:
        """Model and constitution; an average also says that it is one."""
        if self.principles == "sampled":
            return self._judges[0].name
        model = self._judges[0].name.rpartition(" (")[0]
        return f"{model} ({self.drawn.constitution.label}, average)"

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The probability that response a, shown first, is the better; NaN where no principle was
        answered. An average is of the principles that were.
        """
        said = [judge.compare(prompts, a, b, columns) for judge in self._judges]
        return [self._mean(values) for values in zip(*said, strict=True)]

    def _mean(self, values: Sequence[float]) -> float:
        pairs = zip(values, self._weights, strict=True)
        answered = [(value, weight) for value, weight in pairs if not math.isnan(value)]
        total = sum(weight for _, weight in answered)
        return sum(v * w for v, w in answered) / total if answered else math.nan

    def record(self, prompt: Sequence[Message], a: str, b: str) -> dict[str, str]:
        """By what a pair is judged: columns that go with the judgement."""
        by = "average"
        if self.principles == "sampled":
            by = self.drawn.principle(transcript(prompt), a, b).id
        return {"constitution": self.drawn.constitution.label, "principle": by}
