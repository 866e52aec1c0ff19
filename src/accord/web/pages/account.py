"""Somebody's own page: what he would rather not be given, what he says of himself, his password."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from accord.core.errors import DataError
from accord.store.categories import categories
from accord.web.pages.labelling import Person, Posted
from accord.web.services import Given, Services
from accord.web.templating import page

router = APIRouter()

Texts = Annotated[list[str], Form()]
Ticked = Annotated[list[str] | None, Form()]
"""None where nothing is ticked."""


@router.get("/me")
def me(request: Request, who: Person, services: Given) -> HTMLResponse:
    """One's own account."""
    return _show(request, services, who.name)


@router.post("/me/categories")
def opt_out(
    request: Request, who: Person, services: Given, category: Ticked = None
) -> HTMLResponse:
    """Be given no task of these categories from now on, and of all others."""
    services.accounts.opt_out(who.name, category or [])
    return _show(request, services, who.name, said="Kept, from the next task on.")


@router.post("/me/categories/add")
def opt_out_of_one(who: Person, services: Given, posted: Posted) -> Response:
    """Opt out at the sight of a warning: the task goes back unseen, and another one comes."""
    project, known = posted.get("project", ""), services.accounts.get(who.name).opted_out
    services.membership.check(who.name, project)
    services.accounts.opt_out(who.name, [*known, posted.get("category", "")])
    if posted.get("lease"):
        held = services.leases.find(posted["lease"], posted.get("task", ""), who.name)
        services.queue.release(held)
    return RedirectResponse(f"/label?project={quote(project, safe='')}", 303)


@router.post("/me/groups")
def declare(
    request: Request,
    who: Person,
    services: Given,
    group: Texts,
    value: Texts,
    consent: Annotated[bool, Form()] = False,
) -> HTMLResponse:
    """Keep what somebody says of himself, with his consent; an empty form has it forgotten."""
    names, values = ([text.strip() for text in column] for column in (group, value))
    if [bool(name) for name in names] != [bool(said) for said in values]:
        raise DataError("groups: each has a name and what you are, such as language and Finnish")
    groups = {name: said for name, said in zip(names, values, strict=True) if name}
    if groups and not consent:
        raise DataError("groups are kept with your consent only: tick the box")
    services.accounts.declare(who.name, groups or None)
    return _show(request, services, who.name, said="Kept." if groups else "Nothing of it is kept.")


@router.post("/me/password")
def change_password(
    request: Request,
    who: Person,
    services: Given,
    new: Annotated[str, Form()],
    old: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Take another password, or a first one; one is signed out everywhere."""
    address = request.client.host if request.client else ""
    has_one = services.accounts.get(who.name).has_password
    if has_one and not services.passwords.is_right(who.name, old, address=address):
        raise HTTPException(403, "the old password is wrong")
    services.passwords.set(who.name, new)
    return RedirectResponse("/login", 303)


def _show(request: Request, services: Services, name: str, *, said: str = "") -> HTMLResponse:
    account = services.accounts.get(name)
    marked = categories(services.database, hidden=services.membership.hidden_from(name))
    known = {category for counts in marked.values() for category in counts}
    return page(
        request,
        "account.html.jinja",
        account=account,
        categories=sorted(known | set(account.opted_out)),
        groups=sorted((account.groups or {}).items()),
        said=said,
    )
