"""Revisions on the page: figures, and texts that cannot break out of it."""

from pathlib import Path

import pytest

from accord.core.errors import CheckpointError
from accord.core.files import write_jsonl
from accord.reporting.report import render
from accord.reporting.run_files import read_run
from reporting.fake_run import HOSTILE, make_step

OUTPUTS = {
    "revisions": "revisions.jsonl",
    "constitution": "ours v1 12345678",
    "model": "m@1",
    "demonstration_count": 5,
    "revised": 3,
    "unchanged": 1,
    "blank_steps": 0,
    "unanswered": 2,
    "cut_answers": 0,
    "principles": {"one": 1, "two": 3},
}


def test_a_step_is_shown_and_its_texts_stay_texts(tmp_path: Path) -> None:
    make_step(tmp_path, "revise", "revise", 0, result=OUTPUTS)
    step = {"principle": "one", "critique": "It is rude.", "revision": "Better: " + HOSTILE}
    row = {
        "prompt": [{"role": "user", "content": "Hello."}],
        "response": HOSTILE,
        "rounds": [step],
    }
    write_jsonl(tmp_path / "revise" / "revisions.jsonl", [row] * 9)
    page = render(read_run(tmp_path))
    assert "75.0% of 4" in page and "ours v1 12345678" in page and "two 3, one 1" in page
    assert "8 of the revisions, step by step" in page and "It is rude." in page
    assert "<script>alert" not in page and 'href="#revisions-1"' in page


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    make_step(tmp_path, "revise", "revise", 0, result=OUTPUTS)
    (tmp_path / "revise" / "revisions.jsonl").write_text("{")
    with pytest.raises(CheckpointError, match="revisions.jsonl"):
        render(read_run(tmp_path))


def test_other_steps_have_no_such_part(tmp_path: Path) -> None:
    make_step(tmp_path, "sft", "sft", 0, result={"validation_loss": 1.0})
    assert "revisions-1" not in render(read_run(tmp_path))
