"""accord chat: answers, apps, and what is refused."""

import io
from pathlib import Path

import pytest

from accord.cli import main

MORE = ["--max_new_tokens", "8", "--max_turns", "2", "--temperature", "1", "--seed", "3"]


def test_it_answers_each_line(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 12?\nand 7?\n\nnever read\n"))
    assert main(["chat", str(tiny_model_dir), *MORE]) == 0
    first = capsys.readouterr().out
    assert first.strip()
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 12?\nand 7?\n"))
    assert main(["chat", str(tiny_model_dir), *MORE]) == 0
    assert capsys.readouterr().out == first, "equal seeds give equal answers"


def test_apps(tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for app in ("cot", "react"):
        flags = ["--tool", "calculator"] if app == "react" else []
        assert main(["chat", str(tiny_model_dir), "--app", app, *flags, "--ask", "?", *MORE]) == 0
    flags = ["--app", "cot", "--samples", "3", "--ask", "?"]
    assert main(["chat", str(tiny_model_dir), *flags, *MORE]) == 0
    assert "3 had none" in capsys.readouterr().out


def test_refusals(tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\x00")
    for flags, why in (
        (["--app", "rag"], "needs documents"),
        (["--app", "rag", "--documents", str(tmp_path)], "picture.txt: cannot be read"),
        (["--app", "rog"], "did you mean 'rag'"),
        (["--app", "react", "--tool", "no.such:tool"], "cannot be imported"),
    ):
        assert main(["chat", str(tiny_model_dir), *flags, "--ask", "?"]) == 2
        assert why in capsys.readouterr().err
