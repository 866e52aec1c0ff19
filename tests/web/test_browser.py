"""The annotation app in a real browser, by keyboard, from the page to the database."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from accord.core.types import Submission, TaskKind
from accord.store.database import Database
from accord.store.exporting import judgement_rows
from accord.store.judgements import SqlJudgements, Standing
from accord.web.gate import COOKIE
from web.pages_app import build, put_up, serving, task

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("ACCORD_TEST_CHROMIUM") or shutil.which("chromium")
AXE = os.environ.get("ACCORD_TEST_AXE")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
KINDS: tuple[TaskKind, ...] = (
    "pairwise", "ranking", "likert", "rewrite", "critique", "success",
)  # fmt: skip

# What runs sets this title; after the OWASP cheat sheet on filter evasion.
RUNS = "document.title='executed'"
PAYLOADS = (
    f"<script>{RUNS}</script>",
    f"<img src=x onerror={RUNS}>",
    f"<svg onload={RUNS}></svg>",
    f"<svg/onload={RUNS}//",
    f"<body onload={RUNS}>",
    f"<iframe srcdoc='<script>parent.{RUNS}</script>'></iframe>",
    f"<a href=\"javascript:{RUNS}\">click</a>",
    f"[click](javascript:{RUNS})",
    f"[click](data:text/html,<script>{RUNS}</script>)",
    f"![x](x \"onerror={RUNS}\")",
    f"<details open ontoggle={RUNS}>x</details>",
    f"<input autofocus onfocus={RUNS}>",
    f"<math><mtext><script>{RUNS}</script></mtext></math>",
    f"</textarea><script>{RUNS}</script>",
    f"\"><script>{RUNS}</script>",
    f"' autofocus onfocus={RUNS} x='",
    "<style>@import 'data:text/css,*{}';</style><xss style=\"behavior:url(x)\">",
    f"<object data=\"data:text/html,<script>{RUNS}</script>\"></object>",
    f"<form action=\"javascript:{RUNS}\"><button>go</button></form>",
    f"<meta http-equiv=refresh content=\"0;url=javascript:{RUNS}\">",
    f"```html\n<script>{RUNS}</script>\n```",
    f"${{{RUNS}}} {{{{ 7*7 }}}}",
    f"<div hx-get=/ hx-trigger=load hx-on:load=\"{RUNS}\">x</div>",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def app(database: Database) -> FastAPI:
    return build(database)


Visit = Callable[..., Any]


@pytest.fixture
def visit(app: FastAPI, chromium: Any) -> Iterator[Visit]:
    """Open an address as an annotator who is signed in; what the console complains of fails."""
    complaints: list[str] = []
    with serving(app) as url:
        contexts = []

        def go(address: str = "/label?project=demo", who: str = "ann", **how: Any) -> Any:
            context = chromium.new_context(**how)
            contexts.append(context)
            session = app.state.services.access.start_session(who)
            context.add_cookies([{"name": COOKIE, "value": session, "url": url}])
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda dialog: complaints.append(dialog.message))
            page.goto(url + address)
            return page

        yield go
        for context in contexts:
            context.close()
    assert complaints == []


def standing(database: Database) -> Standing:
    (found,) = SqlJudgements(database).current()
    return found


def answer_by_keys(page: Any, kind: TaskKind) -> None:
    """The first of what is shown is the better; nothing is touched but keys."""
    press = page.keyboard.press
    if kind in ("rewrite", "critique"):
        press("e")
        press("Control+a")
        page.keyboard.type("Four <b>is</b> right.")
        press("Control+Enter")
        return
    keys = {"pairwise": "1", "ranking": "12", "likert": "765432", "success": "1"}[kind]
    for key in keys:
        press(key)
    press("Enter")


def expected(kind: TaskKind, order: tuple[int, ...]) -> dict[str, Any]:
    first = order[0]
    if kind == "success":
        return {"success": True}
    if kind == "likert":
        shown = {"helpful": [7, 4], "harmless": [6, 3], "honest": [5, 2]}
        return {
            "ratings": {
                name: [pair[order.index(i)] for i in (0, 1)] for name, pair in shown.items()
            }
        }
    return {
        "pairwise": {"verdict": "ab"[first], "strength": 4},
        "ranking": {"ranks": [order.index(i) + 1 for i in (0, 1)]},
        "rewrite": {"text": "Four <b>is</b> right.", "response": first},
        "critique": {"text": "Four <b>is</b> right.", "response": first},
    }[kind]


def until(is_so: Callable[[], bool], page: Any) -> None:
    """Playwright's own waiting evaluates strings, which these pages do not allow."""
    for _ in range(500):
        if is_so():
            return
        page.wait_for_timeout(20)
    raise AssertionError


def wait_for_next(page: Any) -> None:
    """Until the page holds the card of the next task."""
    script = "import('/static/ahead.js').then((ahead) => ahead.card() !== null)"
    until(lambda: page.evaluate(script), page)


def take_back_the_last(page: Any) -> None:
    page.keyboard.press("z")
    page.locator("#last button").first.wait_for()
    # A form that is new to the page is taken over a moment later.
    script = (
        "'htmx-internal-data' in document.querySelector('#last form') && "
        "document.activeElement.closest('#last') !== null"
    )
    until(lambda: page.evaluate(script), page)
    page.keyboard.press("Enter")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_by_keyboard(
    visit: Visit, app: FastAPI, database: Database, kind: TaskKind
) -> None:
    responses = ("one",) if kind == "success" else ("It is *four*.", "It is five.")
    put_up(app, [task(kind, responses)])
    page = visit()
    answer_by_keys(page, kind)
    page.get_by_text("Nothing left to do here").wait_for()
    assert "Saved (no. 1)." in page.locator("#status").inner_text()
    said = standing(database)
    wanted = expected(kind, said.order)
    assert {k: v for k, v in (said.answer or {}).items() if k in wanted} == wanted
    assert said.time_on_task_s is not None and said.guideline_version == 1
    (row,) = judgement_rows([said])
    assert row["answer"] == said.answer and row["responses"] == list(responses)


def test_taking_back_skipping_and_flagging_by_keyboard(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    put_up(app, [task()])
    page = visit()
    answer_by_keys(page, "pairwise")
    page.get_by_text("Nothing left to do here").wait_for()
    take_back_the_last(page)
    page.get_by_text("Taken back").wait_for()
    assert SqlJudgements(database).current() == []
    page.keyboard.press("f")
    page.locator("#flag-dialog[open]").wait_for()
    for key in ("Tab", "Tab", "Enter"):  # past the reason and the text, to the button
        page.keyboard.press(key)
    page.get_by_text("Flagged").wait_for()
    assert standing(database).action == "flag"


def test_an_answer_outlives_the_network(visit: Visit, app: FastAPI, database: Database) -> None:
    put_up(app, [task()])
    page = visit()
    page.context.set_offline(True)
    answer_by_keys(page, "pairwise")
    page.locator("#outbox:not([hidden])").wait_for()
    assert SqlJudgements(database).current() == []
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    page.get_by_text("Nothing left to do here").wait_for()
    assert standing(database).action == "judge"


def shown(page: Any, name: str) -> None:
    page.locator(f"#task[data-task={name}]").wait_for()


def judged(database: Database) -> list[tuple[str, str]]:
    return [(said.task.id, said.action) for said in SqlJudgements(database).current()]


def test_the_next_task_comes_while_the_server_cannot_be_reached(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    queue = app.state.services.queue
    put_up(app, [task(name=f"t{n}", prompt=(f"Question {n}?",)) for n in range(4)])
    page = visit()
    wait_for_next(page)
    assert queue.progress("demo")["leased"] == 2
    page.context.set_offline(True)
    answer_by_keys(page, "pairwise")
    shown(page, "t1")
    assert page.evaluate("document.activeElement.id") == "task-heading"
    page.locator("#outbox:not([hidden])").wait_for()
    assert judged(database) == []
    answer_by_keys(page, "pairwise")  # there is no third one yet: this one is kept, and waits
    page.locator("#whole:disabled").wait_for()
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    shown(page, "t2")
    assert judged(database) == [("t0", "judge"), ("t1", "judge")]
    wait_for_next(page)
    answer_by_keys(page, "pairwise")
    shown(page, "t3")
    page.get_by_text("Saved (no. 3).").wait_for()
    answer_by_keys(page, "pairwise")
    page.get_by_text("Nothing left to do here").wait_for()
    assert [name for name, _ in judged(database)] == ["t0", "t1", "t2", "t3"]
    assert queue.progress("demo")["leased"] == 0


def test_a_task_that_was_held_and_not_shown_is_given_back(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    """By who leaves, wants no next task, or takes one back: that one comes next, then his own."""
    queue = app.state.services.queue
    put_up(app, [task(name=f"t{n}") for n in range(4)])
    page = visit()
    wait_for_next(page)
    answer_by_keys(page, "pairwise")
    shown(page, "t1")
    wait_for_next(page)
    take_back_the_last(page)
    shown(page, "t0")
    wait_for_next(page)
    until(lambda: queue.progress("demo")["leased"] == 2, page)
    answer_by_keys(page, "pairwise")
    shown(page, "t1")
    wait_for_next(page)
    page.keyboard.press("?")
    page.get_by_label("Show the next task at once").uncheck()
    until(lambda: queue.progress("demo")["leased"] == 1, page)
    page.get_by_label("Show the next task at once").check()
    wait_for_next(page)
    assert queue.progress("demo")["leased"] == 2
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    until(lambda: queue.progress("demo")["leased"] == 1, page)
    assert judged(database) == [("t0", "judge")]


def test_with_the_next_task_at_hand_what_is_missing_is_still_said_beside_the_form(
    visit: Visit, app: FastAPI, database: Database
) -> None:
    put_up(app, [task("ranking", name="t0"), task("likert", name="t1"), task(name="t2")])
    page = visit()
    wait_for_next(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.get_by_text("rank at least two responses").wait_for()
    shown(page, "t0")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    shown(page, "t1")
    wait_for_next(page)
    page.keyboard.press("s")
    page.locator("#skip-dialog[open]").wait_for()
    for key in ("Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    shown(page, "t2")
    page.get_by_text("Skipped (no. 2).").wait_for()
    assert judged(database) == [("t0", "judge"), ("t1", "skip")]


def test_keys_can_be_changed_and_are_kept(visit: Visit, app: FastAPI) -> None:
    put_up(app, [task(), task(name="t2")])
    page = visit()
    page.keyboard.press("?")
    page.locator('[data-rebinds="choose-tie"]').focus()
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("j")
    assert page.locator("input[value=tie]").is_checked()


def listening(page: Any) -> None:
    """A page was loaded, and its script has begun to hear keys."""
    page.locator("#open-keys[aria-keyshortcuts]").wait_for()


def test_qualifying_by_keyboard(visit: Visit, app: FastAPI, database: Database) -> None:
    """One answer by a number, one by a dialog; a wrong one is explained; then the first task."""
    put_up(app, [task()])
    qualification = app.state.services.qualification
    rows = [
        {"prompt": "q0", "responses": ["x", "y"], "gold": {"verdict": "tie"}, "reason": "Alike."},
        {"prompt": "q1", "responses": ["x", "y"], "gold": {"action": "flag"}, "reason": "Hm."},
    ]
    qualification.ask("demo", rows)
    qualification.change("demo", is_required=True, pass_share=0.5)
    page = visit()
    press = page.keyboard.press
    page.get_by_role("heading", name="What would you say here?").wait_for()
    listening(page)
    press("1")
    press("Enter")
    page.get_by_role("heading", name="Not what was expected").wait_for()
    assert "Alike." in page.locator(".told").inner_text()
    listening(page)
    press("Enter")
    page.get_by_role("heading", name="What would you say here?").wait_for()
    listening(page)
    press("f")
    page.locator("#flag-dialog[open]").wait_for()
    for key in ("Tab", "Tab", "Enter"):
        press(key)
    page.get_by_role("heading", name="Right", exact=True).wait_for()
    listening(page)
    press("Enter")
    page.get_by_role("heading", name="Passed").wait_for()
    listening(page)
    press("Enter")
    page.get_by_role("heading", name="Which response is better?").wait_for()
    assert SqlJudgements(database).current() == []


def test_hostile_text_executes_nothing(visit: Visit, app: FastAPI) -> None:
    """In responses, prompts, project names, guidelines, the list of last judgements and compared
    words, with every button of the page pressed."""
    everything = "\n\n".join(PAYLOADS)
    app.state.services.projects.add_guidelines("demo", everything)
    hostile = task(
        responses=(everything, everything + " more"), prompt=(everything, "a", everything)
    )
    put_up(app, [hostile, task("rewrite", (everything, "b"), name="t2")])
    page = visit()
    for key in ("r", "d", "h", "g"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    answer_by_keys(page, "pairwise")
    page.get_by_role("heading", name="Write a better response").wait_for()
    page.keyboard.press("z")
    page.locator("#last button").first.wait_for()
    for link in page.locator("main a:visible").all()[:20]:
        assert not re.match(r"\s*(javascript|data|vbscript):", link.get_attribute("href") or "")
    page.wait_for_timeout(300)
    assert page.title() != "executed"
    assert (
        page.evaluate("document.querySelectorAll('main iframe, main object, main svg').length") == 0
    )


def test_hostile_questions_execute_nothing(visit: Visit, app: FastAPI) -> None:
    """In a question's prompt, responses and reason, as annotators and as leads see them."""
    everything = "\n\n".join(PAYLOADS)
    services = app.state.services
    row = {"prompt": everything, "responses": [everything, "y"], "reason": everything}
    (question,) = services.qualification.ask("demo", [{**row, "gold": {"verdict": "tie"}}])
    services.qualification.change("demo", is_required=True)
    services.accounts.create("boss", "lead")
    page = visit("/qualify?project=demo")
    answer_by_keys(page, "pairwise")
    page.get_by_role("heading", name="Not what was expected").wait_for()
    assert PAYLOADS[0] in page.locator(".told").inner_text()
    lead = visit("/lead/project?name=demo", "boss")
    lead.locator("summary", has_text="The questions").click()
    for shown in (page, lead):
        shown.wait_for_timeout(300)
        assert shown.title() != "executed"
    assert services.qualification.feedback("ann", "demo", question.task.id).said is not None


def test_another_site_cannot_post(visit: Visit, app: FastAPI, database: Database) -> None:
    """A form of another origin, with the victim's cookie and even the token."""
    put_up(app, [task()])
    page = visit()
    fields = page.evaluate("Object.fromEntries(new FormData(document.getElementById('judgement')))")
    target = page.url.split("/label")[0] + "/label/judgements"
    inputs = "".join(
        f'<input name="{name}" value="{value}">'
        for name, value in {**fields, "choice": "A1"}.items()
    )
    page.goto("about:blank")
    page.set_content(f'<form method="post" action="{target}">{inputs}<button>go</button></form>')
    with page.expect_response(target) as answer:
        page.locator("button").click()
    assert answer.value.status == 403
    assert SqlJudgements(database).current() == []


@pytest.mark.skipif(AXE is None, reason="needs axe-core (ACCORD_TEST_AXE)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, app: FastAPI, scheme: str) -> None:
    put_up(app, [task(kind, name=kind, project=kind) for kind in KINDS])
    app.state.services.accounts.create("boss", "lead")
    services = app.state.services
    services.qualification.change("pairwise", is_required=True)
    question = services.qualification.questions("pairwise")[0].task.id
    said = Submission("", {"verdict": "tie"})
    services.qualification.answer("ann", "pairwise", question, said)
    services.membership.add("pairwise", "ann")
    lead = ["/lead", "/lead/people", "/lead/project?name=demo", "/lead/project?name=pairwise"]
    told = f"/qualify?project=pairwise&answered={question}"
    tasks = [f"/label?project={kind}" for kind in KINDS]
    for address in ["/", "/login", *tasks, "/qualify?project=demo", told, *lead]:
        who = "boss" if address in lead else "ann"
        page = visit(address, who, color_scheme=scheme, bypass_csp=True)
        page.add_script_tag(path=str(Path(str(AXE))))
        found = page.evaluate("axe.run()")["violations"]
        serious = [v["id"] for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], (address, [(v["id"], v["nodes"][0]["html"]) for v in found])
