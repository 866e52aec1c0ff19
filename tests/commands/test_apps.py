"""Apps on the command line: an index in a file, and what a server refuses at once."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from accord.cli import main
from accord.commands.apps import settings_of
from accord.commands.chat import _parser
from accord.core.errors import ConfigError, DataError
from accord.corpora.encoding import ChatEncoder
from accord.environments.episode import Played
from accord.environments.named import Settings, environment_factory, index_of
from environments.scripted import asked, play_script

pytest.importorskip("bm25s")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "Tambora.txt").write_text("Mount Tambora erupted in 1815.")
    (folder / "Paris.md").write_text("Paris is the capital of France.")
    return folder


def test_an_index_is_made_once_and_searched(
    notes: Path, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, model = tmp_path / "notes.index", str(tiny_model_dir)
    made = ["data", "index", str(notes), "--output", str(path)]
    assert main([*made, "--model", model]) == 0
    assert "2 passages of 2 documents" in capsys.readouterr().out
    dense = index_of(Settings(documents=str(path), embedding_model=model))
    assert dense.search("Tambora erupted")[0].passage.title == "Tambora"
    assert len(dense.search("Tambora erupted")) == 2, "neighbours by vectors, too"
    words = index_of(Settings(documents=str(path)))
    assert [hit.passage.title for hit in words.search("capital")] == ["Paris"]
    assert main(made) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_server_says_what_its_apps_lack(
    notes: Path, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, in one line, and with nothing served."""
    words, other = tmp_path / "words.index", tmp_path / "other.index"
    assert main(["data", "index", str(notes), "--output", str(words)]) == 0
    other.write_bytes(b"SQLite format 3\0 and nothing more")
    picture, table = tmp_path / "pictures", tmp_path / "rows.jsonl"
    picture.mkdir()
    (picture / "cat.txt").write_bytes(b"\xff\xd8\xff\xe0\x00JFIF")
    table.write_text('{"question": "no text"}\n')
    rag = ["--app", "rag", "--documents"]
    for flags, why in (
        (["--app", "rag"], "needs documents"),
        (["--app", "rog"], "did you mean 'rag'"),
        ([*rag, str(picture)], "cat.txt: cannot be read as UTF-8"),
        ([*rag, str(table)], "row 1: expected a title and a text"),
        ([*rag, str(tmp_path / "none")], "none"),
        ([*rag, str(words), "--dense"], "was built with no embedder"),
        ([*rag, str(other)], "no index of passages"),
        (["--app", "react", "--tool", "no.such:tool"], "cannot be imported"),
        (["--app", "react", "--max_turns", "0"], "at least one action"),
        (["--documents", str(notes)], "name it: --app"),
        (["--samples", "3"], "name it: --app"),
        ([*rag, str(words), "--samples", "3"], "there is no vote on the words"),
        (["--app", "cot", "--samples", "0"], "at least one action"),
    ):
        assert main(["serve", str(tiny_model_dir), "--port", "0", *flags]) == 2, flags
        told = capsys.readouterr().err
        assert why in told and "Traceback" not in told, (flags, told)


Play = Callable[..., Played]


@pytest.fixture
def play(tiny_model_dir: Path) -> Play:
    """An episode of a policy that says these actions, in the app that these flags name."""
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))

    def played(question: str, *actions: str, flags: list[str]) -> Played:
        options = _parser().parse_args(["model", "--sandbox", "limits", *flags])
        make = environment_factory(options.app, settings_of(options, "model"))
        return play_script(encoder, make, asked(question, answer=4), *actions)

    return played


def test_a_check_can_be_asked_for(play: Play) -> None:
    said = ("Add.", "#### 5", "#### 4")
    assert len(play("2 + 2?", *said, flags=["--app", "cot"]).turns) == 2
    checked = play("2 + 2?", *said, flags=["--app", "cot", "--verify"])
    assert len(checked.turns) == 3 and checked.answer == "4"


def test_a_program_that_failed_may_be_written_again(play: Play) -> None:
    said = ("1 / 0", "2 + 2")
    assert play("2 + 2?", *said, flags=["--app", "pal"]).answer is None
    assert play("2 + 2?", *said, flags=["--app", "pal", "--retries", "1"]).answer == "4"


def test_how_many_passages_and_how_near(
    play: Play, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def shown(question: str, *flags: str) -> list[str]:
        rag = ["--app", "rag", "--documents", str(notes), *flags]
        notes_of = play(question, "It is so.", flags=rag).turns[-1].reply.notes
        return [passage.title for passage in notes_of["passages"]]

    both = "Which capital did the zebra, the otter, the lobster and the heron paint on Tambora?"
    assert shown(both) == []
    assert len(shown(both, "--min_coverage", "0")) == 2
    assert len(shown(both, "--min_coverage", "0", "--passages", "1")) == 1


def test_exemplars_of_ones_own(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "shown.json"
    shown = [("How far?", "user"), ("Action: finish[9 km]", "assistant")]
    file.write_text(json.dumps([[{"role": role, "content": text} for text, role in shown]]))
    for app in ("react", "calculator"):
        played = play("How long?", "Action: finish[4]", flags=["--app", app])
        assert "9 km" not in str(played.prompt)
        flags = ["--app", app, "--exemplars", str(file)]
        played = play("How long?", "Action: finish[4]", flags=flags)
        assert "9 km" in str(played.prompt) and "How far?" in str(played.prompt)
    file.write_text("{}")
    with pytest.raises(DataError, match="expected a list of conversations"):
        play("?", "", flags=["--app", "cot", "--exemplars", str(file)])


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"passages": 0}, {"retries": -1}, {"min_coverage": 1.1}):
        with pytest.raises(ConfigError, match="at least one passage"):
            Settings(**wrong)  # type: ignore[arg-type]
