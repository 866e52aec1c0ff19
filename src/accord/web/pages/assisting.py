"""Models' opinions on the annotator's page and on the lead's: what is shown, and its effect."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi import Form as FormField
from fastapi.responses import RedirectResponse

from accord.core.types import Lease, Receipt, Submission
from accord.store.hints import lettered
from accord.store.revising import Pending
from accord.web.forms import LETTERS, Form
from accord.web.identity import Identity, only
from accord.web.services import Given, Services

router = APIRouter()

Lead = Annotated[Identity, Depends(only("lead"))]
Switch = Annotated[bool, FormField()]
Percent = Annotated[float, FormField(ge=0, le=100)]


def keep(
    services: Services, lease: Lease, submission: Submission, posted: Mapping[str, str]
) -> Receipt:
    """Keep what a form says, with what was shown beside it: a vote, or one after a critique."""
    if posted.get("revises"):
        return services.revisions.revise(lease.annotator, posted["revises"], submission)
    saw = posted.get("suggestion_shown") == "1"
    return services.queue.submit(lease, services.assistance.recorded(lease, submission, saw=saw))


def waiting(services: Services, annotator: str, project: str) -> Pending | None:
    """A vote whose critique is to be read before anything else."""
    if not services.assistance.settings(project).show_critiques:
        return None
    return next(iter(services.revisions.pending(annotator, project)), None)


def beside(
    services: Services, form: Form, *, answer: Mapping[str, Any] | None, pending: Pending | None
) -> dict[str, Any]:
    """What a card shows of models' opinions, and the fields that are filled in.

    Args:
        services: the store.
        form: of the task.
        answer: what the annotator said of it before.
        pending: the vote that waits for its critique to be read.
    """
    found: dict[str, Any] = {"suggestion": None, "suggested": {}, "critique": None, "revises": ""}
    if pending is not None:
        argued = pending.critique.answer
        critique = {
            "text": lettered(pending.critique.text, form.order),
            "argues": None if argued is None else _says(form, argued),
            "first": _says(form, pending.first.answer or {}),
        }
        filled = form.fill(pending.first.answer or {})
        return {**found, "critique": critique, "revises": pending.first.id, "filled": filled}
    suggested = services.assistance.suggestion(form.task)
    if suggested is not None:
        # The model's reason is no comment of the annotator's.
        given = {name: value for name, value in suggested.answer.items() if name != "reason"}
        reason = lettered(str(suggested.answer.get("reason") or ""), form.order)
        found["suggestion"] = {"gist": _says(form, given), "reason": reason}
        found["suggested"] = form.fill(given)
    filled = found["suggested"] if answer is None else form.fill(answer)
    return {**found, "filled": filled}


def _says(form: Form, answer: Mapping[str, Any]) -> str:
    """An answer in a few words; ratings, of which a count tells nothing here, one by one."""
    if form.task.kind != "likert":
        return form.gist(answer)
    rated = {
        name: [f"{LETTERS[p]} {v}" for p, v in enumerate(form.displayed(values)) if v is not None]
        for name, values in answer["ratings"].items()
    }
    return "; ".join(f"{name}: {', '.join(given)}" for name, given in rated.items() if given)


@router.post("/lead/project/assistance")
def choose(
    _: Lead,
    services: Given,
    name: Annotated[str, FormField()],
    hidden_suggestions: Percent,
    hidden_critiques: Percent,
    show_suggestions: Switch = False,
    show_critiques: Switch = False,
) -> RedirectResponse:
    """Whether models' opinions are shown, and on which share of the tasks they are hidden."""
    chosen = {
        "show_suggestions": show_suggestions,
        "hidden_suggestions": hidden_suggestions / 100,
        "show_critiques": show_critiques,
        "hidden_critiques": hidden_critiques / 100,
    }
    settings = services.projects.get(name).settings
    services.projects.update(name, settings={**settings, **chosen})
    return RedirectResponse(f"/lead/project?name={quote(name, safe='')}", 303)
