"""The judge's probabilities by hand, and that the order of a pair does not matter."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.judges.ranking import RankByGrade
from accord.judges.reward_judge import RewardJudge
from accord.models.heads import init_reward_model
from accord.models.loading import load_tokenizer
from accord.rewards.functions import FunctionReward
from accord.rewards.learned import LearnedReward

PROMPTS: list[list[Message]] = [[{"role": "user", "content": f"Say {n}"}] for n in range(4)]


class Number:
    """Scores a response by the number that it is, times its row's weight."""

    def score(
        self, prompts: Any, responses: Sequence[str], *, columns: Sequence[Row], **_: Any
    ) -> Scores:
        pairs = zip(responses, columns, strict=True)
        return Scores([float(text) * row.get("weight", 1) for text, row in pairs])


def test_by_hand() -> None:
    judge = RewardJudge(Number())
    got = judge.compare(PROMPTS, ["1", "0", "3", "-900"], ["1", "1", "0", "900"])
    assert got == pytest.approx([0.5, 0.2689414, 0.9525741, 0.0], abs=1e-6)
    assert judge.compare([], [], []) == []


def test_columns_belong_to_their_pair() -> None:
    columns = [{"weight": n} for n in range(4)]
    got = RewardJudge(Number()).compare(PROMPTS, ["1"] * 4, ["0"] * 4, columns)
    assert got == pytest.approx([0.5, 0.7310586, 0.8807971, 0.9525741], abs=1e-6)


def test_a_function_can_judge() -> None:
    reward = FunctionReward(lambda completions, **_: [len(c[0]["content"]) for c in completions])
    assert RewardJudge(reward).compare(PROMPTS[:1], ["long"], ["two"]) == pytest.approx([0.7310586])


def test_symmetric_with_a_reward_model(tiny_model_dir: Path) -> None:
    cpu = torch.device("cpu")
    model = init_reward_model(str(tiny_model_dir), device=cpu, seed=1)
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    judge = RewardJudge(LearnedReward((model, encoder), device=cpu, max_length=128))
    a = ["yes", "no, never", "I don't know", "12"]
    b = ["no", "12 and 7 are 19", "What?", "12"]
    forth, back = judge.compare(PROMPTS, a, b), judge.compare(PROMPTS, b, a)
    assert [p + q for p, q in zip(forth, back, strict=True)] == pytest.approx([1.0] * 4, abs=1e-5)
    assert forth[3] == pytest.approx(0.5, abs=1e-6) and all(abs(p - 0.5) > 1e-3 for p in forth[:3])


def test_it_abstains_on_what_does_not_fit(tiny_model_dir: Path) -> None:
    model = init_reward_model(str(tiny_model_dir), device=torch.device("cpu"), seed=3)
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    reward = LearnedReward((model, encoder), device=torch.device("cpu"), max_length=64)
    judge = RewardJudge(reward)
    prompts = [[Message(role="user", content=f"p{n}")] for n in range(5)]
    a = ["x", "y" * 100, "z", "v", "w"]
    b = ["1", "2", "3", "4" * 100, "5"]
    found = judge.compare(prompts, a, b)
    assert [math.isnan(p) for p in found] == [False, True, False, True, False]
    assert judge.counts == {"judged": 5, "too_long": 2}
    assert found[0] == pytest.approx(judge.compare(prompts[:1], a[:1], b[:1])[0], abs=1e-6)
    (ranks,) = RankByGrade(judge.grader).rank(prompts[:1], [["x", "y" * 100, "z"]])
    assert ranks is not None and ranks[1] is None and {ranks[0], ranks[2]} == {1, 2}


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="one entry a pair: 4 prompts, 3 and 4"):
        RewardJudge(Number()).compare(PROMPTS, ["1"] * 3, ["1"] * 4)
