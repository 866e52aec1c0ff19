"""Who may work where, through HTTP: closed projects, and the round that comes before tasks."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.core.types import Role, Submission
from accord.web.services import Services
from web.app_parts import rows
from web.pages_app import task

Browser = Callable[[Role | None], TestClient]
P = "/api/v1/projects/chat"
PART = {"HX-Request": "true"}
QUESTIONS: list[dict[str, Any]] = [
    {"prompt": "q0", "responses": ["x", "y"], "gold": {"verdict": "a"}, "reason": "A it is."},
    {"prompt": "q1", "responses": ["x", "y"], "gold": {"action": "skip"}, "reason": "Not ours."},
]


@pytest.fixture
def closed(services: Services) -> Services:
    """Two tasks in a project that is nobody's; one task was judged while it was open."""
    services.queue.add([task(name=name, project="chat") for name in ("t1", "t2")])
    lease = services.queue.lease("annotator", project="chat")
    assert lease is not None
    services.queue.submit(lease, Submission("k1", {"verdict": "a"}))
    services.projects.update("chat", is_open=False)
    return services


def hidden_fields(html: str) -> dict[str, str]:
    form = html.split('id="judgement"', 1)[1]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))


def test_a_closed_project_is_not_there(closed: Services, browser: Browser, program: Any) -> None:
    """By its pages, by the API and by links that were right before: as one that is missing."""
    page, api = browser("annotator"), program("annotator")
    assert "chat" not in page.get("/").text and api.get("/api/v1/projects").json() == []
    assert "take back" not in page.get("/label/last?project=chat").text.lower()
    assert api.get("/api/v1/judgements/mine").json() == []
    undo = {"judgement": "k1", "key": "k" * 20}
    assert page.post("/label/undo", data=undo).status_code == 404
    assert api.post("/api/v1/judgements/k1/undo", json={"key": "u"}).status_code == 404
    for name in ("chat", "missing"):
        api_root = f"/api/v1/projects/{name}"
        answers = [
            page.get("/label", params={"project": name}),
            page.get("/qualify", params={"project": name}),
            page.post("/qualify/answers", data={"project": name, "question": "x", "key": "k" * 20}),
            *(api.get(f"{api_root}{end}") for end in ("", "/guidelines", "/progress", "/qualify")),
            api.post(f"{api_root}/lease"),
            api.post(f"{api_root}/qualify", json={"question_id": "x", "answer": {}}),
        ]
        assert [answer.status_code for answer in answers] == [404] * len(answers)
        assert all(f"there is no project &#39;{name}&#39;" in answer.text for answer in answers[:3])
        told = [answer.json() for answer in answers[3:]]
        assert told == [{"error": f"there is no project {name!r}"}] * len(told)


def test_a_lease_from_before_opens_nothing(closed: Services, browser: Browser) -> None:
    closed.membership.add("chat", "annotator")
    page = browser("annotator")
    fields = hidden_fields(page.get("/label?project=chat").text)
    links = {"task": fields["task"], "lease": fields["lease"]}
    assert page.get("/label/differences", params=links).status_code == 200
    closed.membership.remove("chat", "annotator")
    assert page.get("/label/differences", params=links).status_code == 404
    done = page.post("/label/judgements", data={**fields, "choice": "A1"}, headers=PART)
    assert done.status_code == 404 and done.headers["HX-Retarget"] == "#message"
    assert len(closed.judgements.current()) == 1


def test_a_lead_closes_a_project_and_lets_somebody_in(
    services: Services, browser: Browser, program: Any
) -> None:
    services.queue.add([task(project="chat")])
    lead, ann = browser("lead"), browser("annotator")
    assert lead.post("/lead/project/access", data={"name": "chat", "is_open": "false"}).is_redirect
    assert ann.get("/label?project=chat").status_code == 404
    form = {"name": "chat", "annotator": "annotator", "change": "add"}
    assert lead.post("/lead/project/members", data=form).status_code == 303
    html = lead.get("/lead/project?name=chat").text
    assert "Members only" in html and "Remove<span" in html
    assert "Remove<span" not in browser("reviewer").get("/lead/project?name=chat").text
    assert ann.get("/label?project=chat").status_code == 200
    assert browser("reviewer").get("/label?project=chat").status_code == 200
    lead.post("/lead/project/members", data={**form, "change": "remove"})
    assert ann.get("/label?project=chat").status_code == 404
    again = lead.post("/lead/project/members", data={**form, "change": "remove"})
    assert again.status_code == 404 and "no member" in again.text
    api = program("lead")
    for _ in range(2):
        assert api.put(f"{P}/members/annotator").status_code == 204
    assert api.get(f"{P}/members").json() == ["annotator"]
    assert api.delete(f"{P}/members/annotator").status_code == 204
    assert api.delete(f"{P}/members/annotator").status_code == 404
    assert api.put(f"{P}/members/nobody").status_code == 404
    made = api.post("/api/v1/projects", json={"name": "new", "is_open": False})
    assert made.json()["is_open"] is False


@pytest.fixture
def asked(services: Services) -> Services:
    """A task, and two questions before it; half right is enough."""
    services.queue.add([task(project="chat")])
    services.qualification.ask("chat", QUESTIONS)
    services.qualification.change("chat", is_required=True, pass_share=0.5)
    return services


def test_from_the_first_question_to_the_first_task(asked: Services, browser: Browser) -> None:
    ann = browser("annotator")
    first = ann.get("/label?project=chat")
    assert (first.status_code, first.headers["location"]) == (303, "/qualify?project=chat")
    html = ann.get("/qualify?project=chat").text
    assert "there are 2 questions" in html and "50% right" in html and "Be kind." in html
    for secret in ("A it is.", "verdict", "gold"):
        assert secret not in html
    empty = ann.post("/qualify/answers", data=hidden_fields(html))
    assert empty.status_code == 400 and "choose which response" in empty.text
    order = asked.qualification.find("annotator", "chat", hidden_fields(html)["question"]).order
    wrong = "AB"[order.index(1)]
    told = ann.post("/qualify/answers", data={**hidden_fields(html), "choice": f"{wrong}1"})
    assert told.status_code == 303
    html = ann.get(told.headers["location"]).text
    right = "BA"["AB".index(wrong)]
    assert "Not what was expected" in html and "A it is." in html
    assert f"<dd>{wrong} is better</dd>" in html and f"<dd>{right} is better</dd>" in html
    assert "0 of 1 right so far" in html
    html = ann.get("/qualify?project=chat").text
    said = {"action": "skip", "skip_reason": "I would rather not"}
    told = ann.post("/qualify/answers", data={**hidden_fields(html), **said})
    html = ann.get(told.headers["location"]).text
    assert "<h2" in html and ">Right</h2>" in html and "Not ours." in html
    html = ann.get("/qualify?project=chat").text
    assert ">Passed</h2>" in html and "1 of 2 answers were right" in html
    assert "Which response is better?" in ann.get("/label?project=chat").text
    assert asked.judgements.current() == []


def fail(services: Services) -> None:
    for question in services.qualification.questions("chat"):
        said = Submission("", {"verdict": "both_bad"})
        services.qualification.answer("annotator", "chat", question.task.id, said)


def test_who_fails_is_told_and_the_lead_decides(asked: Services, browser: Browser) -> None:
    ann, lead = browser("annotator"), browser("lead")
    fail(asked)
    assert ann.get("/label?project=chat").headers["location"] == "/qualify?project=chat"
    html = ann.get("/qualify?project=chat").text
    assert ">Not passed</h2>" in html and "0 of 2 answers were right" in html
    html = lead.get("/lead/project?name=chat").text
    assert '<strong class="alarm">failed</strong>' in html and "Let try again" in html
    assert "not begun" in html  # the machine
    form = {"name": "chat", "annotator": "annotator", "decision": "again"}
    assert lead.post("/lead/project/attempts", data=form).status_code == 303
    assert lead.post("/lead/project/attempts", data=form).status_code == 409
    assert "What would you say here?" in ann.get("/qualify?project=chat").text
    lead.post("/lead/project/attempts", data={**form, "decision": "pass"})
    assert "lead let you in" in ann.get("/qualify?project=chat").text
    assert "Which response is better?" in ann.get("/label?project=chat").text
    assert ">lead</span>" not in lead.get("/lead/project?name=chat").text
    assert "by lead" in lead.get("/lead/project?name=chat").text


def test_a_lead_sets_the_round_up(services: Services, browser: Browser) -> None:
    lead = browser("lead")
    form = {"name": "chat", "is_required": "true", "pass_percent": "75"}
    assert lead.post("/lead/project/qualification", data=form).status_code == 303
    found = services.qualification.get("chat")
    assert (found.is_required, found.pass_share) == (True, 0.75)
    assert len(services.qualification.questions("chat")) == 18
    file = "\n".join(map(json.dumps, QUESTIONS)).encode()
    upload = {"rows": ("own.jsonl", file)}
    data = {"name": "chat", "kind": "pairwise"}
    assert lead.post("/lead/project/questions", data=data, files=upload).status_code == 303
    assert [q.reason for q in services.qualification.questions("chat")] == ["A it is.", "Not ours."]
    broken = {"rows": ("own.jsonl", file + b'\n{"prompt": "q"}')}
    refused = lead.post("/lead/project/questions", data=data, files=broken)
    assert refused.status_code == 400 and "own.jsonl, row 3" in refused.text
    assert len(services.qualification.questions("chat")) == 2
    html = lead.get("/lead/project?name=chat").text
    assert "expected: action skip" in html and "Everybody has to qualify again" in html
    assert lead.post("/lead/project/questions/shipped", data={"name": "chat"}).status_code == 303
    assert len(services.qualification.questions("chat")) == 18
    lead.post("/lead/project/qualification", data={"name": "chat", "pass_percent": "75"})
    assert not services.qualification.get("chat").is_required


def test_new_guidelines_lead_back_to_the_questions(asked: Services, browser: Browser) -> None:
    """Also where a script asks for the next task: what was judged is kept before."""
    asked.queue.add([task(name="t2", project="chat")])
    asked.qualification.let_pass("chat", "annotator", by="lead")
    ann, lead = browser("annotator"), browser("lead")
    fields = hidden_fields(ann.get("/label?project=chat").text)
    lead.post("/lead/project/guidelines", data={"name": "chat", "text": "x", "requalify": "true"})
    done = ann.post("/label/judgements", data={**fields, "choice": "A1"}, headers=PART)
    assert (done.status_code, done.headers["HX-Redirect"]) == (200, "/qualify?project=chat")
    assert len(asked.judgements.current()) == 1


def test_the_round_by_the_api(services: Services, program: Any) -> None:
    lead, machine = program("lead"), program("machine")
    lead.post(f"{P}/tasks", json={"rows": rows(1)})
    assert lead.put(f"{P}/qualification/questions", json={"rows": QUESTIONS}).status_code == 200
    assert lead.patch(f"{P}/qualification", json={"is_required": True}).json()["is_required"]
    refused = machine.post(f"{P}/lease")
    assert refused.status_code == 409 and "qualification questions first" in refused.text
    shown = machine.get(f"{P}/qualify")
    for secret in ("gold", "expected", "A it is."):
        assert secret not in shown.text
    while (question := machine.get(f"{P}/qualify").json()["question"]) is not None:
        is_first = question["prompt"][0]["content"] == "q0"
        said = {"answer": {"verdict": "a"}} if is_first else {"action": "skip"}
        body = {"question_id": question["id"], **said}
        assert machine.post(f"{P}/qualify", json=body).json()["is_right"] is True
    assert machine.get(f"{P}/qualify").json()["state"] == "passed"
    assert machine.post(f"{P}/lease").json()["task"]["id"] == "t0"
    people = lead.get(f"{P}/qualification").json()["people"]
    assert {one["annotator"]: one["accuracy"] for one in people} == {
        "annotator": None, "machine": 1.0,
    }  # fmt: skip
    for wrong in ({"pass_share": 0}, {"pass_share": 2}, {"x": 1}):
        assert lead.patch(f"{P}/qualification", json=wrong).status_code == 422
    assert lead.patch("/api/v1/projects/none/qualification", json={}).status_code == 404
    for gone in ("questions", ""):
        path = f"/api/v1/projects/none/qualification/{gone}".rstrip("/")
        assert lead.get(path).status_code == 404
    shipped = lead.put(f"{P}/qualification/questions", json={"rows": None}).json()
    assert len(shipped) == 18 and lead.get(f"{P}/qualification/questions").json() == shipped
    more = {"text": "Newer.", "requalify": True}
    assert lead.post(f"{P}/guidelines", json=more).json()["version"] == 2
    assert machine.get(f"{P}/qualify").json()["state"] == "not_begun"
