"""Webhooks: signed, told again also after a crash, and never inside this network uninvited."""

import contextlib
import http.client
import http.server
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.core.errors import DataError
from accord.store.database import Database
from accord.store.rows import tasks_of_rows
from accord.store.webhooks import EVENTS, Webhook
from accord.web import deliveries
from accord.web.client import Client
from accord.web.deliveries import Deliveries, signature
from accord.web.services import Services
from web.app_parts import Clock, rows


class Seen(NamedTuple):
    path: str
    signature: str
    body: bytes
    status: int


class Receiver(http.server.HTTPServer):
    """Sees messages; refuses the first `refusals` of them, and tells when it took `wanted`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        self.refusals, self.wanted = 0, 1
        self.has_refused, self.has_taken = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/in?x=1"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_refused = self.server.refusals > 0
        self.server.refusals -= is_refused
        status = 503 if is_refused else 204
        self.server.seen.append(Seen(self.path, self.headers["Accord-Signature"], body, status))
        self.send_response(status)
        self.end_headers()
        if is_refused:
            self.server.has_refused.set()
        elif sum(seen.status == 204 for seen in self.server.seen) >= self.server.wanted:
            self.server.has_taken.set()

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
    services: Services, program: Any, receiver: Receiver, clock: Clock
) -> None:
    hook = services.webhooks.add("chat", receiver.url, ["tasks.added"])
    services.webhooks.add("chat", receiver.url, ["judgement.created"])
    receiver.refusals = 2
    program("lead").post("/api/v1/projects/chat/tasks", json={"rows": rows(2)})
    waits = []
    for _ in range(3):
        services.deliveries.tell_due()
        (failing, _) = services.webhooks.of("chat")
        waits.append(failing.next_try_at - clock.at)
        clock.at = max(clock.at, failing.next_try_at)
    assert waits[:2] == [1.0, 5.0]
    first, second, taken = receiver.seen
    told = json.loads(taken.body)
    assert (taken.path, told["event"], told["project"]) == ("/in?x=1", "tasks.added", "chat")
    assert told["data"] == {"added": 2} and told["created_at"] == clock.at - 6
    assert {json.loads(seen.body)["id"] for seen in (first, second)} == {told["id"]}
    assert taken.signature == f"t=1000006,v1={signature(hook.secret, 1_000_006, taken.body)}"
    assert services.deliveries.tell_due() == 0 and len(receiver.seen) == 3


def test_what_is_said_on_the_pages_is_told_by_the_server_s_thread(
    app: FastAPI, services: Services, browser: Any, program: Any, receiver: Receiver
) -> None:
    services.webhooks.add("chat", receiver.url, ["judgement.created"])
    program("lead").post("/api/v1/projects/chat/tasks", json={"rows": rows(1)})
    client = browser("annotator")
    html = client.get("/label", params={"project": "chat"}).text
    form = html.split('id="judgement"', 1)[1]
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    with TestClient(app):  # with its thread
        assert client.post("/label/judgements", data={**fields, "choice": "A1"}).is_redirect
        assert receiver.has_taken.wait(30)
    (seen,) = receiver.seen
    told = json.loads(seen.body)["data"]
    assert (told["judgement_id"], told["annotator"]) == (fields["key"], "annotator")


SERVER = """
    import sys
    from pathlib import Path
    import uvicorn
    from accord.store.database import Database
    from accord.web.app import build_app

    app = build_app(Database.open(path=Path(sys.argv[1])), allow_private_webhooks=True)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    started = server.startup

    async def startup(sockets=None):
        await started(sockets)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)

    server.startup = startup
    server.run()
"""


def test_events_outlive_a_killed_server(
    database: Database, services: Services, receiver: Receiver, tmp_path: Path
) -> None:
    """Killed between the event and its delivery; the next server delivers, under the same id."""
    command = [sys.executable, "-c", textwrap.dedent(SERVER), str(tmp_path / "store.db")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    services.webhooks.add("chat", receiver.url, ["judgement.created"])
    services.accounts.create("ann", "annotator")
    _, secret = services.access.issue_token("ann", "t", ["annotate"])
    services.queue.add(tasks_of_rows(rows(3), project="chat", kind="pairwise", overlap=1))
    receiver.refusals = 10**6
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout
        client = Client(f"http://127.0.0.1:{int(server.stdout.readline())}", secret)
        said = []
        while lease := client.lease("chat"):
            said.append(client.submit(lease, {"verdict": "a"})["judgement_id"])
        assert receiver.has_refused.wait(30)
        server.kill()
    refused = [json.loads(seen.body)["id"] for seen in receiver.seen]
    assert len(set(refused)) == 1  # nothing overtakes the first
    receiver.refusals, receiver.wanted = 0, 3
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert receiver.has_taken.wait(60)
        server.terminate()
    taken = [json.loads(seen.body) for seen in receiver.seen if seen.status == 204]
    assert [told["data"]["judgement_id"] for told in taken] == said and len(said) == 3
    assert taken[0]["id"] == refused[0] and len({told["id"] for told in taken}) == 3


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "0.0.0.0",
     "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "[fe80::1]", "224.0.0.1", "100.64.0.1"],
)  # fmt: skip
def test_addresses_inside_are_not_told(services: Services, host: str) -> None:
    outside = Deliveries(services.webhooks)
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
        Deliveries(services.webhooks).post(hook, b"{}")
    assert lookups == ["hooks.example"]


def test_a_slow_one_has_its_turn_and_no_more(
    services: Services, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here every answer takes a turn's time: each webhook takes one message, then the other."""
    hooks = [services.webhooks.add("chat", receiver.url, ["tasks.added"]) for _ in range(2)]
    for row in rows(2):
        services.queue.add(tasks_of_rows([row], project="chat", kind="pairwise", overlap=1))
    seconds = itertools.count(step=deliveries._TURN_S)
    monkeypatch.setattr(deliveries.time, "monotonic", lambda: next(seconds) / 2)
    told: list[int] = []
    monkeypatch.setattr(services.deliveries, "post", lambda hook, _: told.append(hook.id) or 200)
    assert services.deliveries.tell_due() == services.deliveries.tell_due() == 2
    assert told == 2 * [hook.id for hook in hooks]


def test_what_nobody_takes_is_switched_off_where_a_lead_sees_it(
    services: Services,
    receiver: Receiver,
    clock: Clock,
    browser: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.refusals = 99
    hook = services.webhooks.add("chat", receiver.url, ["tasks.added"])
    services.queue.add(tasks_of_rows(rows(1), project="chat", kind="pairwise", overlap=1))
    lead = browser("lead")
    services.deliveries.tell_due()
    html = lead.get("/lead/project", params={"name": "chat"}).text
    assert "1 event waits; 1 try in a row failed, the next is 1970-01-12 13:46:41 UTC" in html
    while services.webhooks.of("chat")[0].is_on:
        clock.at += 3600
        services.deliveries.tell_due()
    assert "switched off: answered 503" in caplog.text and hook.secret not in caplog.text
    (listed,) = lead.get("/api/v1/projects/chat/webhooks").json()
    assert (listed["is_on"], listed["waiting"], listed["last_error"]) == (False, 1, "answered 503")
    html = lead.get("/lead/project", params={"name": "chat"}).text
    assert ">off<" in html and "answered 503" in html and hook.secret not in html
    assert ">off<" not in browser("reviewer").get("/lead/project", params={"name": "chat"}).text
    receiver.refusals = 0
    asked = dict(
        re.findall(r'name="(csrf|name|webhook)" value="([^"]*)"', html[html.index("Webhooks") :])
    )
    assert lead.post("/lead/project/webhook", data={**asked, "change": "on"}).is_redirect
    assert services.deliveries.tell_due() == 1
    assert services.webhooks.of("chat")[0].last_error is None


def test_who_answers_a_byte_at_a_time_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.web.deliveries._TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            one, _ = listening.accept()
            with one, contextlib.suppress(OSError):
                while True:
                    one.sendall(b"H")
                    time.sleep(0.1)

        dripping = threading.Thread(target=drip)
        dripping.start()
        hook = Webhook(1, "p", f"http://127.0.0.1:{listening.getsockname()[1]}/", (), 0.0, "s")
        with pytest.raises((OSError, http.client.HTTPException)):
            Deliveries(None, allow_private=True).post(hook, b"{}")  # type: ignore[arg-type]
        dripping.join()
