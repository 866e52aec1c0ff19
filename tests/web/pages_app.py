"""The app with one annotator signed in, and tasks of every kind for her."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from accord.core.errors import ConflictError
from accord.core.types import Message, Role, Task, TaskKind
from accord.store.database import Database
from accord.web.app import build_app


def build(
    database: Database,
    *,
    who: str = "ann",
    role: Role = "annotator",
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """The app, with an account for one person and a project."""
    app = build_app(database, now=now)
    app.state.services.accounts.create(who, role)
    app.state.services.projects.create("demo", text="Be **fair** <script>alert(1)</script>")
    return app


def put_up(app: FastAPI, tasks: Sequence[Task]) -> None:
    """Tasks in their projects, made where they are not there."""
    for project in {task.project for task in tasks}:
        with suppress(ConflictError):
            app.state.services.projects.create(project, text="Be fair.")
    app.state.services.queue.add(tasks)


def task(
    kind: TaskKind = "pairwise",
    responses: tuple[str, ...] = ("first response", "second response"),
    *,
    name: str = "t1",
    project: str = "demo",
    prompt: tuple[str, ...] = ("What is **two** and two?",),
) -> Task:
    turns = tuple(
        Message(role=("user", "assistant")[n % 2], content=text) for n, text in enumerate(prompt)
    )
    policies = tuple(f"policy-{n}" for n in range(len(responses)))
    return Task(name, project, kind, turns, responses, policies)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a free port of this machine; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
