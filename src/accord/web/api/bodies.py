"""What requests of the API hold, and who may make them."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from accord.core.types import Action, Aggregation, Role, TaskKind
from accord.store.access import Scope
from accord.store.accounts import Kind
from accord.store.projects import ATTRIBUTES
from accord.store.text import check_storable
from accord.store.webhooks import Event
from accord.web.identity import Identity, only

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
"""Of a submission: made by the client, the same when it is sent again."""


def may(scope: Scope, *roles: Role) -> Callable[..., Coroutine[Any, Any, Identity]]:
    """A dependency: who asks, if the role may do this, and the token if one was shown."""
    by_role = only(*roles)

    async def check(identity: Annotated[Identity, Depends(by_role)]) -> Identity:
        if identity.scopes is not None and scope not in identity.scopes:
            raise HTTPException(403, f"this needs a token with the scope {scope!r}")
        return identity

    check.scope = scope  # type: ignore[attr-defined]
    return check


class Body(BaseModel):
    """A JSON object of known fields, of text that every database takes."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        check_storable(value, "the request")
        return value


class NewProject(Body):
    """A project; without a text it starts with the guidelines that ship. One that is not open is
    for its members.
    """

    name: str
    title: str = ""
    attributes: list[str] = list(ATTRIBUTES)
    settings: dict[str, Any] = {}
    guidelines: str | None = None
    is_open: bool = True


class ProjectChange(Body):
    """What is to change; settings as a whole."""

    title: str | None = None
    attributes: list[str] | None = None
    settings: dict[str, Any] | None = None
    is_open: bool | None = None


class NewGuidelines(Body):
    """The next version; `requalify` has everybody qualify again."""

    text: str
    requalify: bool = False


class NewTasks(Body):
    """Rows in the columns of the ecosystem; all are taken or none."""

    rows: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)
    kind: TaskKind = "pairwise"
    overlap: int = Field(1, ge=1, le=1000)


class LeaseName(Body):
    """A lease as it was given."""

    task_id: str
    lease: str


class NewJudgement(LeaseName):
    """What was said of a task; `answer` counts responses in the task's order."""

    key: Key
    action: Action = "judge"
    answer: dict[str, Any] = {}
    time_on_task_s: float | None = None
    guideline_version: int | None = Field(None, ge=1, le=10**6)
    saw_suggestion: bool = False


class Revision(Body):
    """What was said after the critique: the same again, something else, or that one is unsure."""

    key: Key
    action: Action = "judge"
    answer: dict[str, Any] = {}
    time_on_task_s: float | None = None
    guideline_version: int | None = Field(None, ge=1, le=10**6)


class NewCritique(Body):
    """What a model thinks of a task's responses, and the answer it argues for, if any; `[[a]]` in
    the text stands for the first response.
    """

    task_id: str
    text: str = Field(max_length=100_000)
    answer: dict[str, Any] | None = None


class Decision(Body):
    """A reviewer's verdict on a pair: a, b, tie or both_bad."""

    task_id: str
    verdict: str
    key: Key


class Undo(Body):
    """The key of the undoing."""

    key: Key


class NewExport(Body):
    """What training is to read."""

    what: str = Field("comparisons", pattern="^(comparisons|rankings|demonstrations|first_votes)$")
    aggregation: Aggregation = "majority"
    seed: int = Field(0, ge=0, le=2**31 - 1)


class NewWebhook(Body):
    """An address, and what it is told of."""

    url: str
    events: list[Event]


class WebhookChange(Body):
    """What is to change; one that is switched on is told at once of what waits for it."""

    url: str | None = None
    events: list[Event] | None = None
    is_on: bool | None = None


class NewAccount(Body):
    """An account; `kind` says who is behind it, if not a person (or a model, for a machine)."""

    name: str
    role: Role
    kind: Kind | None = None


class AccountChange(Body):
    """Another role; off, or on."""

    role: Role | None = None
    is_active: bool | None = None


class AccountName(Body):
    """Whose."""

    name: str


class SelfDescription(Body):
    """Categories that one opts out of; groups that one says to belong to, if one consents."""

    opted_out: list[str] | None = Field(None, max_length=100)
    groups: dict[str, str] | None = Field(None, max_length=50)
    consent: bool = False


class PasswordChange(Body):
    """The old one shows that it is you."""

    old: str
    new: str


class NewToken(Body):
    """A token, for oneself unless a lead makes it for another account."""

    name: str
    scopes: list[Scope]
    expires_in_s: float | None = None
    account: str | None = None


class Erasure(Body):
    """Everything that an annotator said, or these judgements."""

    annotator: str | None = None
    judgements: list[str] = Field([], max_length=10_000)
