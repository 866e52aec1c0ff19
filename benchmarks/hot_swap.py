"""Clients of `accord serve` while deployments and rollbacks come through its file of aliases.

    python -m benchmarks.hot_swap --requests 10000 --clients 16

Two policies, the given one and one with half its final norm, are each asked alone first. Then the
alias is led from one to the other and back, by a deployment and by a rollback in turn, as fast as
the server follows, while clients ask without a pause (every other request is streamed). An answer
fails unless it is whole: status 200, its end, a reason for it, and a version that was deployed.
It differs where its words are not those that its version said alone: under load greedy decoding
may part where two tokens are as likely as each other, and no answer may begin in one model and end
in another.
"""

import argparse
import http.client
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accord.core.assets import resolve_asset
from accord.core.files import hash_path
from accord.promotion.aliases import DIGITS, deploy, roll_back

PROMPTS = [f"What is {number} and {number + 3}?" for number in range(8)]
TOKENS = 16


@dataclass
class Found:
    """What clients met; `answers` by version."""

    requests: int = 0
    swaps: int = 0
    differing: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, prompt: str, *, streams: bool) -> tuple[str, str]:
        """The version that answered, and its words.

        Raises:
            OSError, http.client.HTTPException, ValueError: no whole answer.
        """
        body = {"model": "chat", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0,
                "stream": streams}  # fmt: skip
        status, text = self.send("POST", "/v1/completions", json.dumps(body))
        if status != 200:
            raise ValueError(f"status {status}: {text[:200]}")
        if streams:
            lines = [line for line in text.splitlines() if line]
            if not lines or lines[-1] != "data: [DONE]":
                raise ValueError(f"the stream broke off: {text[-200:]!r}")
            pieces = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        else:
            pieces = [json.loads(text)]
        choices = [choice for piece in pieces for choice in piece["choices"]]
        if not choices or not choices[-1]["finish_reason"]:
            raise ValueError(f"no end: {text[-200:]!r}")
        (version,) = {piece["system_fingerprint"] for piece in pieces}
        return version, "".join(choice["text"] for choice in choices)

    def send(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        """Status and body."""
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def version(self) -> str:
        """Which is served."""
        found: str = json.loads(self.send("GET", "/admin/policies")[1])["models"]["chat"]["version"]
        return found


@contextmanager
def serving(file: Path) -> Iterator[int]:
    """The port of a server that follows a file of aliases."""
    command = [sys.executable, "-m", "accord.cli", "serve", "--aliases", str(file), "--port", "0",
               "--requests_per_minute", "1000000"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/v1", process.stdout.readline())
        if not found:
            raise RuntimeError("the server did not start")
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=60)


def two_policies(model: Path, folder: Path) -> list[Path]:
    """The model, and one that says other words."""
    import torch

    from accord.models.loading import load_policy, load_tokenizer, save_model

    other = load_policy(str(model), device=torch.device("cpu"))
    norm: Any = other.get_submodule("model.norm")
    with torch.no_grad():
        half = norm.weight.shape[0] // 2
        norm.weight[:half] *= 0.5
    save_model(other, load_tokenizer(str(model)), folder / "b")
    shutil.copytree(model, folder / "a")
    return [folder / "a", folder / "b"]


def measure(model: Path, *, requests: int, clients: int) -> Found:
    """Ask so often while the alias goes to and fro."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = folder / "deployed" / "aliases.json"
        a, b = ((path, hash_path(path)) for path in two_policies(model, folder))

        def put(one: tuple[Path, str]) -> None:
            deploy(file, "chat", one[0], sha256=one[1], at=str(time.time()), run=folder)

        put(a)
        with serving(file) as port:
            alone = {a[1][:DIGITS]: _said(port)}
            put(b)
            _wait(port, b[1])
            alone[b[1][:DIGITS]] = _said(port)
            found = Found()
            threads = _start(port, found, alone, requests, clients)
            # To the first by a rollback, to the second by a deployment.
            turns = itertools.cycle([(lambda: roll_back(file), a[1]), (lambda: put(b), b[1])])
            while any(thread.is_alive() for thread in threads):
                turn, expected = next(turns)
                turn()
                _wait(port, expected)
                found.swaps += 1
            for thread in threads:
                thread.join()
    return found


def _said(port: int) -> dict[str, str]:
    with Client(port) as client:
        return {prompt: client.ask(prompt, streams=False)[1] for prompt in PROMPTS}


def _wait(port: int, sha256: str) -> None:
    deadline = time.monotonic() + 120
    with Client(port) as client:
        while client.version() != sha256[:DIGITS]:
            if time.monotonic() > deadline:
                raise RuntimeError("the server does not follow its file")
            time.sleep(0.05)


def _start(
    port: int, found: Found, alone: dict[str, dict[str, str]], requests: int, clients: int
) -> list[threading.Thread]:
    numbers, lock, started = iter(range(requests)), threading.Lock(), time.monotonic()

    def keep_asking() -> None:
        client = Client(port)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                client.connection.close()
                return
            prompt, begun = PROMPTS[number % len(PROMPTS)], time.monotonic()
            version, text, failure = "", "", ""
            try:
                version, text = client.ask(prompt, streams=number % 2 == 1)
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure = f"{type(error).__name__}: {error}"
                client.connection.close()  # the next request opens it again
            with lock:
                found.requests += 1
                found.seconds = time.monotonic() - started
                found.longest_s = max(found.longest_s, time.monotonic() - begun)
                if not failure and version not in alone:
                    failure = f"version {version!r} was never deployed"
                if failure:
                    found.failures.append(failure)
                else:
                    found.answers[version] += 1
                    found.differing += text != alone[version][prompt]

    threads = [threading.Thread(target=keep_asking, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    return threads


def main() -> None:
    """Print what was found; the exit status is 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="accord:base", help="a policy's directory")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    found = measure(
        Path(resolve_asset(options.model)), requests=options.requests, clients=options.clients
    )
    print(
        f"{found.requests} requests in {found.seconds:.0f} s by {options.clients} clients, "
        f"{found.swaps} swaps: {len(found.failures)} failed, {found.differing} differ from what "
        f"their version said alone; by version {dict(found.answers)}; the longest took "
        f"{found.longest_s:.2f} s"
    )
    for failure in found.failures[:5]:
        print(f"  {failure}")
    sys.exit(bool(found.failures))


if __name__ == "__main__":
    main()
