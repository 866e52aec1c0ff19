"""Conversation, chain of thought, programs: scripted episodes, votes, and reference programs."""

import gzip
import json
import re
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from accord.core.errors import ConfigError, DataError
from accord.core.types import Message, PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.engine.scripted import ScriptedEngine
from accord.environments.answers import f1, is_right, majority
from accord.environments.chain_of_thought import SOLVE, VERIFY, ChainOfThought, marked_answer
from accord.environments.conversation import Conversation
from accord.environments.episode import LoopLimits
from accord.environments.named import Settings, environment_factory
from accord.environments.opening import load_exemplars, opening
from accord.environments.program import (
    LIMITS,
    ProgramAided,
    harness,
    program_of,
    run_programs,
)
from accord.environments.voting import vote
from accord.sandbox.levels import Level
from accord.sandbox.sandbox import Sandbox
from environments.scripted import asked, play_script

OF_A_VOTE = LoopLimits(max_turns=2, max_action_tokens=60, max_length=2000, temperature=1.0)


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox(minimum=Level.LIMITS, limits=LIMITS)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("The  Eiffel Tower!", "eiffel tower", True),
        ("$1,000.00", 1000, True),
        ("It is 12.5 in all", "12.5", True),
        ("12.6", 12.5, False),
        ("0.3333", "0.3333333333", True),
        (None, 1, False),
        ("1", None, False),
        ("yes", "no", False),
        ("(A)", "A", True),
        ("", "A", False),
        ("the", "A", False),
        ("", "+", False),
    ],
)
def test_right_answers(answer: str | None, expected: object, right: bool) -> None:
    assert is_right(answer, expected) is right


def test_f1_and_majority_by_hand() -> None:
    assert f1("the red car", "a red bus") == 0.5
    assert f1("", "") == 1.0 and f1("a", "bus") == 0.0
    found = majority(["8", None, "9", "9.0", " ", "The Bus", "bus"])
    assert (found.answer, found.share, found.counted, found.skipped) == ("9", 0.4, 5, 2)
    assert majority([None]).answer is None


def test_a_conversation_goes_on_as_the_row_says(encoder: ChatEncoder) -> None:
    row = asked("capital?", user_turns=["sure?"], answer="Paris")
    played = play_script(encoder, Conversation, row, "Lyon", "Paris.")
    assert [turn.action for turn in played.turns] == ["Lyon", "Paris."]
    assert played.rollout.score == 1.0
    assert play_script(encoder, Conversation, asked("hello"), "hi").rollout.score == 0.0
    with pytest.raises(DataError, match="ends with the assistant"):
        row = PromptRow((Message(role="assistant", content="x"),))
        play_script(encoder, Conversation, row, "hi")


def test_chain_of_thought_plans_solves_and_verifies(encoder: ChatEncoder) -> None:
    row = asked("What are 12 and 7?", answer=19)
    played = play_script(
        encoder, lambda: ChainOfThought(verifies=True), row,
        "Add them.", "12 + 7 = 18\n#### 18", "No: 12 + 7 = 19\n#### 19",
    )  # fmt: skip
    asks = [message["content"] for turn in played.turns for message in turn.reply.observation]
    assert asks == [SOLVE, VERIFY]
    assert played.answer == "19" and played.rollout.score == 1.0
    plain = play_script(encoder, lambda: ChainOfThought(plans=False), row, "hm")
    assert plain.answer is None and plain.rollout.score == 0.0
    assert marked_answer("so\n#### the Nile") == "the Nile"
    assert marked_answer("The answer is 12 cities.\n#### the Nile") == "the Nile"


@pytest.mark.parametrize("answer", ["2 km", 2])
def test_units_count_where_they_are_expected(encoder: ChatEncoder, answer: object) -> None:
    row = asked("how far?", answer=answer)
    played = play_script(encoder, lambda: ChainOfThought(plans=False), row, "#### 2 km")
    assert (played.rollout.score, played.answer) == (1.0, "2")


def test_a_system_message_stays_first() -> None:
    system = Message(role="system", content="Be brief.")
    row = PromptRow((system, *asked("how many?").prompt))
    messages = opening("Do it.", load_exemplars("pal"), row, lambda _: True)
    assert messages[0] == Message(role="system", content="Do it.\n\nBe brief.")
    assert {message["role"] for message in messages[1:]} == {"user", "assistant"}
    assert messages[-1]["content"] == "how many?"


def test_self_consistency_votes_over_samples(encoder: ChatEncoder) -> None:
    said = iter(["#### 4", "no idea", "#### 5", "#### 5"])

    def script(request: object) -> list[int]:
        return encoder.encode_text(next(said))

    engine = ScriptedEngine(script, end_of_turn_id=encoder.end_of_turn_id)
    found = vote(
        engine, lambda: ChainOfThought(plans=False), asked("?", answer=5), encoder, OF_A_VOTE,
        samples=4, seed=0,
    )  # fmt: skip
    assert (found.vote.answer, found.vote.counted, found.vote.skipped) == ("5", 3, 1)
    assert found.chosen is found.episodes[2]


def test_exemplars_are_fitted_to_the_context() -> None:
    exemplars = load_exemplars("react")
    row = asked("how many?")
    assert len(exemplars) >= 2
    sizes = []
    for room in (10**6, 1200, 0):
        messages = opening("Do it.", exemplars, row, lambda m, r=room: len(str(m)) <= r)
        assert messages[0]["content"].startswith("Do it.\n\n")
        assert messages[-1]["content"].endswith("how many?")
        sizes.append(len(messages))
    assert sizes[0] > sizes[1] > sizes[2] == 1
    for name in ("react", "pal", "cot"):
        for exemplar in load_exemplars(name):
            assert [m["role"] for m in exemplar] == ["user", "assistant"] * (len(exemplar) // 2)


def test_programs_and_their_values(sandbox: Sandbox) -> None:
    text = "First.\n```python\nx = 1\n```\nThen:\n```python\ndef solution():\n    return 6 * 7\n```"
    codes = [
        program_of(text),
        "a = 5\na * 2",
        "print('so')\nprint(3.5)",
        "1 / 0",
        "def f(:",
        "import os\nos._exit(0)",
        "raise SystemExit",
    ]
    found = run_programs(codes, sandbox)
    assert [r.value for r in found] == ["42", "10", "3.5", None, None, None, None]
    assert "ZeroDivisionError" in found[3].why and "SyntaxError" in found[4].why
    assert all(r.why for r in found if r.value is None)


def test_program_aided_episodes(encoder: ChatEncoder, sandbox: Sandbox) -> None:
    row = asked("twelve and seven?", answer=19)
    good = "```python\ndef solution():\n    return 12 + 7\n```"
    make = lambda: ProgramAided(sandbox, retries=1)  # noqa: E731
    played = play_script(encoder, make, row, "no code here", good)
    assert played.answer == "19" and played.rollout.score == 1.0
    assert "failed" in played.turns[0].reply.observation[0]["content"]
    failed = play_script(encoder, lambda: ProgramAided(sandbox), row, "x y z")
    assert failed.answer is None and failed.ended == "done" and failed.rollout.score == 0.0


def test_programs_vote_and_failures_are_skipped(encoder: ChatEncoder, sandbox: Sandbox) -> None:
    said = iter(["1 / 0", "12 + 8", "12 + 7", "print(19)"])
    engine = ScriptedEngine(
        lambda _: encoder.encode_text(f"```python\n{next(said)}\n```"),
        end_of_turn_id=encoder.end_of_turn_id,
    )
    found = vote(
        engine, lambda: ProgramAided(sandbox), asked("?", answer=19), encoder, OF_A_VOTE,
        samples=4, seed=0,
    )  # fmt: skip
    assert (found.vote.answer, found.vote.counted, found.vote.skipped) == ("19", 3, 1)
    assert [episode.rollout.score for episode in found.episodes] == [0.0, 0.0, 1.0, 1.0]


def reference_program(solution: str) -> str:
    """A solution's own calculator calls, as a program."""
    lines = [f"    step = {call}" for call in re.findall(r"<<([^=<>]+)=[^<>]*>>", solution)]
    return "\n".join(["def solution():", "    step = None", *lines, "    return step"])


def test_the_harness_scores_reference_programs_exactly(accord_data: Path, sandbox: Sandbox) -> None:
    """Programs made of the solutions to PAL's questions, where these end with a calculation."""
    with gzip.open(accord_data / "apps" / "pal_gsm.jsonl.gz", "rt") as file:
        questions = [json.loads(line) for line in file][:40]
    with gzip.open(accord_data / "benchmarks" / "gsm8k" / "test.jsonl.gz", "rt") as file:
        solutions = {row["question"]: row["answer"] for row in map(json.loads, file)}
    programs, targets = [], []
    for row in questions:
        calls = re.findall(r"=([\d.]+)>>", solutions.get(row["input"], ""))
        if calls and float(calls[-1]) == row["target"]:
            programs.append(reference_program(solutions[row["input"]]))
            targets.append(row["target"])
    assert len(programs) >= 25
    found = run_programs(programs, sandbox)
    assert all(is_right(r.value, t) for r, t in zip(found, targets, strict=True))
    wrong = run_programs(
        [p.replace("return step", "return step + 1") for p in programs[:3]], sandbox
    )
    assert not any(is_right(r.value, t) for r, t in zip(wrong, targets[:3], strict=True))


def test_a_program_cannot_forge_the_mark(sandbox: Sandbox) -> None:
    assert "secret-mark" in harness("1", "secret-mark")
    assert run_programs(["print('mark 99')\nraise ValueError"], sandbox)[0].value is None


def test_environments_by_name() -> None:
    for name in ("conversation", "cot", "calculator"):
        environment_factory(name)()
    with pytest.raises(ConfigError, match="no environment 'reakt'; did you mean 'react'"):
        environment_factory("reakt")
    with pytest.raises(ConfigError, match="needs documents"):
        environment_factory("rag")
    with pytest.raises(ConfigError, match="no sandbox level"):
        environment_factory("pal", Settings(sandbox="open"))
    assert environment_factory(f"{__name__}:own_factory")() is not None


def own_factory(settings: Settings) -> type[Conversation]:
    return Conversation
