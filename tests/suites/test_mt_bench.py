"""Published scores from stored judgements, through the same prompts; and pairs by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.core.types import Message
from accord.suites.base import Answer
from accord.suites.mt_bench import MTBench, MTBenchPairs
from accord.suites.mt_bench_judge import (
    PromptedJudge,
    joined_turns,
    parted_turns,
    rating,
    read_templates,
    verdict,
)
from accord.suites.mt_bench_questions import (
    MTQuestion,
    read_answers,
    read_mt_bench,
    read_questions,
    to_answers,
)
from accord.suites.rows import read_records
from suites.fake_judges import FakeJudge

ITEMS = [
    MTQuestion(81, "writing", ("Write.", "Rewrite."), None),
    MTQuestion(111, "math", ("1 + 1?", "And 2 + 2?"), ("2", "4")),
]
ANSWERS = {81: ("text", "text again"), 111: ("two", "four")}


class Replies:
    """Replies what it is told, in order, and keeps what it was asked."""

    def __init__(self, *replies: str | None) -> None:
        self.replies = replies
        self.asked: list[Sequence[Message]] = []

    def __call__(self, conversations: Sequence[Sequence[Message]]) -> list[str | None]:
        self.asked = list(conversations)
        return list(self.replies)


@pytest.fixture(scope="module")
def folder(accord_data: Path) -> Path:
    return accord_data / "benchmarks" / "mt_bench"


@pytest.mark.parametrize(
    ("model", "score", "turns"),
    [
        ("llama2_chat_7b", 6.190625, (6.70625, 5.675)),
        ("finetune_llama2_chat_7b", 4.625, (5.3875, 3.8625)),
        ("llama2_7b", 3.96875, (4.7625, 3.175)),
    ],
)
def test_published_scores(
    folder: Path, model: str, score: float, turns: tuple[float, float]
) -> None:
    """Every prompt is the stored one to the letter, and its stored reply is read as it was."""
    stored = {
        record.text("user_prompt"): record.text("judgment")
        for record in read_records(folder / "oracle" / "gpt-4_single.jsonl.gz")
        if record.text("model") == model
    }
    items = read_mt_bench(folder)
    templates = read_templates(folder / "judge_prompts.jsonl")
    judge = PromptedJudge(
        lambda asked: [stored[one[-1]["content"]] for one in asked], templates, name="gpt-4"
    )
    answers = to_answers(read_answers(folder / "oracle" / "model_answer" / f"{model}.jsonl.gz"))
    found = MTBench(items, judge).grade(answers)
    assert found.figures["score"].value == score
    assert (found.figures["turn_1"].value, found.figures["turn_2"].value) == turns
    assert found.figures["score"].n == 80 and found.figures["math"].n == 10
    assert found.figures["score"].low < score < found.figures["score"].high
    assert len(found.rows) == 160 and found.notes == []


def test_questions_and_temperatures(folder: Path) -> None:
    items = read_mt_bench(folder)
    suite = MTBench(items, PromptedJudge(Replies(), {}, name="nobody"))
    first = suite.questions()
    assert [q.id for q in first] == [f"{number}/1" for number in range(81, 161)]
    temperatures = [q.temperature for q in first]
    assert {t: temperatures.count(t) for t in set(temperatures)} == {0.7: 20, 0.1: 20, 0.0: 40}
    assert {q.max_new_tokens for q in first} == {1024}
    assert sum(item.references is not None for item in items) == 30
    answers = {q.id: Answer((f"answer to {q.id}",), ("stop",)) for q in first}
    second = suite.follow_up(answers)
    assert [q.id for q in second] == [f"{number}/2" for number in range(81, 161)]
    assert [m["role"] for m in second[0].prompt] == ["user", "assistant", "user"]
    assert second[0].prompt[1]["content"] == "answer to 81/1"
    assert second[0].prompt[2]["content"] == items[0].turns[1]
    done = {**answers, **{q.id: Answer(("x",), ("stop",)) for q in second}}
    assert suite.follow_up(done) == []


def test_replies_that_say_nothing_are_dropped_and_counted(folder: Path) -> None:
    templates = read_templates(folder / "judge_prompts.jsonl")
    replies = Replies("Rating: [[8]]", "no rating", None, "about [4], or so")
    suite = MTBench(ITEMS, PromptedJudge(replies, templates, name="mine"))
    found = suite.grade(to_answers(ANSWERS))
    assert found.figures["score"].value == 6 and found.figures["turn_1"].value == 8
    assert [row["grade"] for row in found.rows] == [8, None, None, 4]
    assert "the judge abstained on 2 of 4 answers" in found.notes
    assert any("not comparable" in note and "mine" in note for note in found.notes)
    # Only mathematics is judged with its references.
    texts = [conversation[-1]["content"] for conversation in replies.asked]
    assert ["Reference" in text for text in texts] == [False, False, True, True]
    silent = MTBench(ITEMS, PromptedJudge(Replies(*[None] * 4), templates, name="mine"))
    with pytest.raises(DataError, match="abstained on all of 4"):
        silent.grade(to_answers(ANSWERS))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Rating: [[5]]", 5), ("[3] but then [[7.5]]", 7.5), ("so [6]", 6), ("[[10]] [[1]]", 10),
        ("[[11]]", None), ("[[0]]", None), ("7", None), ("", None), ("[[five]]", None),
    ],
)  # fmt: skip
def test_rating(text: str, value: float | None) -> None:
    assert rating(text) == pytest.approx(float("nan") if value is None else value, nan_ok=True)


def test_verdict() -> None:
    texts = ["[[A]]", "so [[B]].", "[[C]]", "[[A]] or [[B]]", "[A]", ""]
    assert [verdict(text) for text in texts] == pytest.approx(
        [1, 0, 0.5, 1, float("nan"), float("nan")], nan_ok=True
    )


def test_pairs_by_hand(folder: Path) -> None:
    # The orders agree; disagree; say a tie and a win, which is a tie; say nonsense.
    forth, back = ["[[A]]", "[[A]]", "[[C]]", "[[A]]"], ["[[B]]", "[[A]]", "[[B]]", "what"]
    replies = Replies(*forth, *back)
    judge = PromptedJudge(replies, read_templates(folder / "judge_prompts.jsonl"), name="gpt-4")
    baseline = {81: ("base", "base again"), 111: ("eleven", "22")}
    suite = MTBenchPairs(ITEMS, judge, baseline, "base")
    found = suite.grade(to_answers(ANSWERS))
    assert [row["outcome"] for row in found.rows] == [1, 0.5, 0.5, None]
    assert found.figures["win_rate"].value == pytest.approx(2 / 3)
    assert found.figures["win_rate_turn_2"].value == 0.5
    assert found.figures["judge_consistency"].value == pytest.approx(1 / 3)
    assert any("not comparable" in note and "2 questions" in note for note in found.notes)
    assert any("abstained on 1 of 4" in note for note in found.notes)
    assert any("was not checked" in note for note in found.notes)
    texts = [conversation[-1]["content"] for conversation in replies.asked]
    assert texts[0].index("text") < texts[0].index("base") and "Rewrite." not in texts[0]
    assert texts[4].index("base") < texts[4].index("text")
    # The second turn shows whole conversations, and mathematics its references.
    whole = ["1 + 1?", "2", "And 2 + 2?", "4", "two", "four", "eleven", "22"]
    assert all(part in texts[3] for part in whole)
    assert texts[7].index("eleven") < texts[7].index("two")
    assert "### User" not in texts[3].split("Assistant A:\n")[1].split("\n\n")[0]


def test_any_judge_can_compare() -> None:
    baseline = {81: ("t", "t"), 111: ("t", "t")}
    suite = MTBenchPairs(ITEMS, FakeJudge(length=1e4), baseline, "short")
    found = suite.grade(to_answers(ANSWERS))
    assert found.figures["win_rate"].value == 1.0
    first = joined_turns("a", "Q?", "b")
    assert parted_turns(first, "Q?") == ("a", "b")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    def write(name: str, *rows: dict[str, Any]) -> Path:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
        return tmp_path / name

    right = write("right.jsonl", {"question_id": 111, "choices": [{"turns": ["2", "4"]}]})
    good = {"question_id": 81, "category": "writing", "turns": ["a", "b"]}
    for broken, message in [
        ({**good, "turns": None}, "q.jsonl, line 2: field 'turns' is missing"),
        ({**good, "turns": ["a"]}, "q.jsonl, line 2: 1 texts for two turns"),
        ({**good, "category": "sport"}, "line 2: field 'category' is 'sport'"),
        ({**good, "category": "math"}, r"right.jsonl: no reference for question 81 \(math\)"),
    ]:
        with pytest.raises(DataError, match=message):
            read_questions(write("q.jsonl", good, broken), right)
    with pytest.raises(DataError, match="line 1: field 'choices.0..turns' is missing"):
        read_answers(write("a.jsonl", {"question_id": 1, "choices": [{}]}))
    with pytest.raises(DataError, match="no prompt 'single-v1'"):
        read_templates(
            write("p.jsonl", {"name": "x", "system_prompt": "s", "prompt_template": "p"})
        )
    suite = MTBench(ITEMS, PromptedJudge(Replies(), {}, name="x"))
    with pytest.raises(DataError, match="1 turns have no answer, such as 111/2"):
        suite.grade({k: v for k, v in to_answers(ANSWERS).items() if k != "111/2"})
    with pytest.raises(DataError, match="base has no answer to question 111"):
        MTBenchPairs(ITEMS, FakeJudge(), {81: ("a", "b")}, "base")


def test_corrected_references_stand_with_the_questions(tmp_path: Path) -> None:
    rows = [
        {"question_id": 81, "category": "writing", "turns": ["a", "b"]},
        {"question_id": 111, "category": "math", "turns": ["a", "b"], "reference": ["1", ""]},
    ]
    path = tmp_path / "question.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [item.references for item in read_mt_bench(tmp_path)] == [None, ("1", "")]
    del rows[1]["reference"]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="question.jsonl, line 2: field 'reference' is missing"):
        read_mt_bench(tmp_path)
    answers = {"question_id": 111, "choices": [{"turns": ["2", "4"]}]}
    (tmp_path / "reference_answer").mkdir()
    (tmp_path / "reference_answer" / "gpt-4.jsonl").write_text(json.dumps(answers))
    assert read_mt_bench(tmp_path)[1].references == ("2", "4")
    path.unlink()
    with pytest.raises(DataError, match="no question.jsonl"):
        read_mt_bench(tmp_path)
