"""In a real browser: what is easily promised and seldom tried."""

from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from web.pages_app import put_up, task
from web.test_assistance_browser import check
from web.test_browser import (
    AXE,
    Visit,
    answer_by_keys,
    app,
    chromium,
    judged,
    pytestmark,
    shown,
    standing,
    take_back_the_last,
    visit,
    wait_for_next,
)

__all__ = ["app", "chromium", "pytestmark", "visit"]


def test_of_five_responses_two_are_ranked(visit: Visit, app: FastAPI, database: Database) -> None:
    """By keys; a rank is taken back by the same key, and what has none is stored without one."""
    put_up(app, [task("ranking", tuple("vwxyz"))])
    page = visit()
    for key in ("4", "2", "5", "5"):  # the last one is taken back
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.get_by_text("Nothing left to do here").wait_for()
    said = standing(database)
    ranks = (said.answer or {})["ranks"]
    assert [ranks[response] for response in said.order] == [None, 2, None, 1, None]


def test_one_s_own_attributes_are_rated(visit: Visit, app: FastAPI, database: Database) -> None:
    services = app.state.services
    services.projects.update("demo", attributes=["Kürze", "tone <b>"])
    put_up(app, [task("likert")])
    page = visit()
    assert page.locator("legend", has_text="tone <b>").count() == 1 * 2
    for key in "7152":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.get_by_text("Nothing left to do here").wait_for()
    said = standing(database)
    ratings = (said.answer or {})["ratings"]
    by_place = {name: [given[i] for i in said.order] for name, given in ratings.items()}
    assert by_place == {"Kürze": [7, 5], "tone <b>": [1, 2]}


def test_ten_are_taken_back_one_after_the_other(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    """And no more: of eleven judgements the first one stands."""
    put_up(app, [task(name=f"t{n:02}") for n in range(11)])
    page = visit()
    for n in range(11):
        shown(page, f"t{n:02}")
        answer_by_keys(page, "pairwise")
    page.get_by_text("Nothing left to do here").wait_for()
    page.keyboard.press("z")
    page.locator("#last button").first.wait_for()
    assert page.locator("#last form").count() == 10
    page.keyboard.press("Escape")
    for n in range(10, 0, -1):
        take_back_the_last(page)
        shown(page, f"t{n:02}")
    assert judged(database) == [("t00", "judge")]


def test_a_marked_task_is_covered_until_somebody_wants_to_see_it(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    marked = {"category": "violence <b>"}
    put_up(app, [replace(task(name=name), columns=marked) for name in ("t0", "t1")])
    page = visit()
    wait_for_next(page)
    response = page.locator("#task .response").first
    assert not response.is_visible() and page.get_by_text("marked “violence <b>”").is_visible()
    answer_by_keys(page, "pairwise")  # keys do nothing to what nobody has seen
    assert page.locator("#task input:checked").count() == 0 and judged(database) == []
    page.keyboard.press("w")
    response.wait_for()
    answer_by_keys(page, "pairwise")
    shown(page, "t1")
    assert not page.locator("#task .response").first.is_visible()
    page.get_by_role("button", name="Give me no such tasks").click()
    page.get_by_text("Nothing left to do here").wait_for()
    assert judged(database) == [("t0", "judge")]
    page.get_by_role("link", name="ann").click()
    assert page.get_by_label("violence <b>").is_checked()


PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


@pytest.mark.parametrize("kind", ["pairwise", "ranking", "likert", "rewrite"])
def test_a_phone_shows_cards_below_each_other_and_never_scrolls_sideways(
    visit: Visit, app: FastAPI, database: Database, kind: Any
) -> None:
    """Down to 320 pixels, which is also what a page of 1280 has at 400% (WCAG 1.4.10)."""
    long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 2
    code = f"```\n{'code ' * 60}\n```"
    put_up(app, [task(kind, (f"{long}\n\n{code}", "| a | b |\n|-|-|\n| 1 | 2 |"))])
    page = visit(**PHONE, is_mobile=True)
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    first, second = (page.locator(".response").nth(n).bounding_box() for n in (0, 1))
    assert second["y"] >= first["y"] + first["height"] and first["x"] == second["x"]
    if kind == "pairwise":
        for choice in page.locator(".choice").all():
            assert choice.bounding_box()["height"] >= 44
        page.locator(".choice", has_text="Tie").tap()
        page.get_by_role("button", name="Submit").tap()
        page.get_by_text("Nothing left to do here").wait_for()
        assert standing(database).answer == {"verdict": "tie"}


@pytest.mark.parametrize(
    "address",
    ["/", "/me", "/lead", "/lead/people", "/lead/project?name=demo", "/lead/tasks?name=demo"],
)
def test_no_page_scrolls_sideways_on_a_phone(visit: Visit, app: FastAPI, address: str) -> None:
    app.state.services.accounts.create("boss", "lead")
    put_up(app, [task(prompt=("word" * 80,))])
    app.state.services.webhooks.add("demo", "https://example.org/" + "x" * 200, ["tasks.added"])
    page = visit(address, "boss", **PHONE, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_lead_finds_a_task_and_adds_a_webhook(visit: Visit, app: FastAPI) -> None:
    app.state.services.accounts.create("boss", "lead")
    put_up(app, [task(name=f"t{n}", prompt=(f"Question {n}?",)) for n in range(25)])
    page = visit("/lead/project?name=demo", "boss")
    page.get_by_text("Tell an address of what happens here").click()
    page.get_by_label("Address").fill("https://example.org/hook")
    page.get_by_label("judgement.undone").uncheck()
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("which is shown only now").wait_for()
    (hook,) = app.state.services.webhooks.of("demo")
    assert "judgement.undone" not in hook.events and len(hook.events) == 3
    page.get_by_role("link", name="Back to demo").click()
    page.get_by_role("link", name="Look through the tasks").click()
    page.get_by_role("link", name="Later").click()
    assert "here 21 to 25" in page.get_by_role("status").inner_text()
    page.get_by_role("searchbox").fill("question 17?")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("1 task", exact=True).wait_for()
    page.locator("summary", has_text="Question 17?").click()
    assert page.get_by_text("second response").is_visible()
    assert SqlJudgements(app.state.services.database).current() == []


@pytest.mark.skipif(AXE is None, reason="needs axe-core (ACCORD_TEST_AXE)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, app: FastAPI, scheme: str) -> None:
    services = app.state.services
    services.accounts.create("boss", "lead")
    put_up(app, [replace(task(), columns={"category": "violence"})])
    services.accounts.declare("ann", {"language": "Finnish"})
    services.webhooks.add("demo", "https://example.org/hook", ["tasks.added"])
    how: dict[str, Any] = {"color_scheme": scheme, "bypass_csp": True}
    page = visit(**how)
    check(page, f"warned-{scheme}")
    check(visit("/me", **how), f"account-{scheme}")
    for name, address in (("lead", "project?name=demo"), ("tasks", "tasks?name=demo")):
        page = visit(f"/lead/{address}", "boss", **how)
        for summary in page.locator("summary").all():
            summary.click()
        check(page, f"{name}-{scheme}")
