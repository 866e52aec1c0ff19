"""The suite with judges of planted habits, and what its notes have to say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.core.errors import DataError
from accord.core.types import Judgement, Message
from accord.judges.recorded import RecordedPeople
from accord.suites.alpaca_eval import AlpacaEval, same_response_share
from accord.suites.alpaca_eval_files import (
    AlpacaFiles,
    Outputs,
    read_alpaca_eval,
    read_annotations,
    read_outputs,
)
from accord.suites.base import Answer, SuiteResult
from accord.suites.llmbar import GoldPair, check_judge
from suites.fake_judges import FakeJudge, FixedJudge

COUNT = 300


def outputs(generator: str, lengths: Sequence[int]) -> Outputs:
    instructions = [f"Instruction {i}" for i in range(len(lengths))]
    texts = [f"{i} {generator} ".ljust(n, "x")[:n] for i, n in enumerate(lengths)]
    return Outputs(generator, instructions, texts)


def lengths(mean: float, seed: int) -> list[int]:
    return np.random.default_rng(seed).normal(mean, 150, COUNT).clip(30).astype(int).tolist()


BASELINE = outputs("base", lengths(600, 0))
GAMED = (outputs("concise", lengths(300, 1)), outputs("verbose", lengths(900, 2)))


def graded(judge: Any, texts: Sequence[str], **options: Any) -> SuiteResult:
    kept = {name: options.pop(name) for name in ("gamed", "difficulty") if name in options}
    suite = AlpacaEval(AlpacaFiles(BASELINE, **kept), judge, **options)
    answers = {str(i): Answer((text,), ("stop",)) for i, text in enumerate(texts)}
    assert suite.follow_up(answers) == []
    return suite.grade(answers)


def test_questions() -> None:
    suite = AlpacaEval(AlpacaFiles(BASELINE), FakeJudge(), max_new_tokens=256)
    asked = suite.questions()
    assert len(asked) == COUNT and len({q.id for q in asked}) == COUNT
    assert asked[7].prompt == ({"role": "user", "content": "Instruction 7"},)
    assert asked[7].max_new_tokens == 256


@pytest.mark.parametrize("seed", range(3))
def test_length_control_takes_out_the_judges_taste_for_length(seed: int) -> None:
    """The model is as good as the baseline, only longer; the judge likes length."""
    longer = outputs("model", lengths(750, 10 + seed)).texts
    judge = FakeJudge(length=0.8, position=0.5, seed=seed)
    found = graded(judge, longer, gamed=GAMED).figures
    raw, controlled = found["win_rate"], found["length_controlled_win_rate"]
    assert raw.low > 0.6
    assert controlled.low < 0.5 < controlled.high and abs(controlled.value - 0.5) < 0.1
    assert found["judge_longer_share"].low > 0.55
    assert found["judge_first_share"].low > 0.5
    assert found["judge_consistency"].high < 0.9


def test_a_judge_without_biases() -> None:
    texts = outputs("model", lengths(600, 5)).texts
    judge = FakeJudge(better=lambda prompt, text: 1.0 * ("model" in text), is_soft=True)
    found = graded(judge, texts, gamed=GAMED)
    assert found.figures["win_rate"].value == pytest.approx(0.7310586)
    assert found.figures["length_controlled_win_rate"].value == pytest.approx(0.731, abs=0.01)
    assert found.figures["judge_consistency"].value == 1.0
    assert found.figures["judge_first_share"].value == 0.5
    assert found.rows[3]["preference"] == pytest.approx(0.7310586)


def test_the_baseline_against_itself_has_one_half() -> None:
    found = graded(FakeJudge(length=1.0, is_soft=True), BASELINE.texts, gamed=GAMED).figures
    assert found["win_rate"].value == 0.5
    assert found["length_controlled_win_rate"].value == pytest.approx(0.5, abs=0.005)


def test_an_abstention_is_no_win() -> None:
    texts = outputs("model", lengths(600, 5)).texts
    judge = FakeJudge(better=lambda prompt, text: 99.0 * ("model" in text), abstains=0.3)
    found = graded(judge, texts)
    missing = sum(row["preference"] is None for row in found.rows)
    assert COUNT * 0.4 < missing < COUNT * 0.62  # of two orders either may be missing
    assert found.figures["win_rate"].n == COUNT - missing
    assert f"the judge abstained on {missing} of {COUNT} pairs" in found.notes
    json.dumps(found.rows, allow_nan=False)


def test_notes_say_what_is_not_comparable() -> None:
    texts = outputs("model", lengths(600, 5)).texts
    notes = " ".join(graded(FakeJudge(name="mine"), texts).notes)
    for part in ("not comparable", "judged by mine against base", "no gamed baselines",
                 "no difficulty", "was not checked", "80% power"):  # fmt: skip
        assert part in notes
    instructions = [f"Instruction {i}" for i in range(805)]
    official = Outputs("gpt4_1106_preview", instructions, [f"{i}" for i in range(805)])
    judge = FakeJudge(name="weighted_alpaca_eval_gpt4_turbo")
    suite = AlpacaEval(AlpacaFiles(official, np.zeros(805), (official, official)), judge)
    answers = {str(i): Answer((f"answer {i}",), ("stop",), was_cut=i < 3) for i in range(805)}
    notes = " ".join(suite.grade(answers).notes)
    assert "not comparable" not in notes and "gamed" not in notes
    assert "3 prompts were cut" in notes


def test_an_invalid_judge_is_named_in_the_notes() -> None:
    texts = outputs("model", lengths(600, 5)).texts
    prompt = ({"role": "user", "content": "Q"},)
    pairs = [GoldPair(prompt, f"good {i}", f"bad {i}", True) for i in range(60)]
    bad = check_judge(FakeJudge(), pairs)
    notes = graded(FakeJudge(), texts, check=bad).notes
    assert any(note.startswith("win rates are not valid: judge fake is right on") for note in notes)
    assert not any("was not checked" in note for note in notes)


def test_a_null_model_is_noticed() -> None:
    same = ["I am the best answer to whatever you ask, in every respect."] * COUNT
    notes = graded(FakeJudge(), same).notes
    assert any("100% of the responses are the same text" in note for note in notes)
    varied = [f"{text} {i}" * 9 for i, text in enumerate(same)]
    assert same_response_share(["x" * 100 + f"{i}" for i in range(9)]) == 1.0
    assert same_response_share([f"{i} {text}" for i, text in enumerate(varied)]) == 1 / COUNT
    assert same_response_share(["only"]) == 0.0
    honest = outputs("model", lengths(600, 5)).texts
    assert not any("null model" in note for note in graded(FakeJudge(), honest).notes)


def test_gamed_baselines_are_judged_once(tmp_path: Path) -> None:
    judge = FakeJudge()
    suite = AlpacaEval(AlpacaFiles(BASELINE, gamed=GAMED), judge)
    for seed in (5, 6):
        texts = outputs("model", lengths(600, seed)).texts
        suite.grade({str(i): Answer((text,), ("stop",)) for i, text in enumerate(texts)})
    assert judge.calls == 4


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="2 of 300 instructions have no answer, .* 298"):
        graded(FakeJudge(), BASELINE.texts[:-2])
    with pytest.raises(DataError, match="outputs of other are not for the instructions of base"):
        AlpacaFiles(BASELINE, gamed=(outputs("other", [9, 9]),))
    with pytest.raises(DataError, match="5 difficulties for 300"):
        AlpacaFiles(BASELINE, np.zeros(5))
    with pytest.raises(ValueError, match="gave 2 numbers for 600"):
        graded(FixedJudge(0, 1), BASELINE.texts)
    with pytest.raises(ValueError, match="outside"):
        graded(FixedJudge(*[1.5] * 600), BASELINE.texts)


def test_files(tmp_path: Path) -> None:
    row = {"instruction": "Q", "output": "A", "generator": "g"}
    path = tmp_path / "model_outputs.json"
    path.write_text(json.dumps([row, row]))
    assert read_outputs(path).texts == ["A", "A"]
    path.write_text(json.dumps([row, {**row, "generator": "h"}]))
    with pytest.raises(DataError, match="expected one generator, got g, h"):
        read_outputs(path)
    path.write_text(json.dumps([row, {"instruction": "Q", "generator": "g"}]))
    with pytest.raises(DataError, match=r"model_outputs\.json, row 2: field 'output' is missing"):
        read_outputs(path)

    judged = {"preference": 1.25, "generator_1": "b", "generator_2": "m",
              "output_1": "12345", "output_2": "123"}  # fmt: skip
    path = tmp_path / "annotations.jsonl"
    lines = [judged, {**judged, "preference": 0}, {**judged, "preference": None}]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = read_annotations(path)
    assert found.preferences == pytest.approx([0.25, 0.5, float("nan")], nan_ok=True)
    assert (found.model, found.baseline) == ("m", "b")
    assert found.judged(None).length_gaps.tolist() == [2, 2, 2]
    with pytest.raises(DataError, match="m has 3 judgements, but only 2"):
        found.judged(np.zeros(2))
    for broken, message in [
        ({**judged, "preference": 3}, "line 1: field 'preference' is 3"),
        ({k: v for k, v in judged.items() if k != "preference"}, "'preference' is missing"),
        ({k: v for k, v in judged.items() if k != "output_2"}, "'output_2' is missing"),
    ]:
        path.write_text(json.dumps(broken))
        with pytest.raises(DataError, match=message):
            read_annotations(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no baseline.json"):
        read_alpaca_eval(tmp_path)
    row = {"instruction": "Q", "output": "A", "generator": "g"}
    (tmp_path / "baseline.json").write_text(json.dumps([row, row]))
    assert read_alpaca_eval(tmp_path).difficulty is None
    (tmp_path / "verbose.jsonl").write_text("\n".join([json.dumps(row)] * 2))
    (tmp_path / "difficulty.csv").write_text("index,instruction_difficulty\n0,1.5\n1,-2\n")
    found = read_alpaca_eval(tmp_path)
    assert found.difficulty is not None and found.difficulty.tolist() == [1.5, -2]
    assert [outputs.texts for outputs in found.gamed] == [["A", "A"]]
    (tmp_path / "baseline.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"both baseline.jsonl and baseline.json; keep one"):
        read_alpaca_eval(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_alpaca_eval(tmp_path / "absent")


def test_people_put_a_judge_right_who_likes_length() -> None:
    """The model is only longer; people, who judged every third pair, prefer neither."""
    longer = outputs("model", lengths(750, 10)).texts
    rng = np.random.default_rng(0)
    said = [
        Judgement(
            "Ann",
            "person",
            (Message(role="user", content=f"Instruction {i}"),),
            longer[i],
            BASELINE.texts[i],
            "a" if rng.random() < 0.5 else "b",
        )
        for i in range(0, COUNT, 3)
    ]
    judge = FakeJudge(length=0.8, seed=0)
    found = graded(judge, longer, people=RecordedPeople("people", said))
    raw, corrected = found.figures["win_rate"], found.figures["win_rate_by_people"]
    assert raw.low > 0.55
    assert corrected.low < 0.5 < corrected.high and corrected.n == 100
    assert any("people judged 100 of these pairs" in note for note in found.notes)
    few = graded(judge, longer, people=RecordedPeople("people", said[:1]))
    assert "win_rate_by_people" not in few.figures
    assert any("too few to correct" in note for note in few.notes)
