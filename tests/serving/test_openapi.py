"""The OpenAPI document: what it says is served is served, and what it refuses fails nowhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.core.errors import ModelError
from accord.environments.named import environment_factory
from accord.serving.app import build_app
from accord.serving.apps import App
from accord.serving.keys import Keys
from accord.serving.metrics import server_metrics
from accord.serving.policies import Alias, Policies
from serving.served_parts import LOCAL, scripted

WRONG: list[Any] = [None, True, -1, 1e308, "", "\ud83d", "x" * 2000, [], [[]], {}, [None], {"a": 1}]
"""Put in the place of every field in turn."""

JSON = {"Content-Type": "application/json"}


def load(name: str, model: str) -> Any:
    raise ModelError(f"{model}: no such model")


@pytest.fixture(scope="module")
def client(tiny_model_dir: Path) -> Iterator[TestClient]:
    metrics = server_metrics()
    model = scripted("said", tiny_model_dir, lambda _: "yes", metrics)
    app = App("conversation", environment_factory("conversation"), is_spoken=True)
    policies = Policies({"said": model}, {}, {"chat": Alias.of({"said": 1})}, load, [app])
    gateway = build_app(policies, metrics, keys=Keys({}))
    with TestClient(gateway, base_url=LOCAL, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def posts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Schemas of bodies by path."""
    found = {}
    for path, operations in document["paths"].items():
        if "post" in operations:
            body = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
            found[path] = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    return found


SENT: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/embeddings": {"input": "x"},
    "/v1/score": {"conversations": [[]]},
    "/v1/feedback": {"response_id": "x", "kind": "thumb", "user": "u", "consent": True},
    "/v1/feedback/erase": {"user": "u"},
    "/admin/swap": {"name": "said", "model": "x"},
    "/admin/rollback": {"name": "said"},
    "/admin/aliases": {"name": "other", "arms": {"said": 1}},
}
"""Bodies that are right, but for the model's name."""


def test_every_route_is_described_and_answers(client: TestClient, document: dict[str, Any]) -> None:
    assert set(posts(document)) == set(SENT)
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    gets = {path for method, path in described if method == "GET"}
    assert {"/v1/models", "/v1/models/{name}", "/health", "/ready", "/metrics"} < gets
    for path in gets:
        answer = client.get(path.replace("{name}", "said"))
        assert answer.status_code == 200, path
        told = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert answer.headers["content-type"].partition(";")[0] in told, path
    for path, schema in posts(document).items():
        assert client.get(path).status_code == 405, path
        assert set(schema.get("required", [])) <= {*SENT[path], "model"}, path
    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    names = [o["operationId"] for item in document["paths"].values() for o in item.values()]
    assert len(set(names)) == len(names)


def test_the_names_it_gives_are_served(client: TestClient, document: dict[str, Any]) -> None:
    found = posts(document)
    names = found["/v1/chat/completions"]["properties"]["model"]["examples"]
    assert set(names) == {"said", "chat", "said+conversation", "chat+conversation"}
    assert set(names) == {m["id"] for m in client.get("/v1/models").json()["data"]}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        for name in found[path]["properties"]["model"]["examples"]:
            answer = client.post(path, json={"model": name, **SENT[path]})
            assert answer.status_code == 200, answer.text
    assert client.post("/admin/aliases", json={"name": "new", "arms": {"said": 1}}).is_success
    later = client.get("/openapi.json").json()
    assert "new+conversation" in str(later["components"]["schemas"]["ChatRequest"])


@pytest.mark.parametrize("path", SENT)
def test_nothing_that_is_sent_fails_the_server(
    client: TestClient, document: dict[str, Any], path: str
) -> None:
    """Wrong values of every field, for every name; a refusal has the shape that is described."""
    schema = posts(document)[path]
    assert "4XX" in document["paths"][path]["post"]["responses"]
    told = document["components"]["schemas"]["Told"]["required"]
    names = schema["properties"].get("model", {}).get("examples") or ["said", "none"]
    bodies: list[Any] = [*WRONG]
    for name in (names[0], names[-1]):  # a model, and what it acts in
        right = {"model": name, **SENT[path]} if "model" in schema["properties"] else SENT[path]
        for field in schema["properties"]:
            bodies += [{**right, field: value} for value in WRONG]
            bodies.append({k: v for k, v in right.items() if k != field})
    deep = client.post(path, content='["\\ud800",' * 50_000, headers=JSON)
    assert deep.status_code == 400, deep.text
    statuses = set()
    for body in bodies:
        # Escaped, as half a character has no UTF-8.
        answer = client.post(path, content=json.dumps(body), headers=JSON)
        statuses.add(answer.status_code)
        assert answer.status_code < 500, (body, answer.text)
        if answer.status_code >= 400:
            assert sorted(answer.json()["error"]) == sorted(told), (body, answer.text)
    assert statuses & {400, 404, 422}
    for route in ("/ready", "/v1/models", "/admin/policies", "/openapi.json", "/metrics"):
        assert client.get(route).status_code == 200, route
