"""Clients that others wrote, unchanged, each a process of its own before a running server.

They live in an environment of their own, which `make clients` builds, because their packages pin
what ours does not.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.test_process import Server

SCRIPTS = Path(__file__).with_name("clients")
PYTHON = os.environ.get("ACCORD_TEST_CLIENTS", "")
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not PYTHON, reason="ACCORD_TEST_CLIENTS names no interpreter"),
]


@pytest.fixture(scope="module")
def server(tiny_model_dir: Path) -> Iterator[Server]:
    started = Server(tiny_model_dir, "--requests_per_minute", "1000000")
    yield started
    started.process.kill()
    started.process.communicate()


def run(command: list[str], tmp_path: Path, **more: str) -> str:
    """What a client printed; no proxy, hub or key of the machine is in its way."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "OPENAI_API_KEY": "none",
        "HF_HUB_OFFLINE": "1", "LANGSMITH_TRACING": "false", **more,
    }  # fmt: skip
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_inspect_ai(server: Server, tmp_path: Path) -> None:
    run(
        [PYTHON, str(SCRIPTS / "with_inspect.py"), "tiny", str(tmp_path / "logs")], tmp_path,
        ACCORD_BASE_URL=server.url, ACCORD_API_KEY="none",
    )  # fmt: skip


def test_langchain(server: Server, tmp_path: Path) -> None:
    run([PYTHON, str(SCRIPTS / "with_langchain.py"), server.url, "tiny"], tmp_path)


def test_lm_eval(server: Server, tiny_model_dir: Path, tmp_path: Path) -> None:
    arguments = [server.url, "tiny", str(tiny_model_dir), str(tmp_path)]
    run([PYTHON, str(SCRIPTS / "with_lm_eval.py"), *arguments], tmp_path)


def test_curl(server: Server, tmp_path: Path) -> None:
    curl = shutil.which("curl") or pytest.skip("no curl")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "?"}], "max_tokens": 4}
    sent = ["-H", "Content-Type: application/json", "-d"]
    url = f"{server.url}/chat/completions"
    whole = run([curl, "-sSf", url, *sent, json.dumps(body)], tmp_path)
    assert json.loads(whole)["usage"]["completion_tokens"] <= 4
    streamed = run([curl, "-sSfN", url, *sent, json.dumps(body | {"stream": True})], tmp_path)
    assert streamed.endswith("data: [DONE]\n\n")


def test_schemathesis_finds_no_server_error(server: Server, tmp_path: Path) -> None:
    document = server.url.removesuffix("/v1") + "/openapi.json"
    command = [str(Path(PYTHON).with_name("schemathesis")), "run", document]
    checks = ["--checks", "not_a_server_error", "--max-examples", "15", "--seed", "1"]
    said = run([*command, *checks, "--phases", "examples,coverage,fuzzing"], tmp_path)
    assert "generated" in said
    assert server.ask("tiny", max_tokens=2)[0] == 200  # and it is still there
