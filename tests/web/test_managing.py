"""The lead's forms: a project from nothing to tasks and people, without a command line."""

import json
import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from accord.core.types import Role, Submission
from accord.web.services import Services

Browser = Callable[[Role | None], TestClient]
ROWS = "\n".join(json.dumps({"prompt": f"q{n}", "responses": ["x", "y"]}) for n in range(3))


def upload(client: TestClient, content: str, **fields: str) -> int:
    data = {"name": "chat", "kind": "pairwise", "overlap": "2", **fields}
    files = {"rows": ("rows.jsonl", content.encode())}
    return client.post("/lead/project/tasks", data=data, files=files).status_code


def test_from_a_project_to_a_judged_task(services: Services, browser: Browser) -> None:
    lead = browser("lead")
    made = lead.post("/lead/projects", data={"name": "new one", "title": ""})
    assert (made.status_code, made.headers["location"]) == (303, "/lead/project?name=new%20one")
    assert upload(lead, ROWS, name="new one") == 303
    assert upload(lead, ROWS, name="new one") == 303  # again: they are there already
    assert services.queue.progress("new one")["slots"] == 6
    text = "Be **short**.\r\nSecond."
    lead.post("/lead/project/guidelines", data={"name": "new one", "text": text})
    assert services.projects.guidelines("new one").text == "Be **short**.\nSecond."
    invited = lead.post("/lead/people", data={"name": "zoe", "role": "annotator"})
    link = re.search(r'class="link">http://testserver(/join/[^<]+)<', invited.text)
    assert link
    zoe = browser(None)
    assert zoe.post(link[1], data={"password": "a long enough password"}).status_code == 303
    shown = zoe.get("/label", params={"project": "new one"})
    assert shown.status_code == 200 and "version 2" in shown.text
    page = lead.get("/lead/project", params={"name": "new one"}).text
    assert "0 of 6 judgements given, 1 at work" in page


def test_an_account_is_switched_off_and_on(services: Services, browser: Browser) -> None:
    lead, worker = browser("lead"), browser("annotator")
    assert worker.get("/").status_code == 200
    form = {"name": "annotator", "is_active": "false"}
    assert lead.post("/lead/people/switch", data=form).status_code == 303
    assert worker.get("/").status_code == 303  # to the sign-in page
    assert "switched off" in lead.get("/lead/people").text
    lead.post("/lead/people/switch", data={**form, "is_active": "true"})
    assert services.accounts.get("annotator").is_active
    last = lead.post("/lead/people/switch", data={"name": "lead", "is_active": "false"})
    assert last.status_code == 409 and "only lead" in last.text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no rows"),
        ("{", "line 1: not JSON"),
        ("[1]", "line 1: expected an object"),
        (ROWS + '\n{"prompt": "q"}', "row 4"),
        ("\n\xff", "not JSON"),
    ],
)
def test_a_broken_file_puts_nothing_up(
    services: Services, browser: Browser, content: str, says: str
) -> None:
    lead = browser("lead")
    data = {"name": "chat", "kind": "pairwise", "overlap": "2"}
    files = {"rows": ("rows.jsonl", content.encode("latin-1"))}
    answer = lead.post("/lead/project/tasks", data=data, files=files)
    assert answer.status_code == 400 and says in answer.text
    assert services.queue.progress("chat")["tasks"] == 0


def test_forms_are_for_leads_and_carry_the_token(browser: Browser) -> None:
    assert browser("reviewer").get("/lead/people").status_code == 403
    assert "Put tasks up" not in browser("reviewer").get("/lead/project?name=chat").text
    lead = browser("lead")
    del lead.headers["X-CSRF-Token"]
    assert lead.post("/lead/projects", data={"name": "x"}).status_code == 403
    assert upload(lead, ROWS) == 403
    assert lead.post("/lead/projects", data={"name": "a/b"}).status_code == 403


def test_a_webhook_from_its_form_to_its_end(services: Services, browser: Browser) -> None:
    lead = browser("lead")
    form = {"name": "chat", "url": "https://example.org/hook", "event": ["tasks.added"]}
    page = lead.post("/lead/project/webhooks", data=form)
    (hook,) = services.webhooks.of("chat")
    assert page.status_code == 200 and hook.secret in page.text  # and never again
    assert (hook.url, hook.events) == ("https://example.org/hook", ("tasks.added",))
    shown = lead.get("/lead/project", params={"name": "chat"}).text
    assert hook.url in shown and hook.secret not in shown
    for wrong in ({"url": "ftp://example.org"}, {"event": []}, {"event": ["no.such"]}):
        assert lead.post("/lead/project/webhooks", data={**form, **wrong}).status_code == 400
    of = {"name": "chat", "webhook": str(hook.id)}
    lead.post("/lead/project/webhook", data={**of, "change": "off"})
    assert not services.webhooks.of("chat")[0].is_on
    lead.post("/lead/project/webhook", data={**of, "change": "remove"})
    assert services.webhooks.of("chat") == []


def test_tasks_are_looked_through(services: Services, browser: Browser) -> None:
    lead = browser("lead")
    upload(
        lead,
        "\n".join(json.dumps({"prompt": f"q{n}", "responses": ["x", "<b>y"]}) for n in range(30)),
    )
    ask = {"name": "chat"}
    html = lead.get("/lead/tasks", params=ask).text
    assert "30 tasks; here 1 to 20" in html and "<b>" not in html
    (later,) = re.findall(r'href="(/lead/tasks[^"]*)">Later', html)
    assert "here 21 to 30" in lead.get(later.replace("&amp;", "&")).text
    found = lead.get("/lead/tasks", params={**ask, "text": "q17"}).text
    assert "1 task<" in found and "q17" in found and "q18" not in found
    lease = services.queue.lease("annotator", project="chat")
    assert lease is not None
    services.queue.submit(lease, Submission("k" * 16, {"reason": "odd"}, action="flag"))
    flagged = lead.get("/lead/tasks", params={**ask, "state": "flagged"}).text
    assert "1 task<" in flagged and lease.task.id in flagged and "flagged</strong>" in flagged
    assert "0 tasks" in lead.get("/lead/tasks", params={**ask, "kind": "likert"}).text
    assert lead.get("/lead/tasks", params={**ask, "state": "lost"}).status_code == 422
    assert lead.get("/lead/tasks", params={"name": "none"}).status_code == 404
