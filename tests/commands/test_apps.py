"""Apps on the command line: an index in a file, and what a server refuses at once."""

from pathlib import Path

import pytest

from accord.cli import main
from accord.environments.named import Settings, index_of

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
    ):
        assert main(["serve", str(tiny_model_dir), "--port", "0", *flags]) == 2, flags
        told = capsys.readouterr().err
        assert why in told and "Traceback" not in told, (flags, told)
