"""Suggestions and critiques in a real browser, by keyboard, and what hostile ones execute there."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.revising import SqlRevisions, phase_of
from web.pages_app import put_up, task
from web.test_browser import AXE, PAYLOADS, Visit, app, chromium, visit
from web.test_browser import pytestmark as pytestmark

__all__ = ["app", "chromium", "visit"]  # fixtures
EVERYTHING = "\n\n".join(PAYLOADS)
SHOWN = {
    "show_suggestions": True,
    "hidden_suggestions": 0,
    "show_critiques": True,
    "hidden_critiques": 0,
}


def prepare(app: FastAPI, **columns: Any) -> None:
    app.state.services.projects.update("demo", settings=SHOWN)
    put_up(app, [replace(task(), columns=columns)])


def test_a_suggestion_is_confirmed_or_changed_by_keyboard(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    suggestion = {"agent": "m", "answer": {"verdict": "a", "strength": 4}}
    prepare(app, suggestion=suggestion)
    put_up(app, [replace(task(name="t2"), columns={"suggestion": suggestion})])
    page = visit()
    page.get_by_role("note", name="Suggestion by an AI").wait_for()
    assert page.locator("input[name=choice]:checked").count() == 1
    page.keyboard.press("Enter")
    page.get_by_text("Saved (no. 1).").wait_for()
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing left to do here").wait_for()
    said = {s.task.id: s.answer or {} for s in SqlJudgements(database).current()}
    assert said["t1"]["verdict"] == "a" and said["t2"]["verdict"] == "tie"
    records = [said[name]["suggestion"] for name in ("t1", "t2")]
    assert [(r["is_shown"], r["is_followed"]) for r in records] == [(True, True), (True, False)]


def test_a_vote_is_revised_after_a_critique_by_keyboard(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    critique = {"agent": "m", "text": "[[a]] is **right**.", "answer": {"verdict": "a"}}
    prepare(app, critique=critique)
    page = visit()
    assert page.locator(".critique").count() == 0
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    page.locator(".critique strong", has_text="right").wait_for()
    page.wait_for_function("document.activeElement.id === 'task-heading'")
    assert page.locator("input[value=tie]").is_checked()
    page.reload()  # nothing is lost on the way
    (vote,) = SqlRevisions(database).first_votes("demo")
    assert vote.after is None
    side = "1" if vote.first.order[0] == 0 else "9"
    page.keyboard.press(side)
    page.keyboard.press("Enter")
    page.get_by_text("Nothing left to do here").wait_for()
    (standing,) = SqlJudgements(database).current()
    assert phase_of(standing) == "after" and (standing.answer or {})["verdict"] == "a"


def test_a_revision_outlives_the_network(visit: Visit, app: FastAPI, database: Database) -> None:
    prepare(app, critique={"agent": "m", "text": "No."})
    page = visit()
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    page.locator(".critique").wait_for()
    page.wait_for_function("document.activeElement.id === 'task-heading'")
    page.context.set_offline(True)
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.locator("#outbox:not([hidden])").wait_for()
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    page.get_by_text("Nothing left to do here").wait_for()
    (standing,) = SqlJudgements(database).current()
    assert phase_of(standing) == "after" and (standing.answer or {})["verdict"] == "both_bad"


def test_hostile_opinions_execute_nothing(visit: Visit, app: FastAPI) -> None:
    suggestion = {"agent": EVERYTHING[:200], "answer": {"verdict": "a", "reason": EVERYTHING}}
    critique = {"agent": EVERYTHING[:200], "text": EVERYTHING, "answer": {"verdict": "a"}}
    prepare(app, suggestion=suggestion, critique=critique)
    text = {"agent": "m", "answer": {"text": EVERYTHING, "response": 0}}
    put_up(app, [replace(task("rewrite", name="t2"), columns={"suggestion": text})])
    page = visit()
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    page.locator(".critique").wait_for()
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Write a better response").wait_for()
    assert page.locator("textarea[name=text]").input_value().strip() == EVERYTHING
    page.wait_for_timeout(200)
    assert page.title() != "executed"
    assert page.evaluate("document.querySelectorAll('main iframe, main svg, main img').length") == 0


@pytest.mark.skipif(AXE is None, reason="needs axe-core (ACCORD_TEST_AXE)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, app: FastAPI, scheme: str) -> None:
    """The card with a suggestion, the one with a critique, and the dashboard with both."""
    answer = {"verdict": "a", "reason": "[[a]] is `right`."}
    critique = {"agent": "m", "text": "[[a]] is **right**.", "answer": {"verdict": "a"}}
    gold = {"gold": {"verdict": "a"}}
    prepare(app, suggestion={"agent": "m", "answer": answer}, critique=critique, **gold)
    app.state.services.accounts.create("boss", "lead")
    how: dict[str, Any] = {"color_scheme": scheme, "bypass_csp": True}
    page = visit(**how)
    check(page, f"suggestion-{scheme}")
    page.keyboard.press("Enter")
    page.locator(".critique").wait_for()
    check(page, f"critique-{scheme}")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing left to do here").wait_for()
    board = visit("/lead/project?name=demo", "boss", **how)
    assert board.get_by_role("heading", name="Critiques: votes before and after").is_visible()
    check(board, f"dashboard-{scheme}")


def check(page: Any, name: str) -> None:
    """No serious violation; a picture for whoever wants to look, on a desk and on a phone."""
    page.add_script_tag(path=str(Path(str(AXE))))
    found = page.evaluate("axe.run()")["violations"]
    serious = [v["id"] for v in found if v["impact"] in ("serious", "critical")]
    assert serious == [], (name, [(v["id"], v["nodes"][0]["html"]) for v in found])
    folder = os.environ.get("ACCORD_TEST_PICTURES")
    if folder is None:
        return
    size = page.viewport_size
    page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=f"{folder}/{name}-phone.png", full_page=True)
    page.set_viewport_size(size)
