"""The annotation app under load, and the store under kill -9.

    python -m benchmarks.annotation load --seconds 60     # 49 HTTP clients and one Chromium
    python -m benchmarks.annotation kills --count 1000

`load` starts `accord label` on a SQLite file with 4,000 pairs of overlap 3. Annotators think two
seconds in the mean (exponential) between an answer and the next. "Server" is what the server says
of itself (Server-Timing); "lease" and "submit" include the HTTP clients' own wait on the same two
cores; "browser" is from the key that submits to the next task on the page. All of them hold the
next task while they read the one before, as the page does. The clock starts when the server has
answered a first request and Chromium shows its first task.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from accord.core.files import write_jsonl
from accord.core.types import Message, Task
from accord.store.access import SqlAccess
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.web.client import Client
from accord.web.gate import COOKIE

THINKING_S = 2.0
PROJECT = "load"


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["load", "kills"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "load":
            load(Path(folder), options.annotators, options.seconds)
        else:
            acknowledged, lost, is_whole = kills(Path(folder), options.count)
            whole = "whole" if is_whole else "BROKEN"
            print(f"{options.count} kills: {acknowledged} acknowledged, {lost} lost, log {whole}")
            sys.exit(bool(lost) or not is_whole)


def load(folder: Path, annotators: int, seconds: float) -> None:
    """Everybody works for so long; percentiles of the waits."""
    rows = [
        {"prompt": f"Question {n}: how does one bake bread?", "responses": [f"Mix. {n}", "Buy."]}
        for n in range(4000)
    ]
    write_jsonl(folder / "tasks.jsonl", rows)
    command = [sys.executable, "-m", "accord.cli", "label", "--port", "0", "--project", PROJECT]
    command += ["--tasks", str(folder / "tasks.jsonl"), "--database", str(folder / "store.db")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout
            found = None
            while found is None:
                found = re.search(r"(http://127.0.0.1:\d+)/join/", server.stdout.readline())
            urllib.request.urlopen(f"{found[1]}/login").close()
            _work(folder, found[1], annotators, seconds)
        finally:
            server.terminate()


def _work(folder: Path, url: str, annotators: int, seconds: float) -> None:
    database = Database.open(path=folder / "store.db")
    accounts, access = SqlAccounts(database), SqlAccess(database)
    names = [f"annotator-{n}" for n in range(annotators)]
    for name in names:
        accounts.create(name, "annotator")
    waits: dict[str, list[float]] = {"lease": [], "submit": [], "server": [], "browser": []}
    clients = [
        Timed(url, access.issue_token(name, "load", ["annotate"])[1], waits) for name in names[1:]
    ]
    with _page(url, access.start_session(names[0])) as page:
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_annotate, args=(client, seed, end, waits))
            for seed, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        waits["browser"] += _browse(page, end)
        for thread in threads:
            thread.join()
    done = SqlTaskQueue(database).progress(PROJECT)["done"]
    database.close()
    print(
        f"{annotators} annotators, {seconds:.0f} s: {done} judgements, "
        f"{done / seconds:.1f} a second"
    )
    for name, told in waits.items():
        if told:
            p50, p95, p99 = 1e3 * np.quantile(told, [0.5, 0.95, 0.99])
            print(f"{name:8} p50 {p50:6.1f}  p95 {p95:6.1f}  p99 {p99:6.1f} ms  of {len(told)}")


class Timed(Client):
    """A client that notes what the server says it took."""

    def __init__(self, url: str, token: str, waits: dict[str, list[float]]) -> None:
        super().__init__(url, token)
        opened = self._opener.open

        def open_(request: urllib.request.Request, **how: Any) -> Any:
            answer = opened(request, **how)
            told = re.search(r"dur=([\d.]+)", answer.headers.get("Server-Timing", ""))
            if told:
                waits["server"].append(float(told[1]) / 1e3)
            return answer

        self._opener.open = open_  # type: ignore[method-assign]


def _annotate(client: Timed, seed: int, end: float, waits: dict[str, list[float]]) -> None:
    draw = random.Random(seed)
    time.sleep(draw.random() * THINKING_S)

    def timed(name: str, ask: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        answer = ask()
        waits[name].append(time.perf_counter() - began)
        return answer

    lease = timed("lease", lambda: client.lease(PROJECT))
    while lease is not None and time.monotonic() < end:
        beside = lease["task"]["id"]
        ahead = timed("lease", lambda beside=beside: client.lease(PROJECT, beside=beside))
        time.sleep(draw.expovariate(1 / THINKING_S))
        answer = {"verdict": draw.choice("ab")}
        timed(
            "submit",
            lambda lease=lease, said=answer: client.submit(lease, said, time_on_task_s=1.0),
        )
        lease = ahead or timed("lease", lambda: client.lease(PROJECT))


@contextlib.contextmanager
def _page(url: str, session: str) -> Iterator[Any]:
    """The labelling page in Chromium, which notes how long each next task took."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("ACCORD_TEST_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context()
        context.add_cookies([{"name": COOKIE, "value": session, "url": url}])
        page = context.new_page()
        page.goto(f"{url}/label?project={PROJECT}")
        page.evaluate(
            """() => { window.waits = []; let sent = 0;
            const isSubmit = (event) => event.key === "Enter";
            const note = (event) => { if (isSubmit(event)) sent = performance.now(); };
            document.addEventListener("keydown", note, true);
            document.addEventListener("htmx:afterSettle", (event) => {
                if (event.target.id === "task") window.waits.push(performance.now() - sent);
            }); }"""
        )
        yield page
        browser.close()


def _browse(page: Any, end: float) -> list[float]:
    """Answer by keys until the end; seconds from each answer to the next task."""
    draw = random.Random(0)
    while time.monotonic() < end:
        page.wait_for_timeout(1000 * draw.expovariate(1 / THINKING_S))
        page.keyboard.press("1")
        page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    return [ms / 1e3 for ms in page.evaluate("window.waits")]


WORKER = """
    import sys, uuid
    from pathlib import Path
    from accord.core.types import Submission
    from accord.store.database import Database
    from accord.store.queue import SqlTaskQueue

    queue = SqlTaskQueue(Database.open(path=Path(sys.argv[1])), lease_s=0.01)
    while lease := queue.lease("ann"):
        key = uuid.uuid4().hex
        queue.submit(lease, Submission(key, {"verdict": "a"}))
        print(key, flush=True)
"""


def kills(folder: Path, count: int) -> tuple[int, int, bool]:
    """Processes killed at random points while they work on one file.

    Returns:
        judgements that were acknowledged, how many of them are lost, and whether the log is whole.
    """
    path = folder / "store.db"
    database = Database.open(path=path)
    queue = SqlTaskQueue(database)
    queue.register("ann")
    prompt = (Message(role="user", content="q"),)
    queue.add([Task(str(n), "p", "pairwise", prompt, ("x", "y")) for n in range(60 * count)])
    draw = random.Random(0)
    acknowledged: set[str] = set()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(path)]
    for _ in range(count):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as worker:
            assert worker.stdout
            told = [worker.stdout.readline().strip()]
            time.sleep(draw.random() * 0.15)
            worker.kill()
            told += worker.stdout.read().split("\n")[:-1]
            # A line that the kill cut short was not acknowledged.
            acknowledged |= {key for key in told if len(key) == 32}
    log = SqlJudgements(database)
    lost = acknowledged - {standing.id for standing in log.current()}
    is_whole = log.is_whole()
    database.close()
    return len(acknowledged), len(lost), is_whole


if __name__ == "__main__":
    main()
