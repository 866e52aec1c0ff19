"""Suggestions and critiques through HTTP: what a page shows, what it hides, what is kept."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.core.types import Role, TaskKind
from accord.store.display import display_seed, shown_order
from accord.store.judgements import SqlJudgements, Standing
from accord.store.revising import phase_of
from accord.web.services import Services
from web.pages_app import task

Browser = Callable[[Role | None], TestClient]
PART = {"HX-Request": "true"}
HOSTILE = "<script>alert(1)</script> **bold** [x](javascript:alert(1)) <img src=x onerror=alert(1)>"
CRITIQUE = {
    "agent": "policy-1",
    "text": f"[[b]] is mistaken. {HOSTILE}",
    "answer": {"verdict": "a"},
}
SUGGESTION = {"agent": "policy-0", "answer": {"verdict": "b", "strength": 3, "reason": HOSTILE}}


def put_up(services: Services, *, settings: dict[str, Any], **columns: Any) -> None:
    services.projects.update("chat", settings=settings)
    services.queue.add([replace(task(project="chat"), columns=columns)])


def suggesting(share: float = 0.0) -> dict[str, Any]:
    return {"show_suggestions": True, "hidden_suggestions": share}


def criticising(share: float = 0.0) -> dict[str, Any]:
    return {"show_critiques": True, "hidden_critiques": share}


def show(client: TestClient) -> str:
    answer = client.get("/label", params={"project": "chat"})
    assert answer.status_code == 200, answer.text
    return answer.text


def fields(html: str) -> dict[str, str]:
    form = html.split('id="judgement"', 1)[1]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))


def checked(html: str) -> list[str]:
    return re.findall(r'name="choice" value="(\w+)"[^>]*checked', html)


def post(client: TestClient, html: str, **said: str) -> Any:
    return client.post("/label/judgements", data={**fields(html), **said}, headers=PART)


def letter(response: int, who: str = "annotator") -> str:
    like = task(project="chat")
    return "AB"[shown_order(like, display_seed(like.id, who)).index(response)]


def standing(services: Services) -> Standing:
    (found,) = services.judgements.current("chat")
    return found


def test_a_suggestion_is_filled_in_marked_and_recorded(
    services: Services, browser: Browser
) -> None:
    put_up(services, settings=suggesting(), suggestion=SUGGESTION)
    client = browser("annotator")
    html = show(client)
    suggested = f"{letter(1)}3"
    assert checked(html) == [suggested]
    assert re.search(rf'value="{suggested}".*?</label>', html)[0].count("suggested") == 1  # type: ignore[index]
    assert html.count('class="badge">suggested') == 1
    assert f"A model suggests: <strong>{letter(1)} is better</strong>" in html
    assert "policy" not in html and "0.9" not in html
    assert re.search(r'name="comment"[^>]*>\n</textarea>', html)  # the reason is the model's
    assert post(client, html, choice=suggested).status_code == 200
    said = standing(services)
    assert said.answer == {
        "verdict": "b",
        "strength": 3,
        "suggestion": {"agent": "policy-0", "is_shown": True, "is_followed": True},
    }


def test_hostile_text_of_models_is_sanitised(services: Services, browser: Browser) -> None:
    put_up(
        services,
        settings={**suggesting(), **criticising()},
        suggestion=SUGGESTION,
        critique=CRITIQUE,
    )
    client = browser("annotator")
    html = show(client)
    after = post(client, html, choice="tie").text
    for page, whose in ((html, "suggestion"), (after, "critique")):
        shown = re.search(rf'class="{whose}.*?</div>', page, re.DOTALL)
        assert shown and "<strong>bold</strong>" in shown[0] and "&lt;script&gt;" in shown[0]
        assert "<script>alert" not in page and "<img" not in page
        assert 'href="javascript' not in page
        assert not re.search(r"<style|\sstyle=|\son\w+=(?!alert)", page)


@pytest.mark.parametrize("settings", [{}, suggesting(1.0)])
def test_off_and_hidden_show_nothing(
    services: Services, browser: Browser, settings: dict[str, Any]
) -> None:
    put_up(services, settings=settings, suggestion=SUGGESTION, critique=CRITIQUE)
    client = browser("annotator")
    html = show(client)
    assert checked(html) == [] and "suggest" not in html and "critique" not in html.lower()
    following = post(client, html, choice=f"{letter(0)}1").text
    assert "Nothing left to do" in following
    hidden = {"agent": "policy-0", "is_shown": False, "is_followed": False}
    assert (standing(services).answer or {}).get("suggestion") == (hidden if settings else None)


@pytest.mark.parametrize(
    ("kind", "answer", "shown"),
    [
        ("ranking", {"ranks": [2, 1]}, ["suggested: 1", "suggested: 2"]),
        ("likert", {"ratings": {"helpful": [6, None]}}, ["suggested: 6", "helpful: {} 6<"]),
        ("rewrite", {"text": "</textarea><b>x", "response": 1}, ["&lt;/textarea&gt;&lt;b&gt;x"]),
        ("success", {"success": False}, ["not done"]),
    ],
)
def test_every_kind_is_filled_in(
    services: Services, browser: Browser, kind: TaskKind, answer: dict[str, Any], shown: list[str]
) -> None:
    services.projects.update("chat", settings=suggesting())
    suggestion = {"agent": "m", "answer": answer}
    given = replace(task(kind, project="chat"), columns={"suggestion": suggestion})
    services.queue.add([given])
    html = show(browser("annotator"))
    assert all(text.format(letter(0)) in html for text in shown), html
    assert "<b>x" not in html


def test_a_vote_its_critique_and_the_vote_after(services: Services, browser: Browser) -> None:
    put_up(services, settings=criticising(), critique=CRITIQUE)
    services.queue.add([task(name="t2", project="chat")])
    client = browser("annotator")
    html = show(client)
    assert "is mistaken" not in html
    after = post(client, html, choice=f"{letter(1)}2", comment="why not", stay="1").text
    assert f"{letter(1)} is mistaken." in after and "policy" not in after
    assert f"It argues for: <strong>{letter(0)} is better" in after
    assert f"so far: <strong>{letter(1)} is better" in after
    assert checked(after) == [f"{letter(1)}2"] and "why not" in after
    assert "Flag…" not in after and "Unsure…" in after
    assert fields(show(client))["revises"] == fields(after)["revises"]  # whoever comes back later
    assert phase_of(standing(services)) == "first"
    final = post(client, after, choice=f"{letter(0)}4")
    assert final.status_code == 200 and fields(final.text)["task"] == "t2"
    said = standing(services)
    assert said.answer is not None
    assert (said.answer["verdict"], said.answer["strength"], phase_of(said)) == ("a", 4, "after")
    assert post(client, after, choice=f"{letter(0)}4").status_code == 200  # sent twice, kept once
    (vote,) = services.revisions.first_votes("chat")
    assert (vote.first.answer or {})["verdict"] == "b" and vote.after == said
    assert services.judgements.is_whole()


def test_without_a_script_the_critique_is_a_redirect_away(
    services: Services, browser: Browser
) -> None:
    put_up(services, settings=criticising(), critique=CRITIQUE)
    client = browser("annotator")
    answer = client.post("/label/judgements", data={**fields(show(client)), "choice": "tie"})
    assert answer.status_code == 303
    after = client.get(answer.headers["location"]).text
    done = client.post("/label/judgements", data={**fields(after), "choice": "tie"})
    assert done.status_code == 303 and phase_of(standing(services)) == "after"


def test_a_first_vote_can_be_taken_back(services: Services, browser: Browser) -> None:
    put_up(services, settings=criticising(), critique=CRITIQUE)
    client = browser("annotator")
    after = post(client, show(client), choice="tie").text
    refused = post(client, after, action="skip", skip_reason="no")
    assert refused.status_code == 422 and "take your first answer back" in refused.text
    listed = client.get("/label/last", params={"project": "chat"}, headers=PART).text
    asked = dict(re.findall(r'name="(csrf|judgement|key)" value="(\w+)"', listed))
    undone = client.post("/label/undo", data=asked, headers=PART).text
    assert "is mistaken" not in undone and "revises" not in fields(undone)
    assert "Nothing left" in post(client, undone, choice="tie").text
    assert phase_of(standing(services)) == "again"


def test_another_ones_vote_is_not_mine_to_revise(services: Services, browser: Browser) -> None:
    put_up(services, settings=criticising(), critique=CRITIQUE)
    after = post(client := browser("annotator"), show(client), choice="tie").text
    services.queue.add([task(name="t2", project="chat")])
    other = browser("reviewer")
    mine = fields(show(other))
    forged = {**mine, "revises": fields(after)["revises"], "choice": "A1"}
    answer = other.post("/label/judgements", data=forged, headers=PART)
    assert answer.status_code == 422 and "has no judgement" in answer.text
    assert (standing(services).answer or {})["verdict"] == "tie"


def test_the_dashboard_shows_what_they_do(services: Services, browser: Browser) -> None:
    gold = {"gold": {"verdict": "a"}}
    put_up(
        services,
        settings={**suggesting(), **criticising()},
        suggestion=SUGGESTION,
        critique=CRITIQUE,
        **gold,
    )
    client, lead = browser("annotator"), browser("lead")
    empty = lead.get("/lead/project", params={"name": "chat"}).text
    assert "Anchoring" not in empty and "votes before and after" not in empty
    after = post(client, show(client), choice=f"{letter(1)}1", time_on_task_s="5400").text
    post(client, after, choice=f"{letter(0)}1", time_on_task_s="1800")
    html = lead.get("/lead/project", params={"name": "chat"}).text
    assert "How much it anchors shows once" in html
    assert "right before 0%" in html and "after 100%" in html
    assert "Agreement with the critique: before 0%" in html
    assert "judged in 2.0 hours" in html  # both votes were work
    assert browser("reviewer").get("/lead/project", params={"name": "chat"}).status_code == 200


def test_a_lead_chooses_what_is_shown(services: Services, browser: Browser) -> None:
    services.projects.update("chat", settings={"hourly_rate": 20})
    form = {"name": "chat", "show_critiques": "true", "hidden_suggestions": "20",
            "hidden_critiques": "33.5"}  # fmt: skip
    lead = browser("lead")
    assert lead.post("/lead/project/assistance", data=form).status_code == 303
    assert services.projects.get("chat").settings == {
        "hourly_rate": 20, "show_suggestions": False, "hidden_suggestions": 0.2,
        "show_critiques": True, "hidden_critiques": 0.335,
    }  # fmt: skip
    html = lead.get("/lead/project", params={"name": "chat"}).text
    assert 'name="hidden_critiques" value="33.5"' in html
    wrong = lead.post("/lead/project/assistance", data={**form, "hidden_critiques": "120"})
    assert wrong.status_code == 422
    assert browser("reviewer").post("/lead/project/assistance", data=form).status_code == 403
    bad = {"settings": {"show_critiques": "yes"}}
    assert lead.patch("/api/v1/projects/chat", json=bad).status_code == 400


def test_the_log_tells_the_vote_after_from_an_undo(services: Services, browser: Browser) -> None:
    put_up(services, settings=criticising(), critique=CRITIQUE)
    client = browser("annotator")
    after = post(client, show(client), choice="tie").text
    post(client, after, choice="tie")
    assert phase_of(standing(services)) == "after"  # the same vote again is one after it, too
    assert SqlJudgements(services.database).is_whole()
