"""`accord serve` as a process: clients who leave, keys, and what is under way when it stops."""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest

from accord.cli import main
from accord.store.database import Database
from accord.store.judgements import SqlJudgements

SRC = Path(__file__).parents[2] / "src"
NEVER_END = {"0": -100, "2": -100}


class Server:
    """A server of the tiny model on a free port."""

    def __init__(self, model: Path, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "accord.cli", "serve", f"tiny={model}", "--port", "0", *flags],
            env={**os.environ, "PYTHONPATH": str(SRC)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        found = re.search(r":(\d+)/v1", self.process.stdout.readline())
        assert found, "the server did not start"
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def stream(self, tokens: int) -> tuple[http.client.HTTPConnection, Any]:
        """A response that has begun."""
        connection = self.connect()
        body = {"model": "tiny", "prompt": [5, 6], "max_tokens": tokens, "stream": True,
                "logit_bias": NEVER_END}  # fmt: skip
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        response = connection.getresponse()
        assert response.status == 200 and response.readline().startswith(b"data: ")
        return connection, response

    def ask(self, model: str, **more: Any) -> tuple[int, Any]:
        """Status and body of a whole answer."""
        messages = [{"role": "user", "content": "12?"}]
        return self.post("chat/completions", {"model": model, "messages": messages, **more})

    def post(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        connection = self.connect()
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/v1/{route}", json.dumps(body), headers)
        response = connection.getresponse()
        found = json.loads(response.read())
        connection.close()
        return response.status, found

    def metric(self, name: str) -> float:
        connection = self.connect()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture
def server(tiny_model_dir: Path) -> Iterator[Server]:
    started = Server(tiny_model_dir)
    yield started
    if started.process.poll() is None:
        started.process.kill()
    started.process.communicate()


@pytest.mark.slow
def test_a_client_that_leaves_frees_its_row_and_a_stop_drains(server: Server) -> None:
    connection, response = server.stream(400)
    response.close()
    connection.close()
    name = 'accord_generations_total{finish="cancelled",model="tiny"}'
    deadline = time.monotonic() + 30
    while not server.metric(name):
        assert time.monotonic() < deadline, "the row of a client that left went on"
    connection, response = server.stream(150)
    server.process.send_signal(signal.SIGTERM)
    rest = response.read().decode()
    response.close()
    connection.close()
    assert rest.endswith("data: [DONE]\n\n") and '"finish_reason": "length"' in rest
    assert server.process.wait(30) == 0


@pytest.mark.slow
def test_a_kill_loses_no_feedback_that_was_acknowledged(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Every user says one thing, so an annotator's name tells which."""
    path, random = tmp_path / "feedback.db", Random(0)
    acknowledged: list[str] = []

    def say(server: Server, name: str) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in itertools.count():
                user = f"{name}-{number}"
                asked = server.ask("tiny", max_tokens=2)[1]["id"]
                said = {"response_id": asked, "kind": "thumb", "up": True, "consent": True}
                if server.post("feedback", {**said, "user": user})[0] == 200:
                    acknowledged.append(user)

    for kill in range(3):
        server = Server(tiny_model_dir, "--feedback", str(path), "--requests_per_minute", "1000000")
        callers = [Thread(target=say, args=(server, f"{kill}-{n}")) for n in range(8)]
        for caller in callers:
            caller.start()
        time.sleep(1 + random.random())
        server.process.kill()
        server.process.communicate()
        for caller in callers:
            caller.join()
        assert any(user.startswith(f"{kill}-") for user in acknowledged)
    database = Database.open(path=path)
    try:
        stored = {standing.annotator for standing in SqlJudgements(database).current("feedback")}
    finally:
        database.close()
    assert len(acknowledged) > 50 and {f"local:{user}" for user in acknowledged} <= stored


@pytest.mark.slow
def test_apps_are_served_beside_the_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("bm25s")
    (tmp_path / "a.txt").write_text("12 and 7 are 19.")
    flags = ("--app", "rag", "--app", "cot", "--app", "pal", "--documents", str(tmp_path))
    server = Server(tiny_model_dir, *flags, "--dense", "--max_new_tokens", "8")
    try:
        for model in ("tiny", "tiny+rag", "tiny+cot", "tiny+pal"):
            status, body = server.ask(model, max_tokens=6, seed=1)
            # The tiny context has no room for a passage and an instruction.
            assert status == 200 or body["error"]["code"] == "context_length_exceeded", body
        assert server.ask("tiny+react")[0] == 404
        assert server.ask("tiny+cot", max_tokens=6)[1]["choices"][0]["app"]["name"] == "cot"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    finally:
        server.process.kill()
        server.process.communicate()


def test_elsewhere_than_on_loopback_a_key_is_asked_for(tiny_model_dir: Path, capsys: Any) -> None:
    assert main(["serve", str(tiny_model_dir), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "make a key" in capsys.readouterr().err
    assert main(["serve"]) == 2


def test_a_key_is_made_and_only_its_hash_is_kept(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "keys"
    assert main(["serve", "--new_key", "ann", "--keys", str(path)]) == 0
    key = capsys.readouterr().out.split("\n")[0]
    assert key.startswith("sk-accord-") and key not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("nonsense\n")
    assert main(["serve", "--new_key", "bob", "--keys", str(path)]) == 2


def test_a_file_of_no_keys_and_a_name_with_a_colon_are_refused(
    tiny_model_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "keys"
    assert main(["serve", "--new_key", "a:b", "--keys", str(path)]) == 2
    path.write_text("# none yet\n")
    assert main(["serve", str(tiny_model_dir), "--keys", str(path)]) == 2
    assert "holds no key" in capsys.readouterr().err
