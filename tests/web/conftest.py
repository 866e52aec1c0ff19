"""The app over one SQLite file, a clock that goes where it is told, and somebody of each role."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.core.types import Role
from accord.store.access import SCOPES
from accord.store.database import Database
from accord.web.app import build_app
from accord.web.gate import COOKIE, csrf_token
from accord.web.identity import ROLES
from accord.web.services import Services
from web.app_parts import ORIGIN, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(path=tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def app(database: Database, clock: Clock) -> FastAPI:
    built = build_app(database, now=clock, allow_private_webhooks=True)
    for role in ROLES:
        built.state.services.accounts.create(role, role)
    built.state.services.projects.create("chat", text="Be kind.")
    return built


@pytest.fixture
def services(app: FastAPI) -> Services:
    found: Services = app.state.services
    return found


Browser = Callable[[Role | None], TestClient]


@pytest.fixture
def browser(app: FastAPI, services: Services) -> Browser:
    """A browser in which that role's account is signed in; its requests carry all they need."""

    def make(role: Role | None) -> TestClient:
        client = TestClient(
            app, base_url=ORIGIN, headers={"Origin": ORIGIN}, follow_redirects=False
        )
        if role is not None:
            session = services.access.start_session(role)
            client.cookies.set(COOKIE, session)
            client.headers["X-CSRF-Token"] = csrf_token(session)
        return client

    return make


@pytest.fixture
def program(app: FastAPI, services: Services) -> Callable[..., TestClient]:
    """A program with a token of that role's account."""

    def make(role: Role, scopes: Any = SCOPES, **how: Any) -> TestClient:
        _, secret = services.access.issue_token(role, "test", scopes, **how)
        return TestClient(app, headers={"Authorization": f"Bearer {secret}"})

    return make
