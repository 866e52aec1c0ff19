"""Accounts, tokens, oneself, and what is erased on request."""

import contextlib
import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request

from accord.core.errors import DataError, NotFoundError
from accord.web.api.bodies import (
    AccountChange,
    AccountName,
    Erasure,
    NewAccount,
    NewToken,
    PasswordChange,
    SelfDescription,
    may,
)
from accord.web.identity import ROLES, Identity
from accord.web.services import Given

router = APIRouter(tags=["members"])

Anyone = Annotated[Identity, Depends(may("read", *ROLES))]
Member = Annotated[Identity, Depends(may("manage", *ROLES))]
Lead = Annotated[Identity, Depends(may("manage", "lead"))]


@router.get("/accounts")
def list_accounts(_: Lead, services: Given) -> list[dict[str, Any]]:
    """All accounts. Groups are not among it: they are for statistics of groups large enough."""
    return [_listed(account) for account in services.accounts.all()]


@router.post("/accounts", status_code=201)
def create_account(body: NewAccount, _: Lead, services: Given, request: Request) -> dict[str, Any]:
    """A new account; a person's comes with a link that works once and sets the password."""
    made = services.accounts.create(body.name, body.role, kind=body.kind)
    link = services.link(request, made.name) if made.kind == "person" else None
    return {**_listed(made), "link": link}


@router.patch("/accounts/{name:path}")
def change_account(name: str, body: AccountChange, _: Lead, services: Given) -> dict[str, Any]:
    """Another role; switch it off (signed out at once, tokens revoked), or on."""
    changed = services.accounts.change(name, role=body.role, is_active=body.is_active)
    return _listed(changed)


@router.post("/links", status_code=201)
def invite(body: AccountName, _: Lead, services: Given, request: Request) -> dict[str, str]:
    """Another link for somebody who lost the first one, or the password."""
    return {"link": services.link(request, body.name)}


@router.get("/me")
def me(who: Anyone, services: Given) -> dict[str, Any]:
    """One's own account."""
    return dataclasses.asdict(services.accounts.get(who.name))


@router.patch("/me")
def describe_me(body: SelfDescription, who: Member, services: Given) -> dict[str, Any]:
    """Opt out of categories; declare groups (with consent), or have them forgotten (null)."""
    if body.groups and not body.consent:
        raise DataError("groups are kept with your consent only: send consent, true")
    if body.opted_out is not None:
        services.accounts.opt_out(who.name, body.opted_out)
    if "groups" in body.model_fields_set:
        services.accounts.declare(who.name, body.groups)
    return dataclasses.asdict(services.accounts.get(who.name))


@router.post("/me/password", status_code=204)
def change_password(body: PasswordChange, who: Member, services: Given, request: Request) -> None:
    """Change one's password; one is signed out everywhere."""
    address = request.client.host if request.client else ""
    if not services.passwords.is_right(who.name, body.old, address=address):
        raise HTTPException(403, "the old password is wrong")
    services.passwords.set(who.name, body.new)


@router.get("/tokens")
def list_tokens(who: Member, services: Given) -> list[dict[str, Any]]:
    """One's own tokens; a lead sees all. Never their secrets."""
    whose = None if who.role == "lead" else who.name
    return [dataclasses.asdict(token) for token in services.access.tokens(whose)]


@router.post("/tokens", status_code=201)
def issue_token(body: NewToken, who: Member, services: Given) -> dict[str, Any]:
    """A new token; its secret is shown this once."""
    account = body.account or who.name
    if account != who.name and who.role != "lead":
        raise HTTPException(403, "only a lead makes tokens for others")
    if who.scopes is not None and not set(body.scopes) <= who.scopes:
        raise HTTPException(403, "a token makes no token that may do more")
    token, secret = services.access.issue_token(
        account, body.name, body.scopes, expires_in_s=body.expires_in_s
    )
    return {**dataclasses.asdict(token), "secret": secret}


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: int, who: Member, services: Given) -> None:
    """End a token at once."""
    services.access.revoke_token(token_id, account=None if who.role == "lead" else who.name)


@router.post("/erasures")
def erase(body: Erasure, _: Lead, services: Given) -> dict[str, list[str]]:
    """Delete what was said; gives the hashes of the exports that hold some of it."""
    if (body.annotator is None) == (not body.judgements):
        raise DataError("expected an annotator, or judgements")
    if body.annotator is not None:
        with contextlib.suppress(NotFoundError):  # also who has no account may have said something
            services.accounts.declare(body.annotator, None)
    exports = services.judgements.erase(annotator=body.annotator, ids=body.judgements)
    return {"exports": exports}


@router.get("/exports/{sha256}")
def export_sources(
    sha256: str, _: Annotated[Identity, Depends(may("read", "lead", "reviewer"))], services: Given
) -> dict[str, list[str]]:
    """Ids of the judgements that went into an export."""
    return {"judgements": services.judgements.judgements_of(sha256)}


def _listed(account: Any) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(account).items() if k != "groups"}
