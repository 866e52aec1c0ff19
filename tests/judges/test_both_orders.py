"""Both orders: what a biased judge is left with, and what is inconsistent."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from accord.judges.both_orders import BothOrders


class Stub:
    """Answers by a function of the two responses."""

    name = "stub"

    def __init__(self, says: Any) -> None:
        self.says = says

    def compare(self, prompts: Any, a: Sequence[str], b: Sequence[str], columns: Any = None) -> Any:
        assert columns is None or len(columns) == len(prompts) == len(a) == len(b)
        return [self.says(x, y) for x, y in zip(a, b, strict=True)]


PROMPTS: Any = [[{"role": "user", "content": "q"}]] * 3


def test_always_the_first_is_exactly_a_half() -> None:
    judged = BothOrders(Stub(lambda a, b: 1.0)).judge_pairs(PROMPTS, "xyz", "uvw", [{}] * 3)
    assert judged.a_first == [1.0] * 3 and judged.b_first == [0.0] * 3
    assert judged.combined == [0.5] * 3


def test_known_log_odds() -> None:
    """Log-odds of 1 for the better and 2 for the first place."""

    def says(a: str, b: str) -> float:
        return 1 / (1 + math.exp(-(2 + (1 if a > b else -1))))

    judged = BothOrders(Stub(says)).judge_pairs(PROMPTS[:1], ["z"], ["a"])
    forth, back = 1 / (1 + math.exp(-3)), 1 - 1 / (1 + math.exp(-1))
    assert judged.a_first == pytest.approx([forth], abs=1e-6)
    assert judged.b_first == pytest.approx([back], abs=1e-6)
    assert judged.combined == pytest.approx([(forth + back) / 2], abs=1e-6)


def test_swapping_a_pair_swaps_its_probability() -> None:
    judge = BothOrders(Stub(lambda a, b: (len(a) * 7 + len(b)) % 5 / 5))
    a, b = ["x", "xx", "xxx"], ["yyyy", "y", "yy"]
    forth, back = judge.compare(PROMPTS, a, b), judge.compare(PROMPTS, b, a)
    assert [p + q for p, q in zip(forth, back, strict=True)] == pytest.approx([1.0] * 3, abs=1e-12)


@pytest.mark.parametrize(
    ("forth", "back", "expected"),
    [
        (1.0, 0.0, 1.0),  # a, both times
        (0.0, 1.0, 0.0),  # b, both times
        (0.5, 0.5, 0.5),
        (1.0, 0.5, 0.5),  # a, then a tie: inconsistent, never a win
        (0.5, 1.0, 0.5),
        (0.0, 0.0, 0.5),  # always the second
        (0.9, 0.5, 0.7),  # probabilities are averaged
        (math.nan, 0.0, math.nan),
        (1.0, math.nan, math.nan),  # one order alone would be biased
    ],
)
def test_combined(forth: float, back: float, expected: float) -> None:
    judge = BothOrders(Stub(lambda a, b: forth if a == "x" else back))
    (found,) = judge.compare(PROMPTS[:1], ["x"], ["y"])
    assert found == pytest.approx(expected, nan_ok=True)
