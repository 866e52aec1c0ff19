"""Verdicts from a file: in the order in which they were given, or the other."""

import math
from typing import Any

from accord.core.types import Judgement, Message
from accord.judges.both_orders import ask_both_orders
from accord.judges.recorded import RecordedJudge

PROMPT = (Message(role="user", content="?"),)


def said(a: str, b: str, verdict: Any, p_a: float | None = None) -> Judgement:
    return Judgement("gpt", "model", PROMPT, a, b, verdict, p_a=p_a)


def test_one_order_stands_for_both_and_two_for_themselves() -> None:
    judge = RecordedJudge(
        "gpt",
        [said("x", "y", "a"), said("u", "v", "a"), said("v", "u", "a"), said("p", "q", "a", 0.7)],
    )
    found = ask_both_orders(judge, [PROMPT] * 4, ["y", "u", "q", "x"], ["x", "v", "p", "z"])
    assert found.judged()[:2].tolist() == [0.0, 0.5]
    assert abs(found.judged()[2] - 0.3) < 1e-12
    assert math.isnan(found.judged()[3])
    assert found.is_inconsistent().tolist() == [False, True, False, False]
