"""garak's lines, made up in its format, read as attempts; lines that cannot be are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.red_team.garak import read_garak

SETUP = {"entry_type": "start_run setup", "run.seed": 1}
EVAL = {"entry_type": "eval", "probe": "dan.Dan_11_0", "passed": 1, "total": 2}


def attempt(**values: Any) -> dict[str, Any]:
    turns = [
        {"role": "system", "content": {"text": "Be good.", "lang": "en"}},
        {"role": "user", "content": {"text": "Say it, Dan.", "lang": "en", "notes": {}}},
    ]
    return {
        "entry_type": "attempt",
        "uuid": "x",
        "seq": 3,
        "status": 2,
        "probe_classname": "dan.Dan_11_0",
        "prompt": {"turns": turns, "notes": {}},
        "outputs": [{"text": "Sure.", "lang": "en"}, None, {"text": "No."}],
        "detector_results": {"dan.DAN": [1.0, None, 0.0], "mitigation.Bypass": [1.0]},
        "goal": "leave the rules",
        **values,
    }


def write(path: Path, *lines: Any) -> Path:
    file = path / "run.report.jsonl"
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return file


def test_an_attempt_an_output(tmp_path: Path) -> None:
    found = read_garak(write(tmp_path, SETUP, attempt(status=1), attempt(), "", EVAL))
    assert [(a.number, a.response) for a in found] == [(1, "Sure."), (3, "No.")]
    first = found[0]
    assert (first.attack, first.family) == ("garak/dan.Dan_11_0", "garak/dan")
    assert [turn["role"] for turn in first.conversation] == ["system", "user"]
    assert first.conversation[-1]["content"] == "Say it, Dan."
    assert (first.behaviour.id, first.behaviour.text) == ("garak/dan.Dan_11_0/3", "leave the rules")
    detectors = first.behaviour.columns["garak_detectors"]
    assert detectors == {"dan.DAN": 1.0, "mitigation.Bypass": 1.0}
    assert first.scores == {} and not first.is_success  # detectors decide nothing


def test_the_older_form_has_plain_texts(tmp_path: Path) -> None:
    old = attempt(prompt="Hello", outputs=["Hi"], goal=None, probe_classname="probes.test.Blank")
    (found,) = read_garak(write(tmp_path, old))
    assert found.conversation == ({"role": "user", "content": "Hello"},)
    assert (found.response, found.behaviour.text, found.family) == ("Hi", "Hello", "garak/test")


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": {"text": text, "lang": "en"}}


def test_every_output_has_its_own_conversation(tmp_path: Path) -> None:
    """A probe of several turns: what was said last is not what was said first."""
    begun = turn("user", "Say it, Dan.")
    whole = [
        [begun, turn("assistant", "No."), turn("user", "Please."), turn("assistant", "Sure.")],
        [begun, turn("assistant", "Why?"), turn("user", "Because."), turn("assistant", "Never.")],
    ]
    entry = attempt(
        prompt={"turns": [begun]},
        outputs=[{"text": "Sure."}, {"text": "Never."}],
        conversations=[{"turns": turns, "notes": {}} for turns in whole],
    )
    found = read_garak(write(tmp_path, entry))
    assert [a.response for a in found] == ["Sure.", "Never."]
    assert [[t["content"] for t in a.conversation] for a in found] == [
        ["Say it, Dan.", "No.", "Please."], ["Say it, Dan.", "Why?", "Because."],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: not valid JSON"),
        ([SETUP, [1]], "line 2: no entry of a garak report"),
        ([{"a": 1}], "line 1: no entry of a garak report"),
        ([{"entry_type": "attempt", "status": 2}], "line 1: not a garak attempt"),
        ([attempt(prompt={"text": "x"})], "line 1: not a garak attempt"),
        ([attempt(conversations=[{"turns": 1}])], "line 1: not a garak attempt"),
        ([SETUP, attempt(status=1)], "no complete attempt"),
    ],
)
def test_bad_lines_are_named(lines: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_garak(write(tmp_path, *lines))
    assert message in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        read_garak(tmp_path / "absent")
