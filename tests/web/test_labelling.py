"""The annotator's pages through HTTP: every task kind, in every order, from form to database."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.core.types import Task, TaskKind
from accord.store.database import Database
from accord.store.display import display_seed, shown_order
from accord.store.judgements import SqlJudgements
from accord.store.queue import LEASE_S
from accord.web.gate import COOKIE
from web.app_parts import ORIGIN, Clock
from web.pages_app import build, put_up, task

PART = {"HX-Request": "true"}


@pytest.fixture
def database(tmp_path: Path) -> Any:
    opened = Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def app(database: Database, clock: Clock) -> FastAPI:
    return build(database, now=clock)


@pytest.fixture
def client(app: FastAPI) -> Any:
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}) as client:
        client.cookies.set(COOKIE, app.state.services.access.start_session("ann"))
        yield client


def hidden_fields(html: str) -> dict[str, str]:
    form = html.split('id="judgement"', 1)[1]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)
    return dict(found)


def show(client: TestClient) -> dict[str, str]:
    answer = client.get("/label", params={"project": "demo"})
    assert answer.status_code == 200, answer.text
    return hidden_fields(answer.text)


def name_with_order(order: tuple[int, ...]) -> str:
    """A task's name under which ann sees its responses in this order."""
    for number in range(1000):
        name = f"t{number}"
        like = task("ranking", tuple(map(str, range(len(order)))), name=name)
        if shown_order(like, display_seed(name, "ann")) == order:
            return name
    raise AssertionError(order)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    ("kind", "fields", "by_place"),
    [
        ("pairwise", {"choice": "A4"}, lambda r: {"verdict": "ab"[r[0]], "strength": 4}),
        ("pairwise", {"choice": "B1"}, lambda r: {"verdict": "ab"[r[1]], "strength": 1}),
        ("pairwise", {"choice": "tie"}, lambda r: {"verdict": "tie"}),
        ("pairwise", {"choice": "both_bad"}, lambda r: {"verdict": "both_bad"}),
        ("ranking", {"rank_0": "2", "rank_1": "1"}, lambda r: {"ranks": [2, 1][:: 1 - 2 * r[0]]}),
        (
            "likert",
            {"rating_0_0": "7", "rating_1_1": "2"},
            lambda r: {
                "ratings": {
                    "helpful": [7, None][:: 1 - 2 * r[0]],
                    "harmless": [None, 2][:: 1 - 2 * r[0]],
                    "honest": [None, None],
                }
            },
        ),
        (
            "rewrite",
            {"response": "1", "text": "one\r\ntwo"},
            lambda r: {"text": "one\ntwo", "response": r[1]},
        ),
        ("critique", {"text": "terse"}, lambda r: {"text": "terse", "response": r[0]}),
        ("success", {"success": "yes"}, lambda r: {"success": True}),
    ],
)
def test_what_is_said_of_a_place_is_stored_of_its_response(
    client: TestClient,
    app: FastAPI,
    database: Database,
    kind: TaskKind,
    fields: dict[str, str],
    by_place: Any,
    order: tuple[int, ...],
) -> None:
    put_up(app, [task(kind, name=name_with_order(order))])
    posted = {**show(client), **fields, "time_on_task_s": "2.5"}
    done = client.post("/label/judgements", data=posted, headers=PART)
    assert done.status_code == 200, done.text
    assert "Saved (no. 1)." in done.text and "Nothing left to do here" in done.text
    (standing,) = SqlJudgements(database).current()
    assert standing.answer == by_place(order)
    assert (standing.order, standing.time_on_task_s, standing.guideline_version) == (order, 2.5, 1)


def test_without_a_script_the_next_task_is_a_redirect_away(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task(project="a b&c")])
    html = client.get("/label", params={"project": "a b&c"}).text
    done = client.post(
        "/label/judgements", data={**hidden_fields(html), "choice": "tie"}, follow_redirects=False
    )
    assert (done.status_code, done.headers["location"]) == (303, "/label?project=a%20b%26c")
    assert "Nothing left" in client.get(done.headers["location"]).text


@pytest.mark.parametrize("action", ["skip", "flag", "unsure"])
def test_skip_flag_and_unsure_are_different_things(
    client: TestClient, app: FastAPI, database: Database, action: str
) -> None:
    put_up(app, [task()])
    said = {"action": action, f"{action}_reason": "why", "skip_text": "x", "choice": "A1"}
    done = client.post("/label/judgements", data={**show(client), **said}, headers=PART)
    assert done.status_code == 200
    (standing,) = SqlJudgements(database).current()
    more = {"text": "x"} if action == "skip" else {}
    assert (standing.action, standing.answer) == (action, {"reason": "why", **more})


def test_a_retry_stores_one_and_another_answer_under_its_key_is_refused(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task()])
    posted = {**show(client), "choice": "A1"}
    for _ in range(2):
        assert client.post("/label/judgements", data=posted, headers=PART).status_code == 200
    other = client.post("/label/judgements", data={**posted, "choice": "B1"}, headers=PART)
    assert other.status_code == 409
    assert other.headers["HX-Retarget"] == "#message"  # the form stays as it is
    assert "Not saved" in other.text
    assert len(SqlJudgements(database).current()) == 1


def test_the_next_card_is_held_and_given_back(
    client: TestClient, app: FastAPI, database: Database, clock: Clock
) -> None:
    put_up(app, [task(name=f"t{n}") for n in range(3)])
    held, queue = show(client), app.state.services.queue
    asked = {"project": "demo", "beside": "t0", "seen": "1"}
    clock.at += 100
    found = client.get("/label/ahead", params=asked, headers=PART)
    following = hidden_fields(found.text)
    assert (held["task"], following["task"], found.headers["Accord-Held-S"]) == ("t0", "t1", "3600")
    assert "version 1" not in found.text and "<html" not in found.text
    assert queue.progress("demo")["leased"] == 2
    newer = client.get("/label/ahead", params={**asked, "seen": "0"}, headers=PART).text
    assert "version 1" in newer and hidden_fields(newer)["task"] == "t1"
    done = client.post(
        "/label/judgements", data={**held, "choice": "tie", "stay": "1"}, headers=PART
    )
    assert "Saved (no. 1)." in done.text and "judgement" not in done.text
    assert queue.progress("demo")["leased"] == 1
    app.state.services.accounts.create("ben", "annotator")
    forged = {**following, "task": "t2"}
    assert client.post("/label/release", data=forged, headers=PART).status_code == 422
    assert client.post("/label/release", data=following, headers=PART).status_code == 204
    assert queue.lease("ben").task.id == "t1"
    assert show(client)["task"] == "t2"
    nothing = client.get("/label/ahead", params={**asked, "beside": "t2"}, headers=PART)
    assert (nothing.status_code, nothing.text) == (204, "")
    missing = client.get("/label/ahead", params={**asked, "project": "none"}, headers=PART)
    assert missing.status_code == 404


def test_a_display_of_its_own_has_a_key_of_its_own(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task()])
    assert show(client)["key"] != show(client)["key"]


def test_work_after_the_lease_ran_out_is_kept_and_said_to_be_surplus(
    client: TestClient, app: FastAPI, database: Database, clock: Clock
) -> None:
    put_up(app, [task()])
    app.state.services.accounts.create("ben", "annotator")
    late = {**show(client), "choice": "A1"}
    clock.at += LEASE_S + 1
    assert app.state.services.queue.lease("ben") is not None
    done = client.post("/label/judgements", data=late, headers=PART)
    assert "kept beside theirs" in done.text
    (standing,) = SqlJudgements(database).current()
    assert standing.is_surplus


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("pairwise", {"choice": "B3", "comment": "<b>because</b>"}),
        ("ranking", {"rank_0": "2", "rank_1": "1"}),
        ("likert", {"rating_0_0": "7", "rating_2_1": "1"}),
        ("rewrite", {"response": "1", "text": "\nbetter"}),
        ("critique", {"response": "1", "text": "too </textarea><script>"}),
        ("success", {"success": "no"}),
    ],
)
def test_undo_shows_the_task_again_as_it_was_answered(
    client: TestClient, app: FastAPI, database: Database, kind: TaskKind, answer: dict[str, str]
) -> None:
    put_up(app, [task(kind), task(name="t2")])
    client.post("/label/judgements", data={**show(client), **answer}, headers=PART)
    listed = client.get("/label/last", params={"project": "demo"}, headers=PART).text
    asked = dict(re.findall(r'name="(csrf|judgement|key)" value="(\w+)"', listed))
    undone = client.post("/label/undo", data=asked, headers=PART)
    assert "Taken back" in undone.text
    assert hidden_fields(undone.text)["task"] == "t1"
    assert filled(undone.text) == answer
    assert SqlJudgements(database).current() == []
    again = client.post(
        "/label/judgements", data={**hidden_fields(undone.text), **answer}, headers=PART
    )
    assert again.status_code == 200
    assert hidden_fields(again.text)["task"] == "t2"


def filled(html: str) -> dict[str, str]:
    """What a browser would send of a form as it is shown, without what is hidden or empty."""
    from html import unescape

    radios = re.findall(r'<input type="radio" name="(\w+)" value="(\w+)"[^>]*checked', html)
    texts = re.findall(r'<textarea name="(\w+)"[^>]*>\n?(.*?)</textarea>', html, re.DOTALL)
    chosen = r'<select name="(rank_\d)".*?<option value="(\d)" selected'
    selects = re.findall(chosen, html, re.DOTALL)
    found = {**dict(radios), **dict(selects), **{n: unescape(text) for n, text in texts}}
    return {name: value for name, value in found.items() if value}


def test_the_last_ten_are_listed_newest_first(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task(name=f"t{n}", prompt=(f"prompt {n}",)) for n in range(12)])
    for _ in range(12):
        client.post("/label/judgements", data={**show(client), "choice": "tie"}, headers=PART)
    listed = client.get("/label/last", params={"project": "demo"}, headers=PART).text
    prompts = [int(n) for n in re.findall(r"prompt (\d+)", listed)]
    said = [standing.task.prompt[0]["content"] for standing in SqlJudgements(database).current()]
    assert prompts == [int(text.split()[1]) for text in said[:1:-1]]
    assert len(prompts) == 10


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({}, 422, "choose which response is the better"),
        ({"choice": "C1"}, 422, "choose which response is the better"),
        ({"choice": "tie", "key": "x"}, 422, "no key"),
        ({"choice": "tie", "action": "undo"}, 422, "expected one of"),
        ({"action": "flag"}, 422, "reason"),
        ({"choice": "tie", "task": "<script>"}, 422, "was given for task &#39;&lt;script&gt;"),
    ],
)
def test_bad_forms_are_refused_beside_the_form(
    client: TestClient,
    app: FastAPI,
    database: Database,
    fields: dict[str, str],
    status: int,
    says: str,
) -> None:
    put_up(app, [task()])
    answer = client.post("/label/judgements", data={**show(client), **fields}, headers=PART)
    assert answer.status_code == status
    assert says in answer.text
    assert answer.headers["HX-Retarget"] == "#message"
    assert SqlJudgements(database).current() == []


def test_nothing_tells_who_wrote_a_response_or_how_long_it_is(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task(responses=("x" * 123, "y" * 45))])
    html = client.get("/label", params={"project": "demo"}).text
    assert "policy-" not in html
    assert not re.search(r"\b(123|45)\b", html)


def test_a_task_that_he_was_not_given_is_closed(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task(), task(name="t2")])
    assert client.get("/label", params={"project": "missing"}).status_code == 404
    held = show(client)
    posted = {**held, "task": "t2", "choice": "tie"}
    assert client.post("/label/judgements", data=posted, headers=PART).status_code == 422
    asked = {"task": "t2", "lease": held["lease"]}
    assert client.get("/label/differences", params=asked).status_code == 422
    assert SqlJudgements(database).current() == []


def test_newer_guidelines_come_with_the_next_task(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    put_up(app, [task(), task(name="t2"), task(name="t3")])
    posted = show(client)
    first = client.post("/label/judgements", data={**posted, "choice": "tie"}, headers=PART)
    assert posted["guideline_version"] == "1"
    assert "version 1" not in first.text
    app.state.services.projects.add_guidelines("demo", "new <script>alert(1)</script>")
    following = {**hidden_fields(first.text), "choice": "tie"}
    second = client.post("/label/judgements", data=following, headers=PART)
    assert "version 2" in second.text and 'hx-swap-oob="true"' in second.text
    assert "<script" not in second.text
    assert [s.guideline_version for s in SqlJudgements(database).current()] == [1, 1]


def test_earlier_turns_are_folded_and_words_compared(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    told = task(prompt=("one", "two", "three"), responses=("same <i>old</i>", "same new"))
    put_up(app, [told])
    html = client.get("/label", params={"project": "demo"}).text
    assert "2 earlier turns" in html
    asked = {"task": "t1", "lease": hidden_fields(html)["lease"]}
    shown = client.get("/label/differences", params=asked, headers=PART).text
    assert "<mark>new</mark>" in shown and "&lt;" in shown and "<i>" not in shown


def test_pages_hold_no_inline_script_or_style(
    client: TestClient, app: FastAPI, database: Database
) -> None:
    tasks: list[Task] = [task(kind, name=kind) for kind in ("pairwise", "likert", "rewrite")]
    put_up(app, tasks)
    for address in ("/", "/label?project=demo", "/label/last?project=demo"):
        html = client.get(address).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", html), address
