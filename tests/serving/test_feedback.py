"""From a response's id to a judgement in the store: at most once, with consent, and erasable."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.environments.chain_of_thought import ChainOfThought
from accord.serving.apps import App
from accord.serving.feedback import Feedback
from accord.serving.metrics import server_metrics
from accord.store.database import Database
from accord.store.judgements import SqlJudgements, Standing
from accord.store.source import StoredPreferences
from serving.served_parts import client_of, scripted


def said(prompt: str, name: str) -> str:
    return "#### 7" if "step by step" in prompt else f"I am {name}"


class Here:
    def __init__(self, client: TestClient, path: Path, clock: list[float]) -> None:
        self.client, self.path, self.clock = client, path, clock

    def answer(self, model: str = "a", *, stream: bool = False) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": "who?"}], "stream": stream}
        answer = self.client.post("/v1/chat/completions", json=body)
        line = answer.text.split("\n\n")[0].removeprefix("data: ") if stream else answer.text
        return str(json.loads(line)["id"])

    def say(self, response_id: str, **said: Any) -> Any:
        body = {"response_id": response_id, "user": "ann", "consent": True, **said}
        return self.client.post("/v1/feedback", json=body)

    def stored(self) -> list[Standing]:
        database = Database.open(path=self.path)
        try:
            return SqlJudgements(database).current("feedback")
        finally:
            database.close()


@pytest.fixture
def here(tiny_model_dir: Path, tmp_path: Path) -> Iterator[Here]:
    metrics, clock = server_metrics(), [1000.0]
    path = tmp_path / "store.db"
    store = StoredPreferences("feedback", str(path), may_be_new=True)
    models = {
        name: scripted(name, tiny_model_dir, lambda prompt, name=name: said(prompt, name), metrics)  # type: ignore[misc]
        for name in ("a", "b")
    }
    feedback = Feedback(store, keep_s=60.0, now=lambda: clock[0])
    apps = [App("cot", ChainOfThought, is_spoken=False)]
    with client_of(models, metrics, feedback=feedback, apps=apps) as client:
        yield Here(client, path, clock)


@pytest.mark.parametrize("stream", [False, True])
def test_a_thumb_is_stored_once(here: Here, stream: bool) -> None:
    name = here.answer(stream=stream)
    first = here.say(name, kind="thumb", up=True)
    assert first.status_code == 200 and first.json()["stored"] is True
    assert here.say(name, kind="thumb", up=True).json() == first.json()
    (standing,) = here.stored()
    assert (standing.annotator, standing.answer) == ("local:ann", {"success": True})
    assert standing.task.responses == ("I am a",)
    assert standing.task.prompt == ({"role": "user", "content": "who?"},)
    assert here.say(name, kind="thumb", up=False).status_code == 409
    assert len(here.stored()) == 1


def test_a_thumb_on_an_apps_answer_keeps_what_was_asked_and_said(here: Here) -> None:
    name = here.answer("a+cot")
    assert here.say(name, kind="thumb", up=True).status_code == 200
    (standing,) = here.stored()
    assert standing.task.prompt == ({"role": "user", "content": "who?"},)
    assert standing.task.responses == ("7",) and standing.task.columns["arm"] == "a+cot"


def test_an_edit_and_a_vote_are_stored(here: Here) -> None:
    a, b = here.answer("a"), here.answer("b")
    assert here.say(a, kind="edit", text="I am Ann's.").status_code == 200
    assert here.say(a, kind="vote", other_id=b, verdict="other").status_code == 200
    by_kind = {s.task.kind: s for s in here.stored()}
    assert by_kind["rewrite"].answer == {"text": "I am Ann's.", "response": 0} or by_kind[
        "rewrite"
    ].answer == {"text": "I am Ann's."}
    vote = by_kind["pairwise"]
    best = vote.task.responses[0 if vote.answer["verdict"] == "a" else 1]  # type: ignore[index]
    assert best == "I am b"


def test_a_vote_between_equal_responses_is_refused(here: Here) -> None:
    first, second = here.answer("a"), here.answer("a")
    assert here.say(first, kind="vote", other_id=second, verdict="this").status_code == 422
    assert here.stored() == []


def test_what_is_remembered_has_a_bound(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accord.serving.feedback.MOST_CHARACTERS", 2 * len("who?I am a"))
    first, second, third = (here.answer() for _ in range(3))
    assert here.say(first, kind="thumb", up=True).status_code == 404
    assert here.say(second, kind="thumb", up=True).status_code == 200
    here.clock[0] += 61
    fourth = here.answer()  # who is too old goes with the next one
    assert here.say(third, kind="thumb", up=True).status_code == 404
    assert here.say(fourth, kind="thumb", up=True).status_code == 200


def test_without_consent_nothing_is_kept(here: Here) -> None:
    assert here.say(here.answer(), kind="thumb", up=True, consent=False).status_code == 422
    assert here.stored() == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (422, {"kind": "thumb"}),
        (422, {"kind": "edit", "text": " "}),
        (422, {"kind": "vote", "verdict": "this"}),
        (422, {"kind": "stars"}),
        (400, {"kind": "thumb", "up": True, "user": "x" * 200}),
        (404, {"kind": "thumb", "up": True, "choice": 3}),
        (404, {"kind": "thumb", "up": True, "response_id": "chatcmpl-none"}),
    ],
)
def test_what_is_no_feedback_is_refused(here: Here, status: int, said: dict[str, Any]) -> None:
    assert here.say(**{"response_id": here.answer(), **said}).status_code == status
    assert here.stored() == []


def test_a_response_is_forgotten_after_its_time(here: Here) -> None:
    name = here.answer()
    here.clock[0] += 61
    assert here.say(name, kind="thumb", up=True).status_code == 404


def test_deleting_a_user_erases_what_he_gave(here: Here) -> None:
    here.say(here.answer(), kind="thumb", up=True)
    database = Database.open(path=here.path)
    try:
        SqlJudgements(database).erase(annotator="local:ann")
    finally:
        database.close()
    assert all(standing.answer is None for standing in here.stored())
