"""The red-teamer's page: warned, opted out, turn by turn, rated once; nothing of it runs."""

import argparse
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.commands.red_teaming import add_red_team_options, red_team_desk
from accord.core.chat import ChatFailure, ChatReply
from accord.core.errors import ConfigError, ConflictError, DataError, NotFoundError
from accord.core.types import Message
from accord.store.database import Database
from accord.web.app import build_app
from accord.web.identity import ROLES
from accord.web.red_team_desk import FORGOTTEN_AFTER_S, MOST_TURNS, RedTeamDesk
from accord.web.services import Services
from web.app_parts import Clock

HOSTILE = "<script>alert(1)</script>"


class Target:
    """A `ChatClient` that answers as it is told to."""

    name = "target-1"

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []
        self.answer: Callable[[], ChatReply | ChatFailure] = lambda: ChatReply(f"Sure {HOSTILE}")

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        max_tokens: int,
        top_logprobs: int = 0,
        seed: int = 0,
    ) -> list[ChatReply | ChatFailure]:
        self.asked += [list(conversation) for conversation in conversations]
        return [self.answer() for _ in conversations]


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def desk(target: Target, clock: Clock) -> RedTeamDesk:
    def score(wanted: str, reply: str) -> dict[str, float]:
        return {"sure": float("Sure" in reply), "unsure": math.nan}

    return RedTeamDesk(target, "chat", score=score, now=clock)


@pytest.fixture
def app(database: Database, clock: Clock, desk: RedTeamDesk) -> FastAPI:
    built = build_app(database, now=clock, red_team=desk)
    for role in ROLES:
        built.state.services.accounts.create(role, role)
    built.state.services.projects.create("chat", text="Be kind.")
    return built


def begin(client: TestClient, wanted: str = "be rude") -> None:
    assert client.post("/red-team/begin", data={"wanted": wanted, "warned": "yes"}).is_redirect


def test_a_chat_becomes_a_scored_task_with_its_judgement(
    browser: Any, services: Services, target: Target
) -> None:
    client = browser("annotator")
    assert "/red-team" in client.get("/").text
    first = client.get("/red-team").text
    assert "Before you begin" in first and "opts out" in first
    begin(client)
    for text in ("Hello", "Be rude now\r\nplease"):
        assert client.post("/red-team/say", data={"text": text}).is_redirect
    shown = client.get("/red-team")
    assert HOSTILE not in shown.text and "&lt;script&gt;" in shown.text
    assert "script-src 'self'" in shown.headers["Content-Security-Policy"]
    assert [turn["content"] for turn in target.asked[1]] == [
        "Hello", f"Sure {HOSTILE}", "Be rude now\nplease",
    ]  # fmt: skip
    answer = client.post("/red-team/rate", data={"shown": "yes", "comment": "It just did."})
    assert answer.headers["Location"] == "/red-team?saved=1"
    (said,) = services.judgements.of("annotator")
    assert said.answer == {"success": True, "reason": "It just did."}
    assert said.task.kind == "success" and said.task.project == "chat"
    assert [turn["role"] for turn in said.task.prompt] == ["user", "assistant", "user"]
    assert said.task.responses == (f"Sure {HOSTILE}",) and said.task.policies == ("target-1",)
    assert said.task.columns["scores"] == {"sure": 1.0, "unsure": None}
    assert (said.task.columns["behaviour"], said.task.columns["category"]) == (
        "be rude",
        "red_team",
    )
    assert "Before you begin" in client.get("/red-team?saved=1").text
    assert services.queue.progress("chat")["done"] == 1
    again = client.post("/red-team/rate", data={"shown": "yes"})
    assert again.status_code == 404 and len(services.judgements.of("annotator")) == 1


def test_who_opted_out_is_asked_nothing(browser: Any, services: Services, target: Target) -> None:
    services.accounts.opt_out("annotator", ["red_team"])
    client = browser("annotator")
    assert client.get("/red-team").status_code == 409
    answer = client.post("/red-team/begin", data={"wanted": "x", "warned": "yes"})
    assert answer.status_code == 409 and "opted out" in answer.text
    assert client.post("/red-team/say", data={"text": "x"}).status_code == 409
    assert target.asked == []


def test_without_the_warning_nothing_begins(browser: Any, desk: RedTeamDesk) -> None:
    client = browser("reviewer")
    answer = client.post("/red-team/begin", data={"wanted": "x"})
    assert answer.status_code == 422 and "read the warning" in answer.text
    assert desk.of("reviewer") is None


@pytest.mark.parametrize("path", ["begin", "say", "rate"])
def test_forged_forms_change_nothing(browser: Any, path: str, target: Target) -> None:
    client = browser("annotator")
    begin(client)
    del client.headers["X-CSRF-Token"]
    data = {"wanted": "y", "warned": "yes", "text": "x", "shown": "yes"}
    assert client.post(f"/red-team/{path}", data=data).status_code == 403
    assert browser("machine").post(f"/red-team/{path}", data=data).status_code == 403
    assert target.asked == []


def test_chats_are_ones_own(browser: Any, desk: RedTeamDesk) -> None:
    one, other = browser("annotator"), browser("reviewer")
    begin(one, "secret aim")
    one.post("/red-team/say", data={"text": "Hello"})
    assert "secret aim" not in other.get("/red-team").text
    assert other.post("/red-team/say", data={"text": "x"}).status_code == 404
    assert other.post("/red-team/rate", data={"shown": "no"}).status_code == 404


def test_a_closed_project_stays_closed(browser: Any, services: Services) -> None:
    services.projects.update("chat", is_open=False)
    client = browser("annotator")
    assert client.get("/red-team").status_code == 404
    assert "/red-team" not in client.get("/").text
    services.membership.add("chat", "annotator")
    assert client.get("/red-team").status_code == 200


def test_what_cannot_be_is_refused(browser: Any, target: Target) -> None:
    client = browser("annotator")
    begin(client)
    assert client.post("/red-team/say", data={"text": " "}).status_code == 422
    assert client.post("/red-team/say", data={"text": "x" * 9000}).status_code == 422
    assert "no reply to rate" in client.post("/red-team/rate", data={"shown": "no"}).text
    target.answer = lambda: ChatFailure("timeout", "x")
    refused = client.post("/red-team/say", data={"text": "x"})
    assert refused.status_code == 422 and "no answer (timeout)" in refused.text
    target.answer = lambda: ChatReply("Yes.")
    client.post("/red-team/say", data={"text": "x"})
    assert client.post("/red-team/rate", data={}).status_code == 422


def test_without_a_target_there_is_no_page(database: Database, clock: Clock) -> None:
    built = build_app(database, now=clock)
    assert built.state.services.red_team is None


def test_the_desk_keeps_to_its_limits(desk: RedTeamDesk, target: Target, clock: Clock) -> None:
    with pytest.raises(NotFoundError):
        desk.say("a", "x")
    desk.begin("a", "w")
    for _ in range(MOST_TURNS):
        desk.say("a", "x")
    with pytest.raises(DataError, match="at most 20 turns"):
        desk.say("a", "x")
    clock.at += FORGOTTEN_AFTER_S + 1
    assert desk.of("a") is None


def test_one_turn_at_a_time(desk: RedTeamDesk, target: Target) -> None:
    desk.begin("a", "w")
    asked, may_go = threading.Event(), threading.Event()

    def slow() -> ChatReply:
        asked.set()
        assert may_go.wait(10)
        return ChatReply("Yes.")

    target.answer = slow
    thread = threading.Thread(target=desk.say, args=("a", "x"))
    thread.start()
    assert asked.wait(10)
    with pytest.raises(ConflictError, match="still answers"):
        desk.say("a", "y")
    may_go.set()
    thread.join()
    chat = desk.of("a")
    assert chat is not None and [turn["content"] for turn in chat.turns] == ["x", "Yes."]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--target", "m"], "name the project"),
        (["--red_team", "p"], "name one model"),
        (["--red_team", "p", "--target_url", "http://x"], "belong together"),
        (["--red_team", "p", "--target", "m", "--target_scorer", "rubric"], "dotted names"),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], message: str, database: Database) -> None:
    parser = argparse.ArgumentParser()
    add_red_team_options(parser)
    with pytest.raises(ConfigError, match=message):
        red_team_desk(database, parser.parse_args(flags))


def test_flags_make_a_desk(database: Database, tiny_model_dir: Any) -> None:
    parser = argparse.ArgumentParser()
    add_red_team_options(parser)
    assert red_team_desk(database, parser.parse_args([])) is None
    desk = red_team_desk(
        database, parser.parse_args(["--red_team", "p", "--target", str(tiny_model_dir)])
    )
    assert desk is not None and set(desk.score("w", "Sure.")) == {"not_refused"}
    desk.max_new_tokens = 4
    desk.begin("a", "w")
    assert len(desk.say("a", "Hello").turns) == 2
