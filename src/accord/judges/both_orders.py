"""Every pair in both orders: what a judge says of the responses, and not of their places."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accord.core.interfaces import PairJudge
from accord.core.types import Message, Row

_PLAIN = (0.0, 0.5, 1.0)
"""What a judge says who gives verdicts and no probabilities."""


@dataclass(frozen=True)
class Judged:
    """Probabilities that response a is the better, one a pair each; NaN where a judge abstained.

    Attributes:
        a_first: as said when a was shown first.
        b_first: as said when b was shown first.
        combined: their mean. Of two plain verdicts that differ, neither counts: 0.5. NaN unless the
            judge answered both times.
    """

    a_first: list[float]
    b_first: list[float]
    combined: list[float]


class BothOrders:
    """A `PairJudge` that asks another one about (a, b) and about (b, a).

    So p(a, b) = 1 - p(b, a), and a judge who always names the first gives 0.5 exactly.
    """

    def __init__(self, judge: PairJudge) -> None:
        self.judge = judge

    @property
    def name(self) -> str:
        """The judge's own."""
        return self.judge.name

    def judge_pairs(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> Judged:
        """Both answers to each pair, asked in one call, and what follows from them.

        Raises:
            ValueError: the judge gave too few numbers, or one outside [0, 1].
        """
        count = len(prompts)
        twice = None if columns is None else [*columns, *columns]
        said = self.judge.compare([*prompts, *prompts], [*a, *b], [*b, *a], twice)
        if len(said) != 2 * count:
            raise ValueError(f"judge {self.name} gave {len(said)} numbers for {2 * count} pairs")
        if any(p < 0 or p > 1 for p in said):
            raise ValueError(f"judge {self.name} gave a probability outside [0, 1]")
        a_first, b_first = said[:count], [1 - p for p in said[count:]]
        return Judged(a_first, b_first, list(map(_combined, a_first, b_first)))

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The combined probabilities."""
        return self.judge_pairs(prompts, a, b, columns).combined


def _combined(a_first: float, b_first: float) -> float:
    if a_first != b_first and a_first in _PLAIN and b_first in _PLAIN:
        return 0.5
    # The mean, whose value is the same to the last bit when the two change places.
    return math.nan if math.isnan(a_first + b_first) else (a_first + b_first) / 2
