"""The annotator's pages: projects, the task at hand, one's last judgements."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from accord.core.errors import AccordError, ConflictError, DataError, NotFoundError
from accord.core.types import Lease, Receipt, Submission
from accord.store.answers import LIKERT
from accord.store.categories import warning_of
from accord.store.judgements import Standing
from accord.store.revising import Pending
from accord.web.forms import LETTERS, Form, check_key
from accord.web.identity import Identity, only
from accord.web.pages import assisting
from accord.web.services import Given, Services
from accord.web.templating import is_part, page
from accord.web.word_diff import word_diff

router = APIRouter()

Person = Annotated[Identity, Depends(only("annotator", "reviewer", "lead"))]
UNDO_DEPTH = 10
SKIP_REASONS = ("I do not know enough about this", "It would take too long", "I would rather not")
FLAG_REASONS = (
    "Personal data",
    "Harmful or illegal content",
    "Broken or unreadable",
    "The same as another task",
    "The guidelines do not cover this",
    "Something else",
)


async def _fields(request: Request) -> dict[str, str]:
    """The text fields of a form; of a repeated one, the last."""
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


Posted = Annotated[dict[str, str], Depends(_fields)]


@router.get("/")
def projects(request: Request, who: Person, services: Given) -> HTMLResponse:
    """Projects that one may work in, and how far each has come."""
    hidden = services.membership.hidden_from(who.name)
    every = [project for project in services.projects.all() if project.name not in hidden]
    rows = [(project, services.queue.progress(project.name)) for project in every]
    desk = services.red_team
    is_open = desk is not None and desk.project not in hidden
    return page(request, "projects.html.jinja", projects=rows, has_red_team=is_open)


@router.get("/label")
def label(request: Request, who: Person, services: Given, project: str) -> Response:
    """The next task of a project, or the one that is held already."""
    try:
        services.membership.check(who.name, project)
        pending = assisting.waiting(services, who.name, project)
        lease = pending.lease if pending else services.queue.lease(who.name, project=project)
    except AccordError as error:
        return _refuse(request, error)
    if lease is None and services.qualification.is_barred(who.name, project):
        return _to_qualification(request, project)
    return _show(request, services, project, lease, pending=pending)


@router.get("/label/ahead")
def ahead(
    request: Request, who: Person, services: Given, project: str, beside: str, seen: int = 0
) -> Response:
    """The card of the task after the one that he is at (`beside`), for the page to hold.

    `Accord-Held-S` says for how long; 204 is for there being none. Where a critique may follow an
    answer, nothing is ahead of it.
    """
    try:
        services.membership.check(who.name, project)
        if services.assistance.settings(project).show_critiques:
            return Response(status_code=204)
        lease = services.queue.lease(who.name, project=project, beside=beside)
    except AccordError as error:
        return _refuse(request, error)
    if lease is None:
        return Response(status_code=204)
    shown = _show(request, services, project, lease, guideline_seen=seen)
    shown.headers["Accord-Held-S"] = f"{lease.until - services.queue.now():.0f}"
    return shown


@router.post("/label/release")
def release(request: Request, who: Person, services: Given, posted: Posted) -> Response:
    """Give a task back that the page held and did not show."""
    try:
        lease = services.leases.find(posted.get("lease", ""), posted.get("task", ""), who.name)
    except AccordError as error:
        return _refuse(request, error)
    services.queue.release(lease)
    return Response(status_code=204)


@router.post("/label/judgements")
def judge(request: Request, who: Person, services: Given, posted: Posted) -> Response:
    """Keep what was said of a task; the next one comes with the word that it is saved."""
    try:
        lease = services.leases.find(posted.get("lease", ""), posted.get("task", ""), who.name)
        project = lease.task.project
        attributes = services.projects.get(project).attributes
        submission = Form(lease.task, lease.order, attributes).read(posted)
        receipt = assisting.keep(services, lease, submission, posted)
        if not is_part(request):
            return RedirectResponse(_address(project), 303)
        saved = _what_was_saved(submission, receipt)
        pending = assisting.waiting(services, who.name, project)
        if posted.get("stay") and pending is None:
            return page(request, "waiting.html.jinja", project=project, saved=saved)
        following = pending.lease if pending else services.queue.lease(who.name, project=project)
    except AccordError as error:
        return _refuse(request, error)
    if following is None and services.qualification.is_barred(who.name, project):
        return _to_qualification(request, project)
    seen = submission.guideline_version
    return _show(
        request, services, project, following, pending=pending, saved=saved, guideline_seen=seen
    )


@router.get("/label/last")
def last(request: Request, who: Person, services: Given, project: str) -> HTMLResponse:
    """One's last ten judgements, the newest first, each to be taken back."""
    return page(
        request,
        "last.html.jinja",
        project=project,
        entries=[(s, _gist(s), uuid.uuid4().hex) for s in _last(services, who)],
    )


@router.post("/label/undo")
def undo(request: Request, who: Person, services: Given, posted: Posted) -> Response:
    """Take one of them back: its task is shown again, with what was said filled in."""
    wanted = posted.get("judgement", "")
    try:
        taken = next((s for s in _last(services, who) if s.id == wanted), None)
        lease = services.queue.undo(who.name, wanted, key=check_key(posted.get("key", "")))
    except AccordError as error:
        return _refuse(request, error)
    if not is_part(request):
        return RedirectResponse(_address(lease.task.project), 303)
    answer = taken.answer if taken is not None and taken.action == "judge" else None
    said = "Taken back. The task is yours again."
    return _show(request, services, lease.task.project, lease, answer=answer, saved=said)


@router.get("/label/differences")
def differences(
    request: Request, who: Person, services: Given, task: str, lease: str
) -> HTMLResponse:
    """The two responses of a pair with the words marked that only one of them has."""
    try:
        held = services.leases.find(lease, task, who.name)
        services.membership.check(who.name, held.task.project)
        form = Form(held.task, held.order)
        if len(form.order) != 2:
            raise DataError("words are compared between two responses")
    except AccordError as error:
        return _refuse(request, error)
    (_, _, first), (_, _, second) = form.places()
    shown = zip(LETTERS, word_diff(first, second), strict=False)
    return page(request, "differences.html.jinja", shown=list(shown))


def _show(
    request: Request,
    services: Services,
    project: str,
    lease: Lease | None,
    *,
    answer: Mapping[str, Any] | None = None,
    pending: Pending | None = None,
    saved: str | None = None,
    guideline_seen: int | None = None,
) -> HTMLResponse:
    """A task's card; in a whole page where the browser has none yet.

    Args:
        pending: the vote that is to be confirmed or revised, where the card shows a critique.
        answer: what was said of it before, to be filled in.
        saved: what to say of the request that led here, once it is on the disk.
        guideline_seen: the version beside the task; a newer one is sent along, so that nobody
            judges by other guidelines than those that his judgement names.
    """
    guidelines = services.projects.guidelines(project)
    context: dict[str, Any] = {}
    if lease is not None:
        found = services.projects.get(project)
        form = Form(lease.task, lease.order, found.attributes)
        context = {
            "lease_name": services.leases.name(lease),
            "task": lease.task,
            "form": form,
            # A critique and what was taken back are of a task that was looked at.
            "warning": None if pending or answer else warning_of(lease.task, found.settings),
            "key": uuid.uuid4().hex,
            "ratings": range(LIKERT[0], LIKERT[1] + 1),
            "skip_reasons": SKIP_REASONS,
            "flag_reasons": FLAG_REASONS,
            **assisting.beside(services, form, answer=answer, pending=pending),
        }
    return page(
        request,
        "card.html.jinja" if is_part(request) else "label.html.jinja",
        project=project,
        lease=lease,
        guideline_version=guidelines.version,
        guidelines=guidelines.text,
        guideline_seen=guideline_seen,
        saved=saved,
        **context,
    )


_STATUS = {ConflictError: 409, NotFoundError: 404}


def _refuse(request: Request, error: AccordError) -> HTMLResponse:
    """Say what is wrong beside the form, which stays as it is."""
    status = next((n for kind, n in _STATUS.items() if isinstance(error, kind)), 422)
    headers = {"HX-Retarget": "#message", "HX-Reswap": "innerHTML"}
    template = "refusal.html.jinja" if is_part(request) else "refused.html.jinja"
    return page(request, template, status=status, headers=headers, reason=str(error))


def _last(services: Services, who: Identity) -> list[Standing]:
    hidden = services.membership.hidden_from(who.name)
    said = services.judgements.of(who.name, last=UNDO_DEPTH)
    return [standing for standing in said if standing.task.project not in hidden]


def _what_was_saved(submission: Submission, receipt: Receipt) -> str:
    done = {"judge": "Saved", "skip": "Skipped", "flag": "Flagged", "unsure": "Saved as unsure"}
    if receipt.is_surplus:
        return "Saved. Others had finished this task meanwhile: yours is kept beside theirs."
    return f"{done[submission.action]} (no. {receipt.sequence})."


def _gist(standing: Standing) -> str:
    if standing.action != "judge":
        return {"skip": "skipped", "flag": "flagged"}.get(standing.action, standing.action)
    if standing.answer is None:
        return "erased"
    return Form(standing.task, standing.order).gist(standing.answer)


def _address(project: str) -> str:
    return f"/label?project={quote(project, safe='')}"


def _to_qualification(request: Request, project: str) -> Response:
    """Lead somebody to the questions that come first, also where a script asked for a task."""
    address = f"/qualify?project={quote(project, safe='')}"
    if is_part(request):
        return Response(headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)
