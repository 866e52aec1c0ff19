"""The client over a real connection: it can do all that the API can."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from accord.core.errors import ConfigError, ConflictError, DataError, NotFoundError
from accord.store.access import SCOPES
from accord.web.client import Client, RefusedError
from accord.web.reference import api_routes
from accord.web.services import Services
from web.app_parts import rows


class Served:
    """The app on a free port of loopback; remembers which of its routes were used."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.used: set[tuple[str, str]] = set()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(self._remember, interface="asgi3", log_level="warning")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],))

    async def _remember(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        if scope["type"] == "http" and "route" in scope:
            # The route is its router's, and does not know the prefix.
            self.used.add((scope["method"], "/api/v1" + scope["route"].path))


@pytest.fixture
def served(app: FastAPI) -> Iterator[Served]:
    found = Served(app)
    found.thread.start()
    yield found
    found.server.should_exit = True
    found.thread.join()
    found.socket.close()


def client(served: Served, services: Services, role: str) -> Client:
    return Client(served.url, services.access.issue_token(role, "test", SCOPES)[1])


def test_the_client_does_all_that_the_api_does(served: Served, services: Services) -> None:
    lead, ann = client(served, services, "lead"), client(served, services, "annotator")
    set_up(lead)
    work(ann)
    look_back(lead)
    decide(lead)
    assist(lead, ann, client(served, services, "machine"))
    admit(lead, ann)
    members(lead, ann, services)
    there = {(m, r.path) for r in api_routes(served.app) for m in r.methods or ()}
    api = {(method, path) for method, path in there if path.startswith("/api/v1")}
    assert api and not api - served.used
    assert len(served.used) == len(api)


def set_up(lead: Client) -> None:
    assert lead.create_project("a b", title="Two words")["title"] == "Two words"
    assert lead.change_project("a b", title="Other")["title"] == "Other"
    assert [project["name"] for project in lead.projects()] == ["a b", "chat"]
    assert lead.project("a b")["attributes"] == ["helpful", "harmless", "honest"]
    assert lead.add_guidelines("a b", "Be kind, now.")["version"] == 2
    assert lead.guidelines("a b", 2)["text"] == lead.guidelines("a b")["text"] == "Be kind, now."
    assert lead.add_tasks("a b", rows(3), overlap=1) == {"added": 3, "known": 0}
    assert lead.tasks("a b", text="q1")["total"] == 1
    hook = lead.add_webhook("a b", "https://example.org/", ["tasks.added"])
    assert lead.change_webhook("a b", hook["id"], events=["export.created"])["url"] == hook["url"]
    lead.change_webhook("a b", hook["id"], is_on=False)
    assert [(found["is_on"], found["waiting"]) for found in lead.webhooks("a b")] == [(False, 0)]
    lead.remove_webhook("a b", hook["id"])


def work(ann: Client) -> None:
    lease = ann.lease("a b")
    assert lease is not None
    following = ann.lease("a b", beside=lease["task"]["id"])
    assert following is not None and following["task"]["id"] == "t1"
    ann.release(following)
    ann.release(lease)
    while lease := ann.lease("a b"):
        receipt = ann.submit(lease, {"verdict": "a"}, key=f"key-{lease['task']['id']}")
        assert ann.submit(lease, {"verdict": "a"}, key=receipt["judgement_id"]) == receipt
        with pytest.raises(ConflictError, match="make a new key"):
            ann.submit(lease, {"verdict": "b"}, key=receipt["judgement_id"])
    assert [said["id"] for said in ann.my_judgements()] == ["key-t2", "key-t1", "key-t0"]
    again = ann.undo("key-t2")
    ann.submit(again, {}, action="unsure", time_on_task_s=1.5)
    with pytest.raises(DataError, match="verdict must be"):
        ann.submit(again, {"verdict": "c"})


def look_back(lead: Client) -> None:
    assert lead.progress("a b")["done"] == 3
    assert sorted(said["action"] for said in lead.judgements("a b")) == ["judge", "judge", "unsure"]
    found, digest = lead.export("a b", aggregation="majority")
    assert [row["task_id"] for row in found] == ["t0", "t1"]
    assert lead.judgements_of_export(digest) == ["key-t0", "key-t1"]
    assert lead.erase(judgements=["key-t0"]) == [digest]

    shown = lead.overview("a b")
    assert shown["people"][0]["actions"] == {"judge": 2, "unsure": 1} and shown["cost"] is None
    assert shown["people"][0]["gold"]["value"] is None  # nobody was asked


def decide(lead: Client) -> None:
    lead.add_tasks("chat", rows(20)[19:], overlap=1)
    with pytest.raises(NotFoundError, match="no task"):
        lead.decide("none", "a")
    receipt = lead.decide("t19", "b", key="the-last-word")
    assert lead.decide("t19", "b", key="the-last-word") == receipt
    (said,) = lead.judgements("chat")
    assert said["answer"] == {"verdict": "b", "final": True}


def assist(lead: Client, ann: Client, machine: Client) -> None:
    """A suggestion and a machine's critique, a vote before it and one after."""
    settings = {"show_suggestions": True, "hidden_suggestions": 0, "show_critiques": True}
    lead.create_project("helped", settings={**settings, "hidden_critiques": 0})
    suggestion = {"agent": "policy-7", "answer": {"verdict": "b"}}
    lead.add_tasks("helped", [{**row, "suggestion": suggestion} for row in rows(9)[8:]])
    (wanted,) = machine.uncritiqued("helped")
    assert wanted["responses"] == ["x", "y"] and "columns" not in wanted
    assert machine.give_critique("helped", wanted["id"], "Why?", answer={"verdict": "a"})
    assert not machine.give_critique("helped", wanted["id"], "Why?", answer={"verdict": "a"})
    with pytest.raises(ConflictError, match="it stays"):
        lead.give_critique("helped", wanted["id"], "Else.")
    lease = ann.lease("helped")
    assert lease is not None and lease["suggestion"] == {"verdict": "b"}
    assert "policy-7" not in str(lease)
    first = ann.submit(lease, {"verdict": "b"}, key="before", saw_suggestion=True)
    assert first["critique"] == {"text": "Why?", "answer": {"verdict": "a"}}
    (waiting,) = ann.unrevised("helped")
    assert waiting["judgement_id"] == "before" and waiting["critique"] == first["critique"]
    assert waiting["answer"] == {"verdict": "b"}
    revised = ann.revise("before", {"verdict": "a"}, key="after")
    assert ann.revise("before", {"verdict": "a"}, key="after") == revised
    assert ann.unrevised("helped") == []
    assert ann.my_judgements()[0]["answer"] == {"verdict": "a"}
    assert [row["id"] for row in lead.judgements("helped")] == ["after"]
    firsts, _ = lead.export("helped", what="first_votes")
    assert [(row["id"], row["revised_by"]) for row in firsts] == [("before", "after")]
    found = lead.assistance("helped")
    assert found["suggestions"]["people"][0]["shown"]["hits"] == 1
    assert found["oversight"]["moves"]["towards"]["hits"] == 1
    assert found["oversight"]["gold"] is None


def admit(lead: Client, ann: Client) -> None:
    assert lead.change_project("a b", is_open=False)["is_open"] is False
    with pytest.raises(NotFoundError, match="no project 'a b'"):
        ann.lease("a b")
    lead.add_member("a b", "annotator")
    assert lead.members("a b") == ["annotator"]
    question = {**rows(1)[0], "gold": {"verdict": "b"}, "reason": "Because."}
    (asked,) = lead.ask("a b", [question])
    assert lead.questions("a b") == [asked] and asked["reason"] == "Because."
    assert lead.change_qualification("a b", is_required=True)["pass_share"] == 0.8
    with pytest.raises(ConflictError, match="qualification questions first"):
        ann.lease("a b")
    shown = ann.next_question("a b")
    assert shown["is_required"] and shown["state"] == "not_begun"
    told = ann.answer_question("a b", shown["question"]["id"], {"verdict": "a"})
    assert told == {"is_right": False, "expected": {"verdict": "b"}, "reason": "Because."}
    lead.let_try_again("a b", "annotator")
    lead.let_pass("a b", "annotator")
    (person,) = lead.qualification("a b")["people"]
    assert (person["state"], person["decided_by"]) == ("passed", "lead")
    assert ann.lease("a b") is None
    lead.remove_member("a b", "annotator")
    lead.change_project("a b", is_open=True)


def members(lead: Client, ann: Client, services: Services) -> None:
    assert lead.create_account("new one", "annotator")["link"]
    assert "/join/" in lead.invite("new one")
    assert lead.change_account("new one", is_active=False)["is_active"] is False
    assert len(lead.accounts()) == 5
    assert ann.me()["name"] == "annotator"
    assert ann.describe_me(opted_out=["violence"])["opted_out"] == ["violence"]
    services.passwords.set("annotator", "the first password")
    ann.change_password("the first password", "the second password")
    made = ann.issue_token("short", ["read"], expires_in_s=60)
    assert made["secret"] not in str(ann.tokens())
    ann.revoke_token(made["id"])
    with pytest.raises(RefusedError, match="this is for: lead") as refused:
        ann.accounts()
    assert refused.value.status == 403
    with pytest.raises(NotFoundError, match="no project 'x y'"):
        lead.project("x y")


def test_a_server_that_is_not_there(served: Served) -> None:
    with pytest.raises(RefusedError, match="sign in first"):
        Client(served.url, "nonsense").me()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RefusedError, match="cannot be reached"):
        Client(f"http://127.0.0.1:{port}", "t", timeout_s=5).me()
    with pytest.raises(ConfigError, match="expected http"):
        Client("file:///etc", "t")
    any_client: Any = Client("http://h", "accord_secret")
    assert "accord_secret" not in repr(any_client)
