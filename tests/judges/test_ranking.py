"""Rankings at once: what is read, what two orders make of it, and what abstains."""

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest

from accord.core.types import Message, Scores
from accord.judges.ranking import (
    RankByGrade,
    WrittenRanker,
    ranks_of,
    said_ranks,
)
from accord.judges.reward_judge import RewardGrader
from judges.scripted_client import ScriptedClient

PROMPT: Any = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ("C > A > B", [2, 3, 1]),
        ("B>A=C", [2, 1, 2]),
        ("Because B is short.\n**Ranking: A = B > C.**", [1, 1, 2]),
        ("A > B", None),  # one is missing
        ("A > A > B", None),
        ("A > B > D", None),
        ("I like them all.", None),
        ("", None),
    ],
)
def test_what_an_answer_says(text: str, ranks: list[int] | None) -> None:
    assert said_ranks(text, 3) == ranks


def test_ranks_are_dense_and_the_ungraded_have_none() -> None:
    assert ranks_of([2.0, 5.0, math.nan, 2.0, 1.0]) == [2, 1, None, 2, 3]
    assert ranks_of([2.0, math.nan]) is None


def letters_of(conversation: Sequence[Message]) -> dict[str, str]:
    return dict(re.findall(r" Response ([A-Z])\n(.*)\n", conversation[0]["content"]))


def by_length(conversation: Sequence[Message], _: int) -> str:
    shown = letters_of(conversation)
    return " > ".join(sorted(shown, key=lambda c: -len(shown[c])))


def test_a_judge_who_reads_is_understood_in_both_orders() -> None:
    ranker = WrittenRanker(ScriptedClient(by_length))
    assert ranker.rank([PROMPT] * 2, [["x", "xxx", "xx"], ["yy", "y"]]) == [[3, 1, 2], [1, 2]]
    assert ranker.counts == {"ranked": 2, "paired": 4, "reversed": 0, "abstained": 0}


def test_a_judge_who_repeats_the_order_says_that_all_are_equal() -> None:
    ranker = WrittenRanker(ScriptedClient(lambda c, _: " > ".join(letters_of(c))))
    assert ranker.rank([PROMPT], [["x", "xxx", "xx"]]) == [[1, 1, 1]]
    assert ranker.counts["reversed"] == ranker.counts["paired"] == 3


def test_half_an_answer_is_none() -> None:
    ranker = WrittenRanker(
        ScriptedClient(lambda c, _: "A > B" if letters_of(c)["A"] == "x" else "no")
    )
    assert ranker.rank([PROMPT], [["x", "y"]]) == [None]
    assert ranker.counts["abstained"] == 1


def test_a_reward_ranks_by_its_scores() -> None:
    class Reward:
        def score(self, prompts: Any, responses: Sequence[str], **_: Any) -> Scores:
            return Scores([float(len(text)) for text in responses])

    ranker = RankByGrade(RewardGrader(Reward(), name="length"))
    assert ranker.rank([PROMPT] * 2, [["x", "xxx"], ["yy", "y", "zz"]]) == [[2, 1], [1, 2, 1]]
