"""A small app around the pages, as the real one is: an identity, a CSRF token, a strict CSP."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request, Response

from accord.core.types import Message, Task, TaskKind
from accord.store.database import Database
from accord.store.queue import SqlTaskQueue
from accord.web import pages
from accord.web.identity import Identity, Role

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CSRF = "token-of-the-session"


def build(database: Database, *, who: str = "ann", role: Role = "annotator") -> FastAPI:
    """The pages for one person who is signed in; posts without the token are refused."""
    app = FastAPI()
    app.state.database = database

    @app.middleware("http")
    async def around(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.identity = Identity(who, role)
        request.state.csrf = CSRF
        response = await go_on(request)
        response.headers["Content-Security-Policy"] = CSP
        return response

    app.include_router(pages.router)
    app.mount("/static", pages.assets)
    SqlTaskQueue(database).register(who)
    return app


def task(
    kind: TaskKind = "pairwise",
    responses: tuple[str, ...] = ("first response", "second response"),
    *,
    name: str = "t1",
    project: str = "demo",
    prompt: tuple[str, ...] = ("What is **two** and two?",),
) -> Task:
    turns = tuple(
        Message(role=("user", "assistant")[n % 2], content=text)
        for n, text in enumerate(prompt)
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
