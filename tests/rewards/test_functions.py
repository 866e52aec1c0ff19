"""Functions with TRL's signature as rewards, and what is said of those that return nonsense."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accord.core import processes
from accord.core.errors import ConfigError, DataError
from accord.core.types import Scores
from accord.corpora.formats import to_prompt
from accord.rewards.functions import FunctionReward, load_dotted

PROMPTS = [[{"role": "user", "content": "2 + 2?"}], [{"role": "user", "content": "3 + 3?"}]]
RESPONSES = ["4", "seven"]


def score(reward: FunctionReward, columns: Sequence[dict[str, Any]] = ({}, {})) -> Scores:
    ids = [[5, 2], [6, 7, 2]]
    return reward.score(
        PROMPTS, RESPONSES, prompt_ids=[[1], [1]], response_ids=ids, columns=columns
    )


def test_arguments_are_those_of_trl() -> None:
    seen: dict[str, Any] = {}

    def reward(completions: Any, prompts: Any, **columns: Any) -> list[float]:
        seen.update(columns, completions=completions, prompts=prompts)
        return [1.0, -0.5]

    columns = [
        {"answer": "4", "prompt": "elsewhere", "prompts": "a column by a taken name"},
        {"answer": "6", "hint": "double"},
    ]
    assert score(FunctionReward(reward), columns).values == [1.0, -0.5]
    assert seen == {
        "prompts": PROMPTS,
        "completions": [
            [{"role": "assistant", "content": "4"}],
            [{"role": "assistant", "content": "seven"}],
        ],
        "completion_ids": [[5, 2], [6, 7, 2]],
        "answer": ["4", "6"],
        "hint": [None, "double"],
    }


def test_what_was_text_is_given_as_text() -> None:
    """As TRL does; a conversation, and a transcript, are message lists."""
    rows = [
        to_prompt({"prompt": prompt}, "row")
        for prompt in ("2 + 2?", [{"role": "user", "content": "3 + 3?"}], "\n\nHuman: 4 + 4?")
    ]
    seen: dict[str, Any] = {}

    def reward(completions: Any, prompts: Any) -> list[float]:
        seen.update(completions=completions, prompts=prompts)
        return [-float(abs(20 - len(c))) for c in completions]

    nothing: list[Any] = [()] * 3
    found = FunctionReward(reward).score(
        [row.prompt for row in rows], ["four", "six", "eight"],
        prompt_ids=nothing, response_ids=nothing, columns=[row.columns for row in rows],
    )  # fmt: skip
    assert found.values == [-16.0, -19.0, -19.0]
    assert seen == {
        "prompts": ["2 + 2?", *([{"role": "user", "content": f"{n} + {n}?"}] for n in (3, 4))],
        "completions": ["four", *([{"role": "assistant", "content": t}] for t in ("six", "eight"))],
    }


def test_of_several_processes_the_main_one_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**_: Any) -> list[float]:
        raise AssertionError("by another process than the main one")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(processes, "gathered", lambda _: [([1.0, 2.0], None), (None, None)])
    assert score(FunctionReward(asked)).values == [1.0, 2.0]


def test_a_function_without_kwargs_gets_what_it_names() -> None:
    def exact(completions: Any, answer: list[str]) -> list[bool]:
        return [c[0]["content"] == a for c, a in zip(completions, answer, strict=True)]

    columns = [{"answer": "4", "split": "test"}, {"answer": "6", "split": "test"}]
    assert score(FunctionReward(exact), columns).values == [1.0, 0.0]


def test_a_column_that_is_not_there() -> None:
    def exact(completions: Any, answer: list[str], answers: list[str], weight: float = 1.0) -> Any:
        raise AssertionError("called without what it needs")

    def as_in_trl(completions: Any, answers: list[str], *_: Any, **__: Any) -> Any:
        raise AssertionError("called without what it needs")

    for function in (exact, as_in_trl):
        with pytest.raises(DataError, match="asks for 'answers', .* are answer, prompts, compl"):
            score(FunctionReward(function), [{"answer": "4"}, {}])


@pytest.mark.parametrize(
    "numbers", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0])]
)
def test_any_kind_of_number(numbers: Any) -> None:
    values = score(FunctionReward(lambda **_: numbers)).values
    assert values == [1.0, 2.0] and all(type(value) is float for value in values)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0], "returned 1 scores for 2 completions"),
        ([1.0, "x"], "returned 'x' for completion 1"),
        (["0.5", 1.0], "returned '0.5' for completion 0"),
        ([1.0, math.nan], "returned nan for completion 1"),
        ([1.0, math.inf], "returned inf for completion 1"),
        ([[1.0], 1.0], r"returned \[1.0\] for completion 0"),
        ([np.ones(2), 1.0], "for completion 0"),
        ([torch.ones(2), 1.0], "for completion 0"),
        (None, "returned a NoneType"),
        (0.5, "returned a float"),
    ],
)
def test_nonsense_names_the_function_and_the_place(returned: Any, message: str) -> None:
    def my_reward(**_: Any) -> Any:
        return returned

    with pytest.raises(DataError, match=f"my_reward.*{message}"):
        score(FunctionReward(my_reward))


def test_dotted_names() -> None:
    assert load_dotted("math:sqrt") is math.sqrt
    assert load_dotted("math.sqrt") is math.sqrt
    assert load_dotted("accord.core.errors:DataError") is DataError
    assert FunctionReward("math.sqrt").name == "math.sqrt"


def test_a_module_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console script has the folder of its own on the path, and not the user's."""
    (tmp_path / "rewards_of_mine.py").write_text("def score(**_): pass\n")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(Path.cwd()))])
    monkeypatch.chdir(tmp_path)
    assert load_dotted("rewards_of_mine:score").__module__ == "rewards_of_mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sqrt", "expected 'package.module:name'"),
        ("math:", "expected 'package.module:name'"),
        (":sqrt", "expected 'package.module:name'"),
        ("no_such_module:f", "cannot be imported.*PYTHONPATH"),
        ("math:no_such_function", "has no 'no_such_function'"),
        ("math:pi", "is a float; expected a function"),
    ],
)
def test_dotted_names_that_lead_nowhere(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FunctionReward(name)
