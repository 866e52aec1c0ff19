"""Both orders: what a biased judge is left with, and what is inconsistent."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from accord.judges.both_orders import TwoOrders, ask_both_orders


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
    said = ask_both_orders(Stub(lambda a, b: 1.0), PROMPTS, "xyz", "uvw", [{}] * 3)
    assert said.forth.tolist() == said.back.tolist() == [1.0] * 3
    assert said.mean().tolist() == said.agreement().tolist() == [0.5] * 3


def test_known_log_odds() -> None:
    """Log-odds of 1 for the better and 2 for the first place."""

    def says(a: str, b: str) -> float:
        return 1 / (1 + math.exp(-(2 + (1 if a > b else -1))))

    said = ask_both_orders(Stub(says), PROMPTS[:1], ["z"], ["a"])
    forth, back = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-1))
    assert said.forth == pytest.approx([forth]) and said.back == pytest.approx([back])
    assert said.mean() == pytest.approx([(forth + 1 - back) / 2])


def test_swapping_a_pair_swaps_its_probability() -> None:
    judge = Stub(lambda a, b: (len(a) * 7 + len(b)) % 5 / 5)
    a, b = ["x", "xx", "xxx"], ["yyyy", "y", "yy"]
    forth, back = (ask_both_orders(judge, PROMPTS, *pair).mean() for pair in ((a, b), (b, a)))
    assert forth + back == pytest.approx([1.0] * 3, abs=1e-12)


@pytest.mark.parametrize(
    ("forth", "back", "mean", "agreement"),
    [
        (1.0, 0.0, 1.0, 1.0),  # a, both times
        (0.0, 1.0, 0.0, 0.0),  # b, both times
        (0.5, 0.5, 0.5, 0.5),
        (1.0, 0.5, 0.75, 0.5),  # a, then a tie
        (0.0, 0.0, 0.5, 0.5),  # always the second
        (0.9, 0.5, 0.7, 0.5),
        (math.nan, 0.0, math.nan, math.nan),
        (1.0, math.nan, math.nan, math.nan),  # one order alone would be biased
    ],
)
def test_what_follows(forth: float, back: float, mean: float, agreement: float) -> None:
    judge = Stub(lambda a, b: forth if a == "x" else back)
    said = ask_both_orders(judge, PROMPTS[:1], ["x"], ["y"])
    assert said.mean() == pytest.approx([mean], nan_ok=True)
    assert said.agreement() == pytest.approx([agreement], nan_ok=True)


@pytest.mark.parametrize(("given", "message"), [([0.5], "gave 1 numbers"), ([2.0, 0.5], "outside")])
def test_numbers_that_are_none_are_refused(given: list[float], message: str) -> None:
    judge = Stub(None)
    judge.compare = lambda *_: given  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=message):
        ask_both_orders(judge, PROMPTS[:1], ["x"], ["y"])


def test_bare_verdicts_that_differ_are_a_win_for_neither() -> None:
    """Always A; a tie and a win; twice the same; and a probability beside a verdict."""
    orders = TwoOrders(np.array([1.0, 1.0, 1.0, 1.0]), np.array([1.0, 0.5, 0.0, 0.3]))
    assert orders.judged().tolist() == [0.5, 0.5, 1.0, 0.85]
    assert orders.is_inconsistent().tolist() == [True, True, False, False]


def test_known_log_odds_have_the_closed_form() -> None:
    """p = (sigmoid(place + merit) + sigmoid(merit - place)) / 2, and 1 - p the other way round."""
    merit, place = 0.7, 1.3

    def says(x: str, y: str) -> float:
        return 1 / (1 + math.exp(-place - merit * ((x == "good") - (y == "good"))))

    (p,) = ask_both_orders(Stub(says), PROMPTS[:1], ["good"], ["bad"]).judged()
    (q,) = ask_both_orders(Stub(says), PROMPTS[:1], ["bad"], ["good"]).judged()
    first, second = (1 / (1 + math.exp(-x)) for x in (place + merit, merit - place))
    assert p == pytest.approx((first + second) / 2, abs=1e-6)
    assert p + q == pytest.approx(1, abs=1e-12)


def test_an_abstention_in_one_order_is_one() -> None:
    orders = TwoOrders(np.array([1.0, np.nan]), np.array([np.nan, 0.2]))
    assert np.isnan(orders.judged()).all() and not orders.is_inconsistent().any()


@pytest.mark.parametrize("p", [0.1, 0.3, 0.7, 23 / 24])
def test_always_the_same_probability_is_exactly_a_half(p: float) -> None:
    said = ask_both_orders(Stub(lambda *_: p), PROMPTS, "xyz", "uvw")
    assert said.judged().tolist() == [0.5] * 3


def test_a_clamped_judge_who_contradicts_itself_is_inconsistent() -> None:
    orders = TwoOrders(np.array([0.6, 0.6, 0.55]), np.array([0.6, 0.4, 0.6]))
    assert orders.judged() == pytest.approx([0.5, 0.6, 0.475])
    assert orders.is_inconsistent().tolist() == [True, False, False]


def test_reasons_do_not_make_an_inconsistent_verdict_a_win() -> None:
    orders = TwoOrders(np.array([0.6, 0.6]), np.array([0.5, 0.4]))
    assert orders.judged().tolist() == [0.5, pytest.approx(0.6)]
    assert orders.is_inconsistent().tolist() == [True, False]
