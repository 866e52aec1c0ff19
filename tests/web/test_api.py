"""The API as programs use it: the whole of an annotator's work, and a lead's."""

import json
from typing import Any

import pytest

from accord.store.queue import LEASE_S
from accord.web.services import Services
from web.app_parts import Clock, rows

P = "/api/v1/projects/chat"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lead(program: Any) -> Any:
    client = program("lead")
    assert client.post(f"{P}/tasks", json={"rows": rows(3), "overlap": 2}).json() == {
        "added": 3, "known": 0,
    }  # fmt: skip
    return client


def work(client: Any, key: str, **said: Any) -> Any:
    """Lease and hand in; the answer."""
    lease = client.post(f"{P}/lease").json()
    return client.post("/api/v1/judgements", json=judged(lease, key, **said))


def judged(lease: dict[str, Any], key: str, **said: Any) -> dict[str, Any]:
    body = {"task_id": lease["task"]["id"], "lease": lease["lease"], "key": key}
    return {**body, **({"answer": {"verdict": "a"}} | said)}


def test_work_from_lease_to_undo(lead: Any, program: Any) -> None:
    ann = program("annotator")
    lease = ann.post(f"{P}/lease").json()
    assert lease["task"]["id"] == "t0" and sorted(lease["order"]) == [0, 1]
    assert lease["guideline_version"] == 1
    assert ann.post(f"{P}/lease").json() == lease
    receipt = ann.post("/api/v1/judgements", json=judged(lease, "k1", time_on_task_s=2.5))
    assert receipt.json() == {
        "judgement_id": "k1", "sequence": 1, "sha256": receipt.json()["sha256"],
        "is_surplus": False, "critique": None,
    }  # fmt: skip
    assert work(ann, "k2", action="skip", answer={"reason": "not mine"}).status_code == 200
    mine = ann.get("/api/v1/judgements/mine").json()
    assert [said["id"] for said in mine] == ["k2", "k1"]
    again = ann.post("/api/v1/judgements/k1/undo", json={"key": "u1"}).json()
    assert again["task"]["id"] == "t0"
    assert [said["id"] for said in ann.get("/api/v1/judgements/mine").json()] == ["k2"]
    answer = ann.post("/api/v1/judgements", json=judged(again, "k3", answer={"verdict": "b"}))
    assert answer.status_code == 200
    assert lead.get(f"{P}/progress").json() == {
        "slots": 6, "tasks": 3, "done": 1, "leased": 0, "free": 5,
    }  # fmt: skip
    for _ in range(2):
        assert ann.post("/api/v1/judgements/k1/undo", json={"key": "u1"}).status_code == 200
    assert ann.post("/api/v1/judgements/k1/undo", json={"key": "u2"}).status_code == 409


def test_a_lease_tells_nothing_of_the_writers(lead: Any, program: Any) -> None:
    row = {"prompt": "q", "responses": ["good", "bad"], "policies": ["best", "worst"]}
    more = {"gold": "a", "source": "s", "priority": 5}
    assert lead.post(f"{P}/tasks", json={"rows": [{**row, **more}]}).json()["added"] == 1
    shown = program("annotator").post(f"{P}/lease").json()
    assert shown["task"]["responses"] == ["good", "bad"]
    for word in ("best", "worst", "gold", "source"):
        assert word not in json.dumps(shown)


def test_the_same_again_is_one(lead: Any, program: Any) -> None:
    ann = program("annotator")
    lease = ann.post(f"{P}/lease").json()
    body = judged(lease, "k1")
    first, again = (ann.post("/api/v1/judgements", json=body) for _ in range(2))
    assert first.json() == again.json()
    other = ann.post("/api/v1/judgements", json={**body, "answer": {"verdict": "b"}})
    assert other.status_code == 409 and "make a new key" in other.json()["error"]
    twice = ann.post("/api/v1/judgements", json={**body, "key": "k2"})
    assert twice.status_code == 409 and "undo that first" in twice.json()["error"]
    assert lead.get(f"{P}/progress").json()["done"] == 1


def test_work_after_the_lease_is_kept(lead: Any, program: Any, clock: Clock) -> None:
    """Late, and in time for a free slot; and too late for any: kept as surplus."""
    names = ("annotator", "reviewer", "machine")
    ann, rev, mac = (program(name) for name in names)
    late = ann.post(f"{P}/lease").json()
    clock.at += LEASE_S + 1
    assert work(rev, "k1").json()["is_surplus"] is False
    answer = ann.post("/api/v1/judgements", json=judged(late, "k2"))
    assert answer.json()["is_surplus"] is False
    lead_lease = lead.post(f"{P}/lease").json()
    later = mac.post(f"{P}/lease").json()
    assert (lead_lease["task"]["id"], later["task"]["id"]) == ("t1", "t1")
    clock.at += LEASE_S + 1
    assert work(ann, "k3").json()["is_surplus"] is False
    assert work(rev, "k4").json()["is_surplus"] is False
    answer = mac.post("/api/v1/judgements", json=judged(later, "k5"))
    assert (answer.status_code, answer.json()["is_surplus"]) == (200, True)
    lines = [json.loads(line) for line in lead.get(f"{P}/judgements").text.splitlines()]
    assert [line["id"] for line in lines if line["is_surplus"]] == ["k5"]


def test_nobody_picks_tasks(lead: Any, program: Any) -> None:
    """Only what was given is taken: no lease made up, changed, or another's."""
    ann, rev = program("annotator"), program("reviewer")
    lease = ann.post(f"{P}/lease").json()
    for wrong in (
        {"lease": "made up"},
        {"lease": lease["lease"][:-1] + "x"},
        {"lease": "\u00e9.\u00e9"},
        {"task_id": "t2"},
        {"task_id": "none"},
    ):
        answer = ann.post("/api/v1/judgements", json={**judged(lease, "k"), **wrong})
        assert answer.status_code == 400 and "no lease that 'annotator' was given" in answer.text
    assert rev.post("/api/v1/judgements", json=judged(lease, "k")).status_code == 400
    given = {"task_id": "t0", "lease": lease["lease"]}
    assert rev.post("/api/v1/release", json=given).status_code == 400
    assert lead.get(f"{P}/progress").json()["leased"] == 1
    assert ann.post("/api/v1/release", json=given).status_code == 204
    assert lead.get(f"{P}/progress").json()["leased"] == 0
    assert rev.post("/api/v1/judgements/none/undo", json={"key": "u"}).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"answer": {"verdict": "c"}}, 400),
        ({"answer": {"verdict": ["a"]}}, 400),
        ({"answer": {"text": "a\0"}}, 400),
        ({"answer": {"text": "\ud800"}}, 400),
        ({"answer": [1]}, 422),
        ({"action": "undo", "answer": {}}, 400),
        ({"action": "maybe"}, 422),
        ({"key": "a b"}, 422),
        ({"key": "k" * 65}, 422),
        ({"key": "../x"}, 422),
        ({"guideline_version": 2**40}, 422),
        ({"surprise": 1}, 422),
    ],
)
def test_answers_that_are_none(
    lead: Any, program: Any, services: Services, wrong: dict[str, Any], status: int
) -> None:
    ann = program("annotator")
    lease = ann.post(f"{P}/lease").json()
    body = json.dumps({**judged(lease, "k"), **wrong})  # in ASCII: half a pair can be sent so
    answer = ann.post("/api/v1/judgements", content=body, headers=JSON)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert services.judgements.current() == []


@pytest.mark.parametrize(
    "body", ["", "[", "[1]", "null", "[" * 100_000, '{"rows": [NaN]}', "1e999"]
)
def test_bodies_that_are_none(lead: Any, body: str) -> None:
    answer = lead.post(f"{P}/tasks", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error"}


def test_broken_rows_are_named_and_nothing_is_added(lead: Any) -> None:
    broken = [*rows(5)[3:], {"prompt": "q", "responses": ["only one"]}]
    answer = lead.post(f"{P}/tasks", json={"rows": broken})
    assert answer.status_code == 400 and "row 3: " in answer.json()["error"]
    assert lead.get(f"{P}/progress").json()["tasks"] == 3
    changed = [{**rows(1)[0], "responses": ["x", "z"]}]
    answer = lead.post(f"{P}/tasks", json={"rows": changed})
    assert answer.status_code == 409 and "another task has this id" in answer.json()["error"]
    assert lead.post("/api/v1/projects/none/tasks", json={"rows": rows(1)}).status_code == 404


def test_looking_for_tasks(lead: Any) -> None:
    page = lead.get(f"{P}/tasks", params={"text": "Q1", "limit": 1}).json()
    assert page["total"] == 1 and page["tasks"][0]["id"] == "t1"
    assert len(lead.get(f"{P}/tasks", params={"state": "open"}).json()["tasks"]) == 3
    assert lead.get(f"{P}/tasks", params={"limit": 0}).status_code == 400
    assert lead.get(f"{P}/tasks", params={"state": "lost"}).status_code == 422


def test_projects_and_guidelines(lead: Any, program: Any) -> None:
    made = lead.post("/api/v1/projects", json={"name": "new", "title": "New"})
    assert made.status_code == 201 and made.json()["attributes"] == [
        "helpful", "harmless", "honest",
    ]  # fmt: skip
    assert lead.post("/api/v1/projects", json={"name": "new"}).status_code == 409
    assert lead.post("/api/v1/projects", json={"name": "a/b"}).status_code == 400
    changed = lead.patch("/api/v1/projects/new", json={"settings": {"keys": {"tie": "0"}}})
    assert changed.json()["settings"] == {"keys": {"tie": "0"}}
    assert [p["name"] for p in lead.get("/api/v1/projects").json()] == ["chat", "new"]
    newest = lead.post(f"{P}/guidelines", json={"text": "Be very kind."}).json()
    assert newest["version"] == 2
    ann = program("annotator")
    assert ann.get(f"{P}/guidelines").json()["text"] == "Be very kind."
    assert ann.get(f"{P}/guidelines", params={"version": 1}).json()["text"] == "Be kind."
    assert ann.get(f"{P}/guidelines", params={"version": 3}).status_code == 404
    assert ann.post(f"{P}/lease").json()["guideline_version"] == 2


def test_exports_lead_back_and_erasure_names_them(lead: Any, program: Any) -> None:
    for name, verdict in (("annotator", "a"), ("reviewer", "b")):
        client = program(name)
        for number in range(3):
            said = {"verdict": "a" if number else verdict}
            assert work(client, f"{name}-{number}", answer=said).status_code == 200
    made = lead.post(f"{P}/exports", json={"aggregation": "majority"})
    found = [json.loads(line) for line in made.text.splitlines()]
    assert [(row["p_chosen"], row["votes"]) for row in found] == [
        (0.5, 2),
        (0.75 + 1 / 12, 2),
    ] * 0 + [(row["p_chosen"], 2) for row in found]
    assert found[0]["p_chosen"] == 0.5 < found[1]["p_chosen"]
    digest = made.headers["Accord-Export"]
    sources = lead.get(f"/api/v1/exports/{digest}").json()["judgements"]
    assert sources == sorted(f"{n}-{i}" for n in ("annotator", "reviewer") for i in range(3))
    assert lead.get("/api/v1/exports/none").status_code == 400
    assert lead.post("/api/v1/erasures", json={}).status_code == 400
    erased = lead.post("/api/v1/erasures", json={"annotator": "annotator"}).json()
    assert erased == {"exports": [digest]}
    lines = [json.loads(line) for line in lead.get(f"{P}/judgements").text.splitlines()]
    assert {line["annotator"] for line in lines if line["answer"] is None} == {"annotator"}
    empty = lead.post(f"{P}/exports", json={"what": "rankings"})
    assert (empty.status_code, empty.text) == (200, "")


def test_accounts_and_oneself(lead: Any, program: Any, browser: Any) -> None:
    made = lead.post("/api/v1/accounts", json={"name": "a/b c", "role": "annotator"}).json()
    assert "/join/" in made["link"] and made["kind"] == "person"
    assert lead.patch("/api/v1/accounts/a%2Fb%20c", json={"role": "reviewer"}).json()["role"] == (
        "reviewer"
    )
    assert lead.patch("/api/v1/accounts/none", json={"role": "lead"}).status_code == 404
    robot = lead.post("/api/v1/accounts", json={"name": "r", "role": "machine"}).json()
    assert robot["link"] is None and robot["kind"] == "model"
    assert lead.post("/api/v1/links", json={"name": "none"}).status_code == 404
    ann = program("annotator")
    assert ann.patch("/api/v1/me", json={"groups": {"age": "30"}}).status_code == 400
    said = {"groups": {"age": "30"}, "consent": True, "opted_out": ["violence"]}
    me = ann.patch("/api/v1/me", json=said).json()
    assert (me["groups"], me["opted_out"]) == ({"age": "30"}, ["violence"])
    assert "30" not in lead.get("/api/v1/accounts").text
    assert ann.patch("/api/v1/me", json={"groups": None}).json()["groups"] is None


def test_passwords_are_changed(browser: Any, services: Services) -> None:
    services.passwords.set("annotator", "the first password")
    client = browser("annotator")
    change = {"old": "the first password", "new": "the second password"}
    assert client.post("/api/v1/me/password", json={**change, "old": "x"}).status_code == 403
    assert client.post("/api/v1/me/password", json={**change, "new": "x"}).status_code == 400
    assert client.post("/api/v1/me/password", json=change).status_code == 204
    assert client.get("/api/v1/me").status_code == 401
    form = {"name": "annotator", "password": "the second password"}
    assert browser(None).post("/login", data=form).status_code == 303


def test_tokens_give_no_more_than_they_have(lead: Any, program: Any) -> None:
    ann = program("annotator", ["manage", "read"])
    wanted = {"name": "more", "scopes": ["annotate"]}
    assert ann.post("/api/v1/tokens", json=wanted).status_code == 403
    assert ann.post("/api/v1/tokens", json={**wanted, "account": "lead"}).status_code == 403
    made = ann.post("/api/v1/tokens", json={"name": "less", "scopes": ["read"]}).json()
    assert made["secret"].startswith("accord_") and made["account"] == "annotator"
    for_machine = {"name": "m", "scopes": ["annotate"], "account": "machine"}
    assert lead.post("/api/v1/tokens", json=for_machine).json()["account"] == "machine"
    theirs = [token["id"] for token in lead.get("/api/v1/tokens").json()]
    assert len(theirs) == 4 and len(ann.get("/api/v1/tokens").json()) == 2
    assert ann.delete(f"/api/v1/tokens/{theirs[0]}").status_code == 404


def test_the_api_describes_itself(browser: Any) -> None:
    client = browser("annotator")
    described = client.get("/api/openapi.json").json()
    assert "/api/v1/judgements" in described["paths"]
    assert not [path for path in described["paths"] if not path.startswith("/api/v1")]
    text = client.get("/api/docs").text
    assert "POST /api/v1/judgements" in text and "Scope: annotate" in text
    assert text.count("<section") == sum(len(found) for found in described["paths"].values())
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404


def test_hostile_names_are_names(lead: Any) -> None:
    """Kept as they are, shown escaped: on the server's own pages and as JSON."""
    name = "<img src=x onerror=alert(1)>"
    made = lead.post("/api/v1/accounts", json={"name": name, "role": "annotator"}).json()
    path = made["link"].removeprefix("http://testserver")
    text = lead.get(path).text
    assert "<img" not in text and "&lt;img" in text
    assert made["name"] == name
