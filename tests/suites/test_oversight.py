"""The harness of scalable oversight, proved by critics and debaters of known accuracy."""

import hashlib
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from accord.core.files import write_jsonl
from accord.core.types import Message
from accord.corpora.final_numbers import final_number
from accord.judges.debate import AidedJudge, Critic, Debate
from accord.judges.endpoint_judge import EndpointJudge
from accord.suites.gsm8k import WordProblem, load_word_problems
from accord.suites.llmbar import GoldPair, read_llmbar
from accord.suites.oversight import (
    find_flaws,
    graded_solutions,
    measure_aids,
    named_line,
    plant_flaws,
)
from judges.scripted_client import ScriptedClient


def sections(text: str) -> dict[str, str]:
    fence = text.split("The word is ")[1].split(".")[0]
    parts = text.split(f"{fence} ")[1:]
    return {part.split("\n")[0]: part.split("\n", 1)[-1].rstrip("\n") for part in parts}


def chance(*texts: str) -> float:
    """A number in [0, 1) that depends on the texts alone."""
    return int(hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8], 16) / 2**32


def pairs(count: int) -> list[GoldPair]:
    found = []
    for n in range(count):
        texts = (f"good {n}", f"bad {n}")
        is_first = n % 2 == 0
        prompt = (Message(role="user", content=f"Question {n}"),)
        found.append(GoldPair(prompt, *(texts if is_first else texts[::-1]), is_first))
    return found


def weak(conversation: Sequence[Message], _: int) -> str:
    """Believes who alone is called wrong to be so, or who alone has proof; else flips a coin."""
    shown = sections(conversation[-1]["content"])
    remarks = [shown.get(f"Remarks on Response {c}", "") for c in "AB"]
    credit = [("proof" in text) - ("wrong" in text) for text in remarks]
    if credit[0] != credit[1]:
        return "A" if credit[0] > credit[1] else "B"
    return "A" if chance("coin", shown["Response A"], shown["Response B"]) < 0.5 else "B"


def critic(accuracy: float) -> Critic:
    """Tells right from wrong as often as it is said to."""

    def answer(conversation: Sequence[Message], _: int) -> str:
        response = sections(conversation[-1]["content"])["Response"]
        is_bad = response.startswith("bad")
        sees = chance("critic", response) < accuracy
        return "It is wrong." if is_bad == sees else "I find no fault."

    return Critic(ScriptedClient(answer))


def debate(honest: float, dishonest: float) -> Debate:
    """Either side finds a proof as often as it is said to."""

    def answer(conversation: Sequence[Message], _: int) -> str:
        text = conversation[-1]["content"]
        response = sections(text)["Your response"]
        skill = honest if response.startswith("good") else dishonest
        return "Here is the proof." if chance("debate", response) < skill else "Believe me."

    return Debate(ScriptedClient(answer), rounds=1)


def judge() -> EndpointJudge:
    return EndpointJudge(ScriptedClient(weak))


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 1.0, 0.2])
def test_critics_of_known_accuracy(accuracy: float) -> None:
    """Both critiques right: right; both wrong: wrong; else a coin. So the judge is right as often
    as the critic, and the share of the gap is 2 q - 1.
    """
    aided = AidedJudge(judge(), critic(accuracy))
    found = measure_aids(pairs(1500), judge(), {"critique": aided})
    assert found.accuracy["alone"].value == pytest.approx(0.5, abs=0.03)
    assert found.accuracy["critique"].value == pytest.approx(accuracy, abs=0.03)
    share = found.recovered["critique"]
    assert share.low - 1e-9 <= 2 * accuracy - 1 <= share.high + 1e-9
    assert share.share == pytest.approx(2 * accuracy - 1, abs=0.06)


@pytest.mark.parametrize(("honest", "dishonest"), [(0.9, 0.3), (0.5, 0.5), (0.2, 0.7)])
def test_debaters_of_known_skill(honest: float, dishonest: float) -> None:
    """Right where only the honest side has a proof, and half the time where neither or both do."""
    even = honest * dishonest + (1 - honest) * (1 - dishonest)
    expected = honest * (1 - dishonest) + even / 2
    aided = AidedJudge(judge(), debate(honest, dishonest))
    found = measure_aids(pairs(1500), judge(), {"debate": aided})
    assert found.accuracy["debate"].value == pytest.approx(expected, abs=0.03)
    share = found.recovered["debate"]
    assert share.low < (expected - 0.5) / 0.5 < share.high
    assert found.abstained == {"alone": 0, "debate": 0}


def test_llmbar_goes_through_the_same_harness(accord_data: Path) -> None:
    gold = read_llmbar(accord_data / "benchmarks" / "llmbar")
    truth = {p.first if p.is_first_better else p.second for p in gold}
    omniscient = Critic(
        ScriptedClient(
            lambda c, _: "fine" if sections(c[-1]["content"])["Response"] in truth else "wrong"
        )
    )
    aided = {"critique": AidedJudge(judge(), omniscient)}
    found = measure_aids(gold, judge(), aided)
    assert found.pairs == 372
    # responses that are right for one pair and wrong for another cannot be told here
    assert found.accuracy["critique"].value > 0.97 > found.accuracy["alone"].high
    assert found.recovered["critique"].share > 0.94


def test_graded_solutions_are_pairs_of_known_quality(accord_data: Path) -> None:
    path = accord_data / "benchmarks/gsm8k/example_model_solutions.jsonl.gz"
    gold = graded_solutions(path)
    problems = {p.question: p for p in load_word_problems(path.with_name("test.jsonl.gz"))}
    assert 600 < len(gold) < 1319
    checked = 0
    for pair in gold:
        problem = problems.get(pair.prompt[0]["content"])
        if problem is None:
            continue
        checked += 1
        good, bad = (pair.first, pair.second) if pair.is_first_better else (pair.second, pair.first)
        assert final_number(good) == problem.answer
        assert final_number(bad) != problem.answer
        assert "<<" not in good + bad
    assert checked > 600
    assert 0.4 < sum(p.is_first_better for p in gold) / len(gold) < 0.6
    assert graded_solutions(path) == gold and graded_solutions(path, seed=1) != gold


PROBLEMS = [
    WordProblem(
        f"gsm8k/{n}",
        f"Problem {n}",
        f"He has 2 + {n} = <<2+{n}={2 + n}>>{2 + n} eggs.\nHe sells some.\n"
        f"That is {2 + n} * 2 = ${(2 + n) * 2} in all.\n#### {(2 + n) * 2}",
        Fraction((2 + n) * 2),
    )
    for n in range(400)
]


def test_a_planted_flaw_changes_one_result_and_nothing_else() -> None:
    planted = plant_flaws(PROBLEMS)
    assert len(planted) == 800
    lines = set()
    for sound, flawed in zip(planted[::2], planted[1::2], strict=True):
        assert sound.line is None and flawed.line is not None
        changed = [n for n, (x, y) in enumerate(zip(sound.lines, flawed.lines, strict=True), 1)
                   if x != y]  # fmt: skip
        assert changed == [flawed.line]
        before, after = (re.findall(r"\d+", s.lines[flawed.line - 1]) for s in (sound, flawed))
        assert before[:-1] == after[:-1] and 0 < int(after[-1]) - int(before[-1]) < 10
        lines.add(flawed.line)
    assert lines == {1, 3}
    assert plant_flaws([WordProblem("x", "q", "Nothing is counted.\n#### 3", Fraction(3))]) == []


def reader(recall: float, false_alarms: float) -> Callable[[Sequence[Message], int], str]:
    """Finds the wrong sum, and names a line of sound solutions, as often as said."""

    def answer(conversation: Sequence[Message], _: int) -> str:
        text = conversation[-1]["content"]
        problem, solution = (sections(text)[name] for name in ("Problem", "Solution"))
        n = int(problem.split()[1])
        said = [int(re.findall(r"\d+", line)[-1]) for line in solution.splitlines()]
        wrong = 1 if said[0] != 2 + n else 3 if said[2] != (2 + n) * 2 else None
        if wrong is None:
            return "Line 2." if chance("false", problem) < false_alarms else "No wrong line."
        return f"It is line {wrong}." if chance("true", problem) < recall else "No wrong line."

    return answer


@pytest.mark.parametrize(("recall", "false_alarms"), [(1.0, 0.0), (0.7, 0.2), (0.0, 1.0)])
def test_recall_of_a_critic_of_known_accuracy(recall: float, false_alarms: float) -> None:
    found = find_flaws(ScriptedClient(reader(recall, false_alarms)), plant_flaws(PROBLEMS))
    assert found.recall.value == pytest.approx(recall, abs=0.06)
    assert found.false_alarms.value == pytest.approx(false_alarms, abs=0.06)
    assert found.recall.n == found.false_alarms.n == 400 and found.silent == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Line 2", 2),
        ("Line 1 is fine. The first wrong one is line 3.", 3),
        ("No wrong line.", 0),
        ("I cannot say.", None),
        ("", None),
    ],
)
def test_the_line_that_is_named(text: str, line: int | None) -> None:
    assert named_line(text) == line


def test_rows_without_grades_are_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "s.jsonl", [{"question": "q"}])
    with pytest.raises(Exception, match="is_correct"):
        graded_solutions(tmp_path / "s.jsonl")
