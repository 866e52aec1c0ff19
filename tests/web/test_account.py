"""One's own page: categories that are not given, groups with consent, a password; and warnings."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.core.errors import DataError
from accord.core.types import Role
from accord.web.services import Services
from web.pages_app import task

Browser = Callable[[Role | None], TestClient]
LABEL = {"project": "chat"}


@pytest.fixture
def marked(services: Services) -> Services:
    """Three tasks: of violence, of writing, and of nothing."""
    tasks = [
        replace(task(name="t0", project="chat"), columns={"category": "violence"}, priority=2.0),
        replace(task(name="t1", project="chat"), columns={"category": "writing"}, priority=1.0),
        task(name="t2", project="chat"),
    ]
    services.queue.add(tasks)
    return services


def shown(client: TestClient) -> str:
    found = re.search(r'data-task="([^"]*)"', client.get("/label", params=LABEL).text)
    return found[1] if found else ""


def fields(html: str, address: str) -> dict[str, str]:
    """Hidden fields of the form that posts to an address."""
    (form,) = re.findall(rf'<form method="post" action="{address}">(.*?)</form>', html, re.DOTALL)
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))


def test_nothing_is_shown_before_somebody_wants_to_see_it(
    marked: Services, browser: Browser
) -> None:
    worker = browser("annotator")
    html = worker.get("/label", params=LABEL).text
    covered = html[html.index('<details class="warned"') :]
    assert "marked “violence”" in html and "first response" in covered
    before = html[: html.index('<details class="warned"')]
    assert "first response" not in before and "two and two" not in before


def test_a_program_is_told_what_to_warn_of(marked: Services, program: Any) -> None:
    ask = "/api/v1/projects/chat/lease"
    assert program("annotator").post(ask, json={}).json()["warning"] == "violence"
    marked.projects.update("chat", settings={"unwarned": ["violence"]})
    assert program("annotator").post(ask, json={}).json()["warning"] is None


def test_a_task_is_skipped_unseen(marked: Services, browser: Browser) -> None:
    worker = browser("annotator")
    html = worker.get("/label", params=LABEL).text
    assert worker.post("/label/judgements", data=fields(html, "/label/judgements")).is_redirect
    (said,) = marked.judgements.current("chat")
    assert (said.task.id, said.action) == ("t0", "skip")
    assert shown(worker) == "t1"


def test_at_a_warning_one_opts_out_and_the_task_goes_to_others(
    marked: Services, browser: Browser
) -> None:
    worker = browser("annotator")
    html = worker.get("/label", params=LABEL).text
    answer = worker.post("/me/categories/add", data=fields(html, "/me/categories/add"))
    assert answer.headers["location"] == "/label?project=chat"
    assert marked.accounts.get("annotator").opted_out == ("violence",)
    assert shown(worker) == "t1"
    assert shown(browser("reviewer")) == "t0"  # at once, and not when the lease has run out


def test_one_chooses_on_one_s_own_page(marked: Services, browser: Browser) -> None:
    worker = browser("annotator")
    assert 'value="violence">' in worker.get("/me").text
    said = worker.post("/me/categories", data={"category": ["violence", "writing"]}).text
    assert 'value="violence" checked' in said and 'value="writing" checked' in said
    assert shown(worker) == "t2"
    worker.post("/me/categories", data={"category": ["writing"]})
    assert marked.accounts.get("annotator").opted_out == ("writing",)
    worker.post("/me/categories", data={})
    assert marked.accounts.get("annotator").opted_out == ()
    marked.projects.update("chat", is_open=False)  # of what he may not see he learns nothing
    assert "violence" not in worker.get("/me").text


def test_a_lead_says_which_need_no_warning(marked: Services, browser: Browser) -> None:
    form = {"name": "chat", "title": "Chat", "attributes": "kind, brief", "hourly_rate": "12.5"}
    assert (
        browser("lead")
        .post("/lead/project/settings", data={**form, "warned": ["violence"]})
        .is_redirect
    )
    project = marked.projects.get("chat")
    assert project.settings == {"hourly_rate": 12.5, "unwarned": ["writing"]}
    assert (project.title, project.attributes) == ("Chat", ("kind", "brief"))
    worker = browser("annotator")
    assert "marked “violence”" in worker.get("/label", params=LABEL).text
    worker.post("/me/categories", data={"category": ["violence"]})
    html = worker.get("/label", params=LABEL).text
    assert 'data-task="t1"' in html and "warned" not in html
    with pytest.raises(DataError, match="unwarned is a list"):
        marked.projects.update("chat", settings={"unwarned": "violence"})


def test_a_marked_question_is_covered_too(services: Services, browser: Browser) -> None:
    row = {"prompt": "q", "responses": ["x", "y"], "gold": {"verdict": "tie"}, "reason": "r"}
    services.qualification.ask("chat", [{**row, "category": "self-harm"}])
    services.qualification.change("chat", is_required=True)
    worker = browser("annotator")
    html = worker.get("/qualify", params=LABEL).text
    assert "marked “self-harm”" in html and '<details class="warned"' in html
    worker.post("/me/categories/add", data=fields(html, "/me/categories/add"))
    assert "all that could be asked" in worker.get("/qualify", params=LABEL).text


def test_groups_are_kept_with_consent_and_forgotten(services: Services, browser: Browser) -> None:
    worker = browser("annotator")
    form = {"group": ["language", ""], "value": ["Finnish", " "]}
    assert "with your consent only" in worker.post("/me/groups", data=form).text
    assert services.accounts.get("annotator").groups is None
    assert 'value="Finnish"' in worker.post("/me/groups", data={**form, "consent": "true"}).text
    assert services.accounts.get("annotator").groups == {"language": "Finnish"}
    halves = {"group": ["language"], "value": [""], "consent": "true"}
    assert worker.post("/me/groups", data=halves).status_code == 400
    worker.post("/me/groups", data={"group": [""], "value": [""]})
    assert services.accounts.get("annotator").groups is None


def test_a_password_is_changed_by_who_knows_the_old_one(
    services: Services, browser: Browser
) -> None:
    worker = browser("annotator")
    first = {"new": "a first long password"}
    assert worker.post("/me/password", data=first).headers["location"] == "/login"
    assert worker.get("/me").is_redirect  # signed out everywhere
    worker = browser("annotator")
    second = {"new": "a second long password"}
    assert worker.post("/me/password", data={**second, "old": "wrong"}).status_code == 403
    assert worker.post("/me/password", data={**second, "old": first["new"]}).is_redirect
    assert services.passwords.is_right("annotator", second["new"], address="")
