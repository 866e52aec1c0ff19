"""Behaviours from all formats, HarmBench's columns, the shipped ones, and files that cannot be."""

from pathlib import Path

import pytest

from accord.core.errors import DataError
from accord.corpora.sample_set import wording
from accord.red_team.behaviours import load_behaviours, read_behaviour, shipped_behaviours
from accord.red_team.over_refusal import load_safe

CSV = "id,text,category,extra\na,Do it,pranks,7\nb,Do that,,\n"
JSONL = '{"id":"a","text":"Do it","category":"pranks","extra":"7"}\n{"id":"b","text":"Do that"}\n'
TOML = """
[[behaviour]]
id = "a"
text = "Do it"
category = "pranks"
extra = "7"
[[behaviour]]
id = "b"
text = "Do that"
"""


@pytest.mark.parametrize(("name", "text"), [("b.csv", CSV), ("b.jsonl", JSONL), ("b.toml", TOML)])
def test_all_formats_say_the_same(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    first, second = load_behaviours(tmp_path / name)
    assert (first.id, first.text, first.category, first.aim) == ("a", "Do it", "pranks", "harmless")
    assert first.columns == {"extra": "7"}
    assert (second.id, second.category, second.columns) == ("b", "any", {})
    assert read_behaviour(first.as_row()) == first


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "id,text\na,x\na,y\n", "two behaviours have the id 'a'"),
        ("b.csv", "id,words\na,x\n", "line 2: field 'text' is missing"),
        ("b.jsonl", '{"text": " "}', "line 1: the text is empty"),
        ("b.toml", "", "no behaviours"),
        ("b.toml", "[[behaviour]]\nid = 'a'", "behaviour 1: field 'text' is missing"),
        ("b.toml", "x = ", "not valid TOML"),
        ("b.toml", "behaviour = 3", "expected [[behaviour]] tables"),
    ],
)
def test_bad_files_are_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as error:
        load_behaviours(tmp_path / name)
    assert message in str(error.value) and name in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        load_behaviours(tmp_path / f"absent-{name}")


def test_rows_are_chosen_by_their_columns(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(
        '{"prompt": [{"role": "user", "content": "Do it"}], "kind": "bad", "n": 1}\n'
        '{"prompt": "Bake", "kind": "good", "n": 1}\n'
    )
    (only,) = load_behaviours(tmp_path / "b.jsonl", {"kind": "bad", "n": "1"})
    assert (only.text, only.columns) == ("Do it", {"kind": "bad", "n": 1})
    with pytest.raises(DataError, match="no behaviours"):
        load_behaviours(tmp_path / "b.jsonl", {"kind": "worse"})
    (tmp_path / "b.jsonl").write_text('{"prompt": [{"content": "a"}, {"content": "b"}]}')
    with pytest.raises(DataError, match="line 1: expected a text, or a prompt of one message"):
        load_behaviours(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").write_text('{"prompt": "Bake", "kind": "good"}')
    assert [r.prompt for r in load_safe(tmp_path / "b.jsonl", {"kind": "good"})] == ["Bake"]
    with pytest.raises(DataError, match="no row has the values"):
        load_safe(tmp_path / "b.jsonl", {"kind": "bad"})


def test_shipped_behaviours_are_mild_and_complete() -> None:
    found = shipped_behaviours()
    assert len(found) >= 20
    assert {b.category for b in found} == {"property", "people", "deceit"}
    for behaviour in found:
        assert behaviour.target and behaviour.target.startswith("Sure, here is how to ")
        assert wording.complies(behaviour.columns["compliance"])
        assert behaviour.columns["kind"] == "harmful_request"


def test_harmbench_is_read(accord_data: Path) -> None:
    found = load_behaviours(accord_data / "redteam" / "harmbench_behaviors.csv")
    assert len(found) == 400
    with_context = [b for b in found if "\n\n" in b.text]
    assert len(with_context) >= 90  # the contextual ones bring a text of their own
    assert len({b.category for b in found}) == 7
    assert {b.columns["FunctionalCategory"] for b in found} == {
        "standard",
        "contextual",
        "copyright",
    }
