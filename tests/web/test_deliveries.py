"""Webhooks: signed, told again, and never told inside this network unless that is allowed."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.store.projects import EVENTS, Webhook
from accord.web import deliveries
from accord.web.deliveries import Deliveries, signature
from accord.web.services import Services
from web.app_parts import rows


class Receiver(http.server.HTTPServer):
    """Takes messages; refuses the first `refusals` of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken: list[tuple[str, str, bytes]] = []
        self.refusals = 0
        self.was_told = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/in?x=1"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_refused = self.server.refusals > 0
        self.server.refusals -= is_refused
        self.send_response(503 if is_refused else 204)
        self.end_headers()
        if not is_refused:
            self.server.taken.append((self.path, self.headers["Accord-Signature"], body))
            self.server.was_told.set()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_signatures_as_others_compute_them() -> None:
    """printf '7.{}' | openssl dgst -sha256 -hmac key"""
    expected = "77bc83bd1f40422311e47918b203449aecf84b02c1568bb1b570ac2a474cc2d8"
    assert signature("key", 7, b"{}") == expected


def test_an_event_is_told_signed_and_again(
    services: Services, program: Any, receiver: Receiver
) -> None:
    hook = services.projects.add_webhook("chat", receiver.url, ["tasks.added"])
    services.projects.add_webhook("chat", receiver.url, ["judgement.created"])
    receiver.refusals = 2
    pauses: list[float] = []
    services.deliveries.sleep = pauses.append
    with program("lead") as client:  # with its thread
        client.post("/api/v1/projects/chat/tasks", json={"rows": rows(2)})
        assert receiver.was_told.wait(30)
    ((path, signed, body),) = receiver.taken
    told = json.loads(body)
    assert (path, told["event"], told["project"]) == ("/in?x=1", "tasks.added", "chat")
    assert told["data"] == {"added": 2} and len(told["id"]) == 32
    assert signed == f"t=1000000,v1={signature(hook.secret, 1_000_000, body)}"
    assert pauses == [1.0, 5.0]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "0.0.0.0",
     "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "[fe80::1]", "224.0.0.1", "100.64.0.1"],
)  # fmt: skip
def test_addresses_inside_are_not_told(services: Services, host: str) -> None:
    outside = Deliveries(services.projects)
    hook = Webhook(1, "chat", f"http://{host}:9/", EVENTS, 0.0, "secret")
    with pytest.raises(DataError, match="lies inside this network"):
        outside.post(hook, b"{}")


def test_a_name_is_looked_up_once(
    services: Services, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it leads is checked, and there the message goes, whatever the name leads to next."""
    lookups: list[str] = []
    port = receiver.server_address[1]

    def lookup(host: str, *_: Any, **__: Any) -> Any:
        lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(deliveries.socket, "getaddrinfo", lookup)
    hook = Webhook(1, "chat", f"http://hooks.example:{port}/", EVENTS, 0.0, "secret")
    with pytest.raises(DataError, match="hooks.example lies inside"):
        Deliveries(services.projects).post(hook, b"{}")
    assert lookups == ["hooks.example"]


def test_what_nobody_takes_is_given_up(
    services: Services, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.refusals = 99
    hook = services.projects.add_webhook("chat", receiver.url, ["tasks.added"])
    pauses: list[float] = []
    told = Deliveries(services.projects, allow_private=True, sleep=pauses.append)
    told.tell("chat", "tasks.added", {})
    told.stop()
    told._work()
    assert pauses == [1.0, 5.0, 30.0] and receiver.taken == []
    assert "given up: answered 503" in caplog.text and hook.secret not in caplog.text
