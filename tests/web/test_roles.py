"""Who may do what: a matrix made from the router, so that no new route can be forgotten."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from accord.core.types import Role
from accord.store.access import SCOPES
from accord.web.identity import ROLES
from accord.web.reference import api_routes, declared

PUBLIC = {
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/join/{secret}"),
    ("POST", "/join/{secret}"),
}


def test_every_route_says_whom_it_is_for(app: FastAPI) -> None:
    found = {(m, r.path): declared(r, "roles") for r in api_routes(app) for m in r.methods}
    assert {place for place, roles in found.items() if not roles} == PUBLIC
    assert len(found) > 30
    for route in iter_route_contexts(app.routes):
        inner = route.original_route
        is_static = isinstance(inner, Mount) and isinstance(inner.app, StaticFiles)
        assert isinstance(inner, APIRoute) or is_static


def test_every_route_of_the_api_names_a_scope(app: FastAPI) -> None:
    routes = [route for route in api_routes(app) if route.path.startswith("/api/v1")]
    assert routes and all(declared(route, "scope") in SCOPES for route in routes)
    for route in routes:
        is_reading = route.methods == {"GET"}
        assert not is_reading or declared(route, "scope") in ("read", "manage"), route.path
        assert is_reading or declared(route, "scope") in ("annotate", "manage"), route.path


def test_who_may_use_the_api(app: FastAPI) -> None:
    """Written out once more: who reads others' judgements, and what only leads do."""
    places: dict[tuple[str, ...], set[str]] = {}
    for route in api_routes(app):
        (method, *_) = sorted(route.methods)
        if route.path.startswith("/api/v1"):
            place = f"{method} {route.path.removeprefix('/api/v1')}"
            places.setdefault(declared(route, "roles"), set()).add(place)
    assert set(places) == {("lead",), ("lead", "reviewer"), ("lead", "machine"), ROLES}
    assert places["lead", "reviewer"] == {
        "GET /projects/{name}/overview",
        "POST /decisions",
        "GET /exports/{sha256}",
        "GET /projects/{name}/assistance",
        "GET /projects/{name}/judgements",
        "GET /projects/{name}/members",
        "GET /projects/{name}/qualification",
        "GET /projects/{name}/qualification/questions",
        "GET /projects/{name}/tasks",
    }
    assert places["lead", "machine"] == {
        "GET /projects/{name}/uncritiqued",
        "POST /projects/{name}/critiques",
    }
    assert places[ROLES] == {
        "DELETE /tokens/{token_id}",
        "GET /judgements/mine",
        "GET /me",
        "GET /projects",
        "GET /projects/{name}",
        "GET /projects/{name}/guidelines",
        "GET /projects/{name}/progress",
        "GET /projects/{name}/unrevised",
        "GET /projects/{name}/qualify",
        "GET /tokens",
        "PATCH /me",
        "POST /judgements",
        "POST /judgements/{judgement_id}/revise",
        "POST /judgements/{judgement_id}/undo",
        "POST /me/password",
        "POST /projects/{name}/lease",
        "POST /projects/{name}/qualify",
        "POST /release",
        "POST /tokens",
    }


@pytest.mark.parametrize("role", [None, *ROLES])
def test_roles_by_routes(app: FastAPI, browser: Any, role: Role | None) -> None:
    """401 without an account, 403 with the wrong one, and neither with a right one."""
    for route in api_routes(app):
        roles = declared(route, "roles")
        for method in sorted(route.methods):
            if roles is None:
                continue
            client: TestClient = browser(role)
            path = route.path
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", "9").replace(f"{{{name}:path}}", "9")
            answer = client.request(method, path, json=None if method == "GET" else {})
            place = f"{method} {path} as {role}: {answer.status_code} {answer.text[:100]}"
            if role is None and not path.startswith("/api/") and method == "GET":
                assert answer.headers["Location"].startswith("/login?next="), place
            elif role is None:
                assert answer.status_code == 401, place
            elif role not in roles:
                assert answer.status_code == 403, place
            else:
                assert answer.status_code not in (401, 403), place


@pytest.mark.parametrize("scope", SCOPES)
def test_scopes_by_routes(app: FastAPI, program: Any, scope: str) -> None:
    """A lead's token does only what its scope says."""
    client: TestClient = program("lead", [scope])
    for route in api_routes(app):
        needed = declared(route, "scope")
        if needed is None:
            continue
        path = route.path.replace("{name:path}", "x")
        for name in route.param_convertors:
            path = path.replace(f"{{{name}}}", "9")
        (method,) = route.methods
        answer = client.request(method, path, json=None if method == "GET" else {})
        assert (answer.status_code == 403) == (needed != scope), f"{method} {path} with {scope}"
