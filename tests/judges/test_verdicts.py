"""Verdicts out of answers: what is one, and what is none."""

import math

import pytest

from accord.core.chat import ChatReply
from accord.judges.verdicts import (
    grade_verdict,
    option_probabilities,
    pair_verdict,
    said_option,
)

AB = ("A", "B")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A", "A"),
        (" b", None),  # another letter, if m and M are two
        ("**B**.", "B"),
        ("(A)", "A"),
        ("Tie", "tie"),
        ("[[tie]]", "tie"),
        ("A: it is correct.", "A"),
        ("B) because it is short", "B"),
        ("A good response is polite.", None),  # an article
        ("First I thought so, but [[B]]", "B"),
        ("[[A]] or rather [[B]]", None),
        ("The better one is B", "B"),
        ("My verdict: Response A", "A"),
        ("answer is (B).", "B"),
        ("The answer is Always A", None),
        ("The answer is B's work", None),
        ("Answer: A. No, answer: B", None),
        ("I cannot judge this.", None),
        ("", None),
    ],
)
def test_said_option(text: str, expected: str | None) -> None:
    assert said_option(text, AB) == expected


def test_a_cut_answer_says_only_what_is_plain() -> None:
    assert said_option("A", AB, was_cut=True) == "A"
    assert said_option("so [[B]] and", AB, was_cut=True) == "B"
    assert said_option("B: it is longer. But the better one is", AB, was_cut=True) is None
    assert said_option("If the answer is A then", AB, was_cut=True) is None


def test_case_tells_options_apart() -> None:
    assert said_option("m", ("m", "M")) == "m"
    assert said_option("M", ("m", "M")) == "M"


def test_probabilities_sum_spellings_and_are_normalised() -> None:
    top = {"A": math.log(0.3), " A": math.log(0.1), "(B": math.log(0.2), "The": math.log(0.4)}
    assert option_probabilities(top, AB) == pytest.approx([2 / 3, 1 / 3], abs=1e-6)
    assert option_probabilities({"A": 0.0}, AB) == [1.0, 0.0]


def test_log_probs_that_are_of_something_else_do_not_count() -> None:
    explains = {"The": math.log(0.9), "A": math.log(0.06), "B": math.log(0.01)}
    assert option_probabilities(explains, AB) is None
    assert pair_verdict(ChatReply("The better one is B", "stop", explains), AB) == 0.0
    assert option_probabilities({"A": math.nan, "B": 3.0}, AB) is None
    assert option_probabilities({}, AB) is None


@pytest.mark.parametrize(("text", "expected"), [("A", 1.0), ("B", 0.0), ("tie", 0.5), ("C", None)])
def test_text_gives_plain_verdicts(text: str, expected: float | None) -> None:
    assert pair_verdict(ChatReply(text), AB) == expected


def test_grades() -> None:
    grades = ("1", "2", "3")
    assert grade_verdict(ChatReply("2"), grades) == 2.0
    assert grade_verdict(ChatReply("Grade: 3"), grades) == 3.0
    assert grade_verdict(ChatReply("9"), grades) is None
    assert grade_verdict(ChatReply("tie"), grades) is None
    top = {"1": math.log(0.5), "3": math.log(0.25)}
    assert grade_verdict(ChatReply("1", "stop", top), grades) == pytest.approx(5 / 3)
