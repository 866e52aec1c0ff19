"""What a lead sees of a project: by hand, and as a page."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.core.types import Role, Submission
from accord.store.judgements import Standing
from accord.web.overview import overview
from accord.web.services import Services
from web.app_parts import Clock
from web.pages_app import task

Browser = Callable[[Role | None], TestClient]
ROW = {"prompt": "q", "responses": ["x", "y"]}


@pytest.fixture
def judged(services: Services, clock: Clock) -> Services:
    """Eve always takes the left; ann, ben and cy agree but for one pair; gold is 'a'."""
    people = ("ann", "ben", "cy", "eve")
    for name in people:
        services.accounts.create(name, "annotator")
    known = {"gold": {"verdict": "a"}}
    tasks = [task(name=f"t{n}", project="chat", prompt=(f"q{n} <b>?</b>",)) for n in range(12)]
    tasks = [
        type(t)(**{**vars(t), "overlap": 4, "columns": known if n < 4 else {}})
        for n, t in enumerate(tasks)
    ]
    services.queue.add(tasks)
    for name in people:
        while (lease := services.queue.lease(name, project="chat")) is not None:
            verdict: Any = "ab"[lease.order[0]] if name == "eve" else "a"
            if (name, lease.task.id) == ("cy", "t7"):
                verdict = "tie"
            clock.at += 10
            said = Submission(f"{name}-{lease.task.id}", {"verdict": verdict}, time_on_task_s=9.0)
            services.queue.submit(lease, said)
    return services


def test_figures_by_hand(judged: Services) -> None:
    standing = judged.judgements.current("chat")
    found = overview(standing, hourly_rate=20.0)
    people = {person.name: person for person in found.people}
    assert list(people) == ["ann", "ben", "cy", "eve"]
    assert people["eve"].left.value == 1.0 and people["eve"].is_one_sided
    assert people["ann"].gold[:2] == (4, 4)
    assert people["eve"].gold.hits == sum(_is_left(s) for s in standing if s.annotator == "eve"
                                          and "gold" in s.task.columns)  # fmt: skip
    assert people["ann"].pace.per_hour == pytest.approx(400)
    assert found.pairs == 8 and found.hours == pytest.approx(48 * 9 / 3600)
    assert found.cost == pytest.approx(48 * 9 / 3600 * 20 / 8)
    measures = {measure.name: measure for measure in found.agreement}
    equal = measures["equal votes"]
    assert equal.low <= equal.value <= equal.high
    assert measures["equal votes, ties left out"].value > equal.value
    assert found.disputes[0].task.id == "t7" or max(found.disputes[0].votes.values()) <= 2
    shares = [max(d.votes.values()) / sum(d.votes.values()) for d in found.disputes]
    assert shares == sorted(shares) and all(len(d.votes) > 1 for d in found.disputes)


def _is_left(standing: Standing) -> bool:
    return standing.order[0] == 0


def test_the_page_shows_them_and_escapes(judged: Services, browser: Browser) -> None:
    browser("annotator")  # an account
    lease = judged.queue.lease("annotator", project="chat")
    assert lease is None  # every slot is filled
    client = browser("lead")
    assert "/lead/project?name=chat" in client.get("/lead").text
    html = client.get("/lead/project", params={"name": "chat"}).text
    assert "Krippendorff" in html and "one side" in html and "8 pairs judged" in html
    assert "<b>?</b>" not in html and "&lt;b&gt;?" in html
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", html)
    for of in ("throughput", "gold", "left"):
        answer = client.get("/lead/plot", params={"name": "chat", "of": of})
        assert answer.headers["content-type"] == "image/svg+xml"
        assert b"</svg>" in answer.content


def test_a_reviewer_decides_a_dispute(judged: Services, browser: Browser) -> None:
    client = browser("reviewer")
    html = client.get("/lead/project", params={"name": "chat"}).text
    assert 'name="task" value="t7"' in html
    form = {"name": "chat", "task": "t7", "verdict": "b", "key": "decided-1"}
    assert client.post("/lead/decide", data=form).status_code == 303
    html = client.get("/lead/project", params={"name": "chat"}).text
    assert 'name="task" value="t7"' not in html
    assert browser("annotator").post("/lead/decide", data=form).status_code == 403


def test_an_empty_project_and_one_that_is_not_there(services: Services, browser: Browser) -> None:
    client = browser("reviewer")
    html = client.get("/lead/project", params={"name": "chat"}).text
    assert "No pair was judged yet" in html and "Nobody has judged" in html
    assert client.get("/lead/project", params={"name": "missing"}).status_code == 404


def test_it_is_for_leads(browser: Browser) -> None:
    assert browser("annotator").get("/lead").status_code == 403


def test_drift_is_held_against_the_qualification(judged: Services, browser: Browser) -> None:
    """Four wrong answers in a row are usual of one who guesses, and not of one who knew it all."""
    known = {"gold": {"verdict": "a"}}
    tasks = [task(name=f"g{n}", project="chat", prompt=(f"g{n}",)) for n in range(4)]
    judged.queue.add([type(t)(**{**vars(t), "columns": known}) for t in tasks])
    while (lease := judged.queue.lease("ann", project="chat")) is not None:
        said = Submission(f"ann-{lease.task.id}", {"verdict": "b"})
        judged.queue.submit(lease, said)
    standing = judged.judgements.current("chat")

    def drifted(**qualified: float) -> bool:
        people = overview(standing, hourly_rate=None, qualified=qualified).people
        return next(person for person in people if person.name == "ann").has_drifted

    assert drifted(ann=1.0) and drifted(ann=1.0, ben=0.5)
    assert not drifted(ann=0.4)
    assert not drifted() and not drifted(ben=1.0)
    judged.qualification.ask("chat", [{**ROW, "gold": {"verdict": "a"}, "reason": "r"}])
    question = judged.qualification.questions("chat")[0].task.id
    judged.qualification.answer("ann", "chat", question, Submission("", {"verdict": "a"}))
    html = browser("lead").get("/lead/project?name=chat").text
    assert html.count("gold falls</strong>") == 1
