"""The chat page in a browser: what is clicked is in the store, what models say runs nothing."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from accord.serving.keys import Keys
from serving.chat_parts import FOREVER, RICH, Saying, chat_app, log_of, stored
from serving.test_chat_page import assert_led_back_to_clicks, train_on
from web.pages_app import serving
from web.test_browser import PAYLOADS, chromium, until

AXE = os.environ.get("ACCORD_TEST_AXE")
CHROMIUM = os.environ.get("ACCORD_TEST_CHROMIUM") or shutil.which("chromium")
__all__ = ["chromium"]  # a fixture
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
Visit = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def saying() -> Saying:
    return Saying()


@pytest.fixture
def app(tiny_model_dir: Path, store: Path, saying: Saying) -> FastAPI:
    return chat_app(tiny_model_dir, store, saying, retention_days=30.0)


@pytest.fixture
def visit(app: FastAPI, chromium: Any) -> Iterator[Visit]:
    """Open the page; errors of its scripts, and dialogs of hostile ones, fail the test."""
    complaints: list[str] = []
    contexts = []
    with serving(app) as url:

        def go(**how: Any) -> Any:
            contexts.append(chromium.new_context(**how))
            page = contexts[-1].new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda dialog: complaints.append(dialog.message))
            page.goto(url)
            page.locator("#model option").first.wait_for(state="attached")
            return page

        yield go
        for context in contexts:
            context.close()
    assert complaints == []


def say(page: Any, text: str) -> None:
    """By keyboard alone."""
    page.get_by_label("Your message").focus()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def ask(page: Any, text: str) -> None:
    say(page, text)
    page.get_by_text("Answered.").wait_for()


def click(page: Any, name: str) -> None:
    page.get_by_role("button", name=name).last.click()


def agree(page: Any) -> None:
    page.get_by_role("button", name="Yes, keep it").click()
    page.get_by_text("Stored. Thank you.").wait_for()


def test_a_chat_by_keyboard_goes_on_after_a_reload(visit: Visit, saying: Saying) -> None:
    page = visit()
    saying.texts = {"rich": RICH}
    ask(page, "rich, please")
    text = page.locator(".answered .text")
    for selector in ("h4", "em", "strong", "code", "ol > li > ul > li", "td", "blockquote", "pre"):
        assert text.locator(selector).count(), selector
    assert text.locator("pre").inner_text() == 'print("<b>hi</b>")'
    link = text.locator("a")
    assert link.get_attribute("href") == "https://example.org/x?a=1&b=2"
    assert "noopener" in str(link.get_attribute("rel"))
    ask(page, "two\\nlines")
    page.reload()
    page.locator("#model option").first.wait_for(state="attached")
    assert page.locator(".turn").count() == 4
    ask(page, "again")
    assert page.locator(".turn").count() == 6
    click(page, "New chat")
    assert page.locator(".turn").count() == 0


def test_thumbs_are_stored_once_it_is_agreed_to(visit: Visit, store: Path) -> None:
    page = visit()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    ask(page, "hello")
    click(page, "Good answer")
    page.get_by_role("heading", name="May this be kept?").wait_for()
    assert "It is erased after 30 days." in page.locator("#consent-dialog").inner_text()
    click(page, "No, send nothing")
    click(page, "Good answer")  # nobody asks again
    page.get_by_text("Nothing was sent: you have not agreed to it.").wait_for()
    assert not page.locator("#consent-dialog").is_visible()
    assert not any("feedback" in request or "chat-" in request for request in sent)
    assert stored(store) == []
    page.reload()
    click(page, "Your feedback")
    assert "Nothing is sent" in page.locator("#given-state").inner_text()
    click(page, "Keep my feedback")
    click(page, "Yes, keep it")
    for name, up in (("Good answer", True), ("Bad answer", False)):
        click(page, name)
        page.locator("button[aria-pressed=true]", has_text=name).wait_for()
        (standing,) = stored(store)
        assert standing.answer == {"success": up}
        assert standing.annotator.startswith("local:chat-")
    assert page.evaluate("document.activeElement.textContent") == "Bad answer"


def test_a_vote_between_two_models(visit: Visit, store: Path) -> None:
    page = visit()
    page.get_by_label("Model").select_option("red")
    page.get_by_label("Beside it").select_option("blue")
    ask(page, "who are you?")
    assert page.locator(".responses h2").all_inner_texts() == ["Answer A", "Answer B"]
    best = page.locator(".response .text").nth(1).inner_text()
    page.get_by_role("button", name="B is better").focus()
    page.keyboard.press("Enter")
    agree(page)
    (vote,) = stored(store)
    assert vote.task.responses["ab".index(vote.answer["verdict"])] == best  # type: ignore[index]
    assert set(vote.task.policies) == {"red@red-1", "blue@blue-1"}
    # The conversation goes on with the chosen one.
    assert page.locator(".response .text").all_inner_texts() == [best]
    page.get_by_label("Beside it").select_option("")
    ask(page, "and then?")
    click(page, "Good answer")
    until(lambda: len(stored(store)) == 2, page)
    (thumb,) = [s for s in stored(store) if s.task.kind == "success"]
    assert [m["content"] for m in thumb.task.prompt] == ["who are you?", best, "and then?"]


def test_two_answers_of_one_model_and_another_answer(visit: Visit, store: Path) -> None:
    page = visit()
    page.get_by_label("Beside it").select_option("the same again")
    ask(page, "one request, two choices")
    click(page, "They are alike")
    agree(page)
    assert [s.answer for s in stored(store)] == [{"verdict": "tie"}]
    page.get_by_label("Beside it").select_option("")
    ask(page, "now one")
    first = page.locator(".response .text").last.inner_text()
    click(page, "Another answer")
    page.get_by_role("button", name="A is better").click()
    until(lambda: len(stored(store)) == 2, page)
    vote = stored(store)[-1]
    assert vote.task.responses["ab".index(vote.answer["verdict"])] == first  # type: ignore[index]
    assert page.locator(".response .text").last.inner_text() == first


def test_a_correction_is_stored_and_the_chat_goes_on_with_it(visit: Visit, store: Path) -> None:
    page = visit()
    ask(page, "who?")
    click(page, "Correct it")
    page.keyboard.press("Control+a")
    page.keyboard.type("<b>Ann</b> it is")
    page.reload()  # what is being written is not lost
    assert page.get_by_label("A better answer").input_value() == "<b>Ann</b> it is"
    page.get_by_label("A better answer").press("Control+Enter")
    agree(page)
    assert page.locator(".response .text").inner_text() == "<b>Ann</b> it is"
    click(page, "Correct it")
    page.keyboard.type(" or not")
    click(page, "Save")
    until(
        lambda: [s.answer["text"] for s in stored(store) if s.answer] != ["<b>Ann</b> it is"], page
    )
    (corrected,) = [s.answer for s in stored(store)]
    page.get_by_text("Stored.").wait_for()
    assert not page.get_by_role("button", name="Good answer").count()  # it is hers now
    click(page, "Another answer")
    click(page, "Go on with A")  # which is no vote on the model's own
    ask(page, "sure?")
    click(page, "Bad answer")
    until(lambda: len(stored(store)) == 2, page)
    assert stored(store)[-1].task.prompt[1]["content"] == corrected["text"]  # type: ignore[index]


def test_an_answer_is_stopped(visit: Visit, app: FastAPI, store: Path) -> None:
    page = visit()
    say(page, "forever")
    page.get_by_text(FOREVER * 3).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Send").wait_for()
    assert page.locator("#status").inner_text() == "Stopped."
    metrics = app.state.services.metrics
    cancelled = 'accord_generations_total{finish="cancelled",model="red"} 1'
    until(lambda: cancelled in metrics.render(), page)  # the server has stopped, too
    assert not page.get_by_role("button", name="Good answer").count()  # it was never whole
    ask(page, "and now?")
    said = page.locator(".answered .text").last.inner_text()
    assert said.endswith("no. 1")


def test_the_conversation_outlives_a_request_that_fails(visit: Visit, store: Path) -> None:
    page = visit()
    ask(page, "first")
    page.context.set_offline(True)
    say(page, "second")
    page.get_by_text("The server cannot be reached.").wait_for()
    click(page, "Good answer")
    click(page, "Yes, keep it")
    page.get_by_text("This was not stored: The server cannot be reached.").wait_for()
    assert page.locator("button[aria-pressed=true]").count() == 0
    page.context.set_offline(False)
    page.locator("#message").get_by_role("button", name="Try again").click()
    page.get_by_text("Stored. Thank you.").wait_for()
    assert len(stored(store)) == 1
    page.locator(".turn").get_by_role("button", name="Try again").click()
    page.get_by_text("Answered.").wait_for()
    assert "no. 2" in page.locator(".answered .text").last.inner_text()
    page.context.set_offline(True)
    say(page, "third")
    click(page, "Take my message back")
    assert page.get_by_label("Your message").input_value() == "third"
    assert page.locator(".turn").count() == 4


def test_with_keys_the_page_asks_for_one(
    chromium: Any, tiny_model_dir: Path, tmp_path: Path
) -> None:
    key = "sk-accord-0123456789"
    keys = Keys.read(None, {"ACCORD_API_KEY": key})
    with serving(chat_app(tiny_model_dir, None, Saying(), keys=keys)) as url:
        page = chromium.new_page()
        page.goto(url)
        for given in ("sk-accord-none", key):
            page.get_by_label("API key").fill(given)
            page.keyboard.press("Enter")
            if given != key:
                page.get_by_text("wrong or no API key").wait_for()
        page.locator("#model option").first.wait_for(state="attached")
        assert not page.get_by_label("API key").is_visible()
        ask(page, "hello")
        assert not page.get_by_role("button", name="Good answer").count()  # nothing is kept here
        page.reload()
        ask(page, "again")
        page.close()


def test_what_was_given_is_deleted(visit: Visit, store: Path) -> None:
    page = visit()
    ask(page, "my secret")
    click(page, "Good answer")
    agree(page)
    click(page, "Your feedback")
    click(page, "Delete what I gave")
    page.locator("#erase-yes").click()
    page.get_by_text("What you gave is deleted.").wait_for()
    (standing,) = stored(store)
    assert standing.answer is None and "secret" not in str(standing.task)
    with log_of(store) as log:
        assert log.is_whole()
    click(page, "Bad answer")
    page.get_by_role("heading", name="May this be kept?").wait_for()  # who comes back is asked


def test_hostile_answers_execute_nothing(visit: Visit, saying: Saying, store: Path) -> None:
    """Each payload alone, so that none hides another, and all of them at once; then corrected."""
    page = visit()
    saying.texts = {f"payload {n}.": text for n, text in enumerate(PAYLOADS)}
    saying.texts["everything"] = "\n\n".join(PAYLOADS)
    for number in range(len(PAYLOADS)):
        ask(page, f"payload {number}.")
    ask(page, "everything <img src=x onerror=document.title='executed'>")
    click(page, "Correct it")
    page.keyboard.type(" ")
    click(page, "Save")
    click(page, "No, send nothing")
    assert page.locator(".answered").count() == len(PAYLOADS) + 1
    shown = page.locator(".answered .text").last.inner_text()
    assert "<script>" in shown and "onerror=" in shown  # as words
    for link in page.locator(".turns a").all():
        assert re.match(r"https?:", str(link.get_attribute("href")))
    planted = "iframe, object, svg, img, script, style, form:not(.editor), input, math, meta, xss"
    assert page.locator(".turns").locator(planted).count() == 0
    page.wait_for_timeout(300)
    assert page.title() != "executed"


MARKDOWN = [
    ("**b** _c_ ~~d~~ `e*f*`", "<p><strong>b</strong> <em>c</em> <s>d</s> <code>e*f*</code></p>"),
    ("2 * 3 * 4, snake_case_name", "<p>2 * 3 * 4, snake_case_name</p>"),
    ("*a **b** c*", "<p><em>a <strong>b</strong> c</em></p>"),
    ("[x](javascript:alert(1)) [y](/admin)", "<p>[x](javascript:alert(1)) [y](/admin)</p>"),
    ("- a\n- b\n\n  c", "<ul><li>a</li><li>b<p>c</p></li></ul>"),
    ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
    ("# a #\nb\nc", "<h4>a</h4><p>b<br>c</p>"),
    ("> a\n> - b", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote>"),
    ("![a](http://x.org/i.png)", '<p><span class="image">[image: a, http://x.org/i.png]</span></p>'),
    ("a\n\n---\n\\*b\\*", "<p>a</p><hr><p>*b*</p>"),
    ("**never closed", "<p>**never closed</p>"),
    ("&lt;b&gt;", "<p>&amp;lt;b&amp;gt;</p>"),
]  # fmt: skip


def test_markdown_becomes_nodes(visit: Visit) -> None:
    page = visit()
    script = """([text]) => import('/static/chat_markdown.js').then(({ render }) => {
        const node = document.createElement('div');
        node.append(render(text));
        return node.innerHTML;
    })"""
    for text, expected in MARKDOWN:
        assert page.evaluate(script, [text]) == expected, text
    unclosed = page.evaluate(script, ["```py\n<i>x</i>\n- y"])
    assert unclosed.endswith("<code>&lt;i&gt;x&lt;/i&gt;\n- y</code></pre>")
    for hostile in ("*" * 40_000, "[" * 40_000, "> " * 20_000, "- " * 20_000, "**a " * 10_000):
        assert page.evaluate(script, [hostile])  # and the page goes on


def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Visit, saying: Saying) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    saying.texts = {"wide": f"{RICH}\n\n{'x' * 300}\n\n```\n{'y' * 300}\n```"}
    page.get_by_label("Beside it").select_option("blue")
    page.get_by_label("Your message").fill("wide " + "w" * 200)
    page.get_by_label("Your message").press("Enter")  # which begins a line here
    page.get_by_role("button", name="Send").tap()
    page.get_by_text("Answered.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    left, right = (box.bounding_box() for box in page.locator(".response").all())
    assert left["y"] + left["height"] <= right["y"]  # one below the other


def test_a_click_trains_a_model(
    visit: Visit, store: Path, tiny_model_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    page = visit()
    page.get_by_label("Beside it").select_option("blue")
    ask(page, "which one?")
    click(page, "A is better")
    agree(page)
    trained = train_on(store, tiny_model_dir, tmp_path / "run")
    assert_led_back_to_clicks(trained, tiny_model_dir, store, capsys)


@pytest.mark.skipif(AXE is None, reason="needs axe-core (ACCORD_TEST_AXE)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, saying: Saying, scheme: str) -> None:
    page = visit(color_scheme=scheme, bypass_csp=True)
    saying.texts = {"rich": RICH}
    page.add_script_tag(path=str(Path(str(AXE))))

    def check(where: str) -> None:
        found = page.evaluate("axe.run()")["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], (where, [(v["id"], v["nodes"][0]["html"]) for v in serious])

    check("empty")
    ask(page, "rich")
    click(page, "Good answer")
    check("consent")
    agree(page)
    click(page, "Correct it")
    check("correcting")
    page.get_by_label("Beside it").select_option("blue")
    ask(page, "two")
    check("voting")
    page.context.set_offline(True)
    page.get_by_label("Beside it").select_option("")
    say(page, "fails")
    page.get_by_text("The server cannot be reached.").wait_for()
    check("failed")
