"""accord label: one command, one file, a link for the lead."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from accord import cli
from accord.commands.label import _is_private
from accord.commands.listening import listening
from accord.core.files import write_jsonl
from accord.store.access import SqlAccess
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.queue import SqlTaskQueue
from web.app_parts import rows


@pytest.fixture(autouse=True)
def no_server_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCORD_DATABASE_URL", raising=False)


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_one_command(tmp_path: Path, stop: signal.Signals, status: int) -> None:
    """Tasks up, links printed, pages served, stopped by a signal, and everything kept."""
    write_jsonl(tmp_path / "tasks.jsonl", rows(3))
    arguments = ["--tasks", "tasks.jsonl", "--project", "chat", "--overlap", "2", "--port", "0"]
    command = [sys.executable, "-m", "accord.cli", "label", *arguments, "--add_annotator", "ann"]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        try:
            assert process.stdout
            shown = "".join(process.stdout.readline() for _ in range(4))
            assert shown.startswith("chat: 3 new tasks, 0 known\n")
            found = re.search(r"sign in as lead, once: (http://127.0.0.1:\d+)/join/(\S+)", shown)
            invited = re.search(r"invitation for ann: http://127.0.0.1:\d+/join/(\S+)", shown)
            assert found and invited
            with urllib.request.urlopen(f"{found[1]}/join/{found[2]}", timeout=30) as page:
                assert "This link is for <strong>lead</strong>" in page.read().decode()
            process.send_signal(stop)
            assert process.wait(timeout=60) == status
        finally:
            process.kill()
    database = Database.open(path=tmp_path / "accord.db")
    assert SqlTaskQueue(database).progress("chat")["slots"] == 6
    assert [(a.name, a.role) for a in SqlAccounts(database).all()] == [
        ("ann", "annotator"), ("lead", "lead"),
    ]  # fmt: skip
    assert SqlAccess(database).use_invitation(invited[1]).sets_password
    assert not SqlAccess(database).use_invitation(found[2]).sets_password
    database.close()


@pytest.mark.parametrize(
    ("host", "url", "is_private"),
    [
        ("127.0.0.1", "http://127.0.0.1:1", True),
        ("0.0.0.0", "http://0.0.0.0:1", False),
        ("0.0.0.0", "https://label.example", True),
    ],
)
def test_who_can_listen_in(host: str, url: str, is_private: bool) -> None:
    with listening(host, 0) as listener:
        assert _is_private(url, listener) is is_private


def test_a_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["label", "--port", port, "--database", str(tmp_path / "d.db")]) == 2
    assert "is it in use? try --port 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "none.jsonl", "--project", "p"], "none.jsonl: no such file"),
        (["--tasks", "tasks.jsonl"], "--tasks needs --project NAME"),
        (["--tasks", "tasks.jsonl", "--project", "a/b"], "a project's name stands in addresses"),
        (["--tasks", "tasks.jsonl", "--project", "p", "--overlap", "0"], "--overlap must be"),
        (["--tasks", "broken.jsonl", "--project", "p"], "broken.jsonl, row 1: no response"),
        (["--port", "99999"], "--port is a number of 0 to 65535"),
        (["--host", "no such host"], "cannot listen on no such host"),
        (["--port", "0", "--public_url", "nonsense"], "public_url: expected https://HOST"),
        (["--port", "0", "--add_annotator", " "], "no spaces around it"),
        (["--database", "."], "the database cannot be used"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "tasks.jsonl", rows(1))
    write_jsonl(tmp_path / "broken.jsonl", [{"prompt": "q"}])
    assert cli.main(["label", *arguments]) == 2
    assert message in capsys.readouterr().err
