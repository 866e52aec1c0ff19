"""A server follows a file of aliases: a deployment is a hot swap, and what is broken changes
nothing.
"""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from accord.core.errors import ModelError
from accord.core.files import hash_path
from accord.promotion.aliases import checked_model, deploy, read_aliases, roll_back
from accord.serving import following
from accord.serving.app import build_app
from accord.serving.following import Follower, follow
from accord.serving.keys import Keys
from accord.serving.metrics import server_metrics
from accord.serving.policies import Alias, Policies
from accord.serving.served import Served
from serving.served_parts import LOCAL, scripted

SRC = Path(__file__).parents[2] / "src"


def put(file: Path, text: str, alias: str = "chat") -> str:
    """Deploy what stands for a model's directory."""
    model = file.parent.parent / f"model-{text}"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "text").write_text(text)
    sha256 = hash_path(model)
    deploy(file, alias, model, sha256=sha256, at=text, run=file.parent)
    return sha256


class Stand:
    """Policies over a file, whose models say what is written in them; counts what was loaded."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        self.file = folder / "deployed" / "aliases.json"
        self.tiny = tiny
        self.loaded: list[str] = []
        self.metrics = server_metrics()

    def load(self, name: str, model: str) -> Served:
        text = (Path(model) / "text").read_text()
        self.loaded.append(text)
        if text == "broken":
            raise ModelError("cannot be loaded")
        made = scripted(name, self.tiny, lambda _: text, server_metrics())
        made.version = Path(model).name
        return made

    def started(self) -> tuple[Policies, Follower]:
        known = read_aliases(self.file)
        models = {
            name: self.load(name, str(checked_model(self.file, pointer.serves)))
            for name, pointer in known.items()
        }
        policies = Policies(models, {}, {}, self.load)
        return policies, Follower(self.file, policies, self.metrics, every_s=0.01)


@pytest.fixture
def stand(tmp_path: Path, tiny_model_dir: Path) -> Stand:
    return Stand(tmp_path, tiny_model_dir)


Ask = Callable[[str], Awaitable[str]]


def during(stand: Stand, script: Callable[[Policies, Follower, Ask], Awaitable[None]]) -> None:
    async def run() -> None:
        policies, follower = stand.started()
        app = build_app(policies, server_metrics(), keys=Keys({}))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:

            async def ask(model: str) -> str:
                body = {"model": model, "prompt": "x", "max_tokens": 20}
                answer = await client.post("/v1/completions", json=body)
                found: str = answer.json()["choices"][0]["text"] if answer.is_success else "none"
                return found

            await script(policies, follower, ask)
        await policies.stop()

    asyncio.run(run())


def test_a_deployment_is_a_swap_and_a_rollback_loads_nothing(stand: Stand) -> None:
    put(stand.file, "one")

    async def script(_: Policies, follower: Follower, ask: Ask) -> None:
        await follower.look()
        assert (await ask("chat"), stand.loaded) == ("one", ["one"])
        put(stand.file, "two")
        await follower.look()
        assert (await ask("chat"), stand.loaded) == ("two", ["one", "two"])
        roll_back(stand.file)
        await follower.look()
        assert (await ask("chat"), stand.loaded) == ("one", ["one", "two"])
        # The same again changes nothing; another name is served, too.
        put(stand.file, "one")
        put(stand.file, "three", "other")
        await follower.look()
        await follower.look()
        assert stand.loaded == ["one", "two", "three"]
        assert (await ask("chat"), await ask("other")) == ("one", "three")

    during(stand, script)


def test_what_is_broken_leaves_what_is_served(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "accord.serving")
    put(stand.file, "one")

    async def script(policies: Policies, follower: Follower, ask: Ask) -> None:
        good = stand.file.read_text()
        for text in ("{", "[]"):
            stand.file.write_text(text)
            await follower.look()
            await follower.look()
            assert await ask("chat") == "one"
        assert caplog.text.count("no file of aliases") == 2  # each is told once
        stand.file.unlink()
        await follower.look()
        assert await ask("chat") == "one" and "no such file" in caplog.text
        stand.file.write_text(good)
        # A model that does not load, and one that was changed after its gate.
        put(stand.file, "broken")
        await follower.look()
        await follower.look()
        assert stand.loaded == ["one", "broken"] and "cannot be loaded" in caplog.text
        changed = put(stand.file, "changed")
        (stand.file.parent / changed[:12] / "text").write_text("evil")
        await follower.look()
        assert "evil" not in stand.loaded and "has changed since" in caplog.text
        told = 'accord_alias_changes_total{alias="chat",outcome="failed"} 2'
        assert told in stand.metrics.render()
        assert await ask("chat") == "one"
        # The name of shares of models is nobody's to take.
        policies.set_alias("taken", Alias.of({"chat": 1.0}))
        put(stand.file, "three", "taken")
        await follower.look()
        assert await ask("taken") == "one" and "no policy's name" in caplog.text
        put(stand.file, "two")
        await follower.look()
        assert await ask("chat") == "two"
        told = 'accord_alias_changes_total{alias="chat",outcome="done"} 1'
        assert told in stand.metrics.render()

    during(stand, script)


def test_a_model_that_comes_later_than_its_file_is_tried_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the folder is copied from another machine."""
    put(stand.file, "one")

    async def script(_: Policies, follower: Follower, ask: Ask) -> None:
        late = stand.file.parent / put(stand.file, "two")[:12]
        late.rename(late.with_name("late"))
        await follower.look()
        late.with_name("late").rename(late)
        await follower.look()
        assert await ask("chat") == "one"  # too early
        now = following._now()
        for passed, expected in ((9.0, "one"), (11.0, "two")):
            monkeypatch.setattr(following, "_now", lambda passed=passed: now + passed)
            await follower.look()
            assert await ask("chat") == expected
        # Waits double, up to a limit, and a new deployment does not wait.
        put(stand.file, "broken")
        waits = []
        for _try in range(8):
            await follower.look()
            waits.append(follower._failed["chat"].wait_s)
            until = follower._failed["chat"].until
            monkeypatch.setattr(following, "_now", lambda until=until: until)
        assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
        put(stand.file, "three")
        await follower.look()
        assert await ask("chat") == "three" and not follower._failed

    during(stand, script)


def test_no_request_is_dropped_while_deployments_come_and_go(stand: Stand) -> None:
    put(stand.file, "v0")

    async def script(policies: Policies, follower: Follower, ask: Ask) -> None:
        task = asyncio.create_task(follower.run())
        said: list[str] = []
        is_over = asyncio.Event()

        async def keep_asking() -> None:
            while not is_over.is_set():
                said.append(await ask("chat"))

        clients = [asyncio.create_task(keep_asking()) for _ in range(8)]
        for number in range(1, 4):
            version = put(stand.file, f"v{number}")[:12]
            while policies.versions("chat")[0] != version:
                await asyncio.sleep(0.001)
            seen = len(said)
            while len(said) < seen + 16:
                await asyncio.sleep(0.001)
        is_over.set()
        await asyncio.gather(*clients)
        follower.stop()
        await task
        assert set(said) == {f"v{number}" for number in range(4)}

    during(stand, script)


def test_an_app_follows_while_it_is_up(stand: Stand) -> None:
    put(stand.file, "one")
    policies, follower = stand.started()
    app = build_app(policies, server_metrics(), keys=Keys({}))
    follow(app, follower)
    with TestClient(app, base_url=LOCAL) as client:
        put(stand.file, "two")
        deadline = time.monotonic() + 30
        body = {"model": "chat", "prompt": "x", "max_tokens": 20}
        while client.post("/v1/completions", json=body).json()["choices"][0]["text"] != "two":
            assert time.monotonic() < deadline, "the app did not follow"
    put(stand.file, "three")
    assert stand.loaded == ["one", "two"]  # and no longer


@pytest.mark.slow
def test_the_process_follows_its_file(tmp_path: Path, tiny_model_dir: Path) -> None:
    import shutil

    file = tmp_path / "deployed" / "aliases.json"
    models = [tmp_path / "a", tmp_path / "b"]
    for number, model in enumerate(models):
        shutil.copytree(tiny_model_dir, model)
        (model / "note").write_text(str(number))
    digests = [hash_path(model) for model in models]
    deploy(file, "chat", models[0], sha256=digests[0], at="1", run=tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "accord.cli", "serve", "--aliases", str(file), "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"chat: .*:(\d+)/v1", process.stdout.readline())
        assert found, "the server did not start"

        def version() -> Any:
            address = f"http://127.0.0.1:{found[1]}/admin/policies"
            with urllib.request.urlopen(address, timeout=60) as answer:
                return json.load(answer)["models"]["chat"]["version"]

        def wait_for(digest: str) -> None:
            deadline = time.monotonic() + 60
            while version() != digest[:12]:
                assert time.monotonic() < deadline, "the server did not follow"
                time.sleep(0.1)

        wait_for(digests[0])
        deploy(file, "chat", models[1], sha256=digests[1], at="2", run=tmp_path)
        wait_for(digests[1])
        roll_back(file)
        wait_for(digests[0])
        process.terminate()
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
