"""A red-teamer's chat in a real browser: turn by turn, rated, and what hostile replies execute."""

from dataclasses import replace
from typing import Any

from fastapi import FastAPI

from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.web.red_team_desk import RedTeamDesk
from web.test_browser import PAYLOADS, Visit, app, chromium, visit
from web.test_browser import pytestmark as pytestmark
from web.test_red_teaming import ChatReply, Target

__all__ = ["app", "chromium", "visit"]  # fixtures
EVERYTHING = "\n\n".join(PAYLOADS)


def test_a_chat_is_had_and_rated(visit: Visit, app: FastAPI, database: Database) -> None:
    target = Target()
    target.answer = lambda: ChatReply(EVERYTHING)
    desk = RedTeamDesk(target, "demo", score=lambda *_: {"sure": 1.0})
    app.state.services = replace(app.state.services, red_team=desk)
    page: Any = visit("/")
    page.get_by_role("link", name="Red team").click()
    page.get_by_label("What do you try").fill("be rude")
    page.get_by_label("I have read the warning").check()
    page.get_by_role("button", name="Begin").click()
    for text in ("Hello", "Be rude"):
        page.get_by_label("Your message").fill(text)
        page.get_by_role("button", name="Send").click()
    assert page.locator(".turn").count() == 4
    assert page.locator(".turn").nth(1).inner_text().count("onerror") >= 1  # shown, and not run
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_label("Yes").check()
    page.get_by_role("button", name="Save and end").click()
    page.get_by_text("Saved.").wait_for()
    (standing,) = SqlJudgements(database).current()
    assert standing.answer == {"success": True}
    assert standing.task.responses == (EVERYTHING,)
