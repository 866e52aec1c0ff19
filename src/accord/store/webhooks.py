"""Webhooks, and the events that they are told of: written with what happened, told in order."""

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, Text, cast, delete, func, select, update

from accord.core.errors import DataError, NotFoundError
from accord.store.part import Part
from accord.store.schema import events, projects, webhooks
from accord.store.text import check_storable

Event = Literal["judgement.created", "judgement.undone", "tasks.added", "export.created"]
EVENTS: tuple[Event, ...] = get_args(Event)
PAUSES_S = (1.0, 5.0, 30.0, 300.0, 1800.0, 3600.0)
"""Before each new try; the last one again and again."""
GIVE_UP_S = 86_400.0
"""A webhook that has failed for so long is switched off."""


@dataclass(frozen=True)
class Webhook:
    """An address that is told of events; the secret signs, and is never shown or logged."""

    id: int
    project: str
    url: str
    events: tuple[Event, ...]
    created_at: float
    secret: str = field(repr=False)
    is_on: bool = True
    told: int = 0
    """the last event that it has taken; all before it are told, none after it"""
    waiting: int = 0
    """events that it is still to be told of"""
    failures: int = 0
    """tries in a row that came to nothing"""
    failing_since: float | None = None
    next_try_at: float = 0.0
    last_error: str | None = None


@dataclass(frozen=True)
class Happened:
    """One event; `key` is what a receiver knows it by when it comes twice."""

    id: int
    key: str
    project: str
    event: Event
    data: Mapping[str, Any]
    created_at: float


def has_webhook(project: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether anybody is told of a project at all."""
    return select(webhooks.c.id).where(webhooks.c.project == project).exists()


def has_any_webhook(connection: Connection) -> bool:
    """Whether anybody is told of anything: an import of thousands need not ask for each."""
    return connection.execute(select(webhooks.c.id).limit(1)).first() is not None


def tell(
    connection: Connection, project: str, event: Event, data: Mapping[str, Any], *, now: float
) -> None:
    """Write an event down for the webhooks that want it, in the transaction that makes it happen.

    The transaction has to be alone with the log: numbers are then given in the order in which
    transactions end, and whoever reads on from the last number misses none.
    """
    wanted = select(webhooks.c.id).where(webhooks.c.project == project, _wants(event))
    if connection.execute(wanted.limit(1)).first() is None:
        return
    connection.execute(
        events.insert().values(
            id=_last_event(connection) + 1,
            key=uuid.uuid4().hex,
            project=project,
            event=event,
            data=dict(data),
            created_at=now,
        )
    )


class SqlWebhooks(Part):
    """The webhooks of one database's projects, and how far each has been told.

    An event is one row, however many webhooks want it; each keeps the number of the last one that
    it took, so whatever stops a server, it goes on from there. Rows that nobody waits for go.
    """

    def add(self, project: str, url: str, wanted: Sequence[str]) -> Webhook:
        """Tell an address of what happens from now on; its secret is made here.

        Raises:
            DataError: no http address, or an event that is none.
            NotFoundError: there is no such project.
        """
        _check(url, wanted)
        values = {"url": url, "events": list(wanted), "created_at": self.now()}
        values["secret"] = "hook_" + secrets.token_urlsafe(32)
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            known = select(projects.c.name).where(projects.c.name == project)
            if connection.execute(known).first() is None:
                raise NotFoundError(f"there is no project {project!r}")
            values["told"] = _last_event(connection)
            made = connection.execute(webhooks.insert().values(project=project, **values))
            assert made.inserted_primary_key is not None
            (number,) = made.inserted_primary_key
        return self._get(project, number)

    def of(self, project: str) -> list[Webhook]:
        """A project's webhooks, the oldest first."""
        waiting = select(func.count(events.c.id)).where(*_WAITS).scalar_subquery()
        query = select(webhooks, waiting.label("waiting")).where(webhooks.c.project == project)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(webhooks.c.id))
            return [_webhook(row) for row in rows]

    def change(
        self,
        project: str,
        webhook_id: int,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        is_on: bool | None = None,
    ) -> Webhook:
        """Change what is given; the secret stays. One that is switched on is tried at once.

        Raises:
            DataError: as `add`.
            NotFoundError: the project has no such webhook.
        """
        found = self._get(project, webhook_id)
        values: dict[str, Any] = {"url": url or found.url, "events": list(events or found.events)}
        _check(values["url"], values["events"])
        if is_on is not None:
            values["is_on"] = is_on
        if is_on:
            values |= {"failures": 0, "failing_since": None, "next_try_at": 0.0}
        self._update(webhook_id, **values)
        return self._get(project, webhook_id)

    def remove(self, project: str, webhook_id: int) -> None:
        """Tell it of nothing more.

        Raises:
            NotFoundError: the project has no such webhook.
        """
        self._get(project, webhook_id)
        with self.database.writing() as connection:
            connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))

    def due(self) -> list[int]:
        """Webhooks that are to be told of something now."""
        is_waiting = select(events.c.id).where(*_WAITS).exists()
        query = select(webhooks.c.id).where(*self._is_due(), is_waiting)
        with self.database.reading() as connection:
            return list(connection.execute(query.order_by(webhooks.c.id)).scalars())

    def next(self, webhook_id: int) -> tuple[Webhook, Happened] | None:
        """What a webhook is to be told of next; None when nothing, or not now."""
        with self.database.reading() as connection:
            found = select(webhooks).where(webhooks.c.id == webhook_id, *self._is_due())
            hook = connection.execute(found).first()
            if hook is None:
                return None
            row = connection.execute(
                select(events)
                .where(
                    events.c.project == hook.project,
                    events.c.id > hook.told,
                    events.c.event.in_(hook.events),
                )
                .order_by(events.c.id)
                .limit(1)
            ).first()
        return None if row is None else (_webhook(hook), Happened(**row._mapping))

    def took(self, hook: Webhook, event: Happened) -> None:
        """The webhook has taken an event: it is on to the next."""
        how = {"failures": 0, "failing_since": None, "next_try_at": 0.0, "last_error": None}
        # Two servers may tell it of the same: the number never goes back.
        self._update(hook.id, webhooks.c.told < event.id, told=event.id, **how)

    def failed(self, hook: Webhook, problem: str) -> bool:
        """A try came to nothing: the next one is after a while. Gives whether it is still on."""
        now = self.now()
        since = now if hook.failing_since is None else hook.failing_since
        is_on = now - since < GIVE_UP_S
        self._update(
            hook.id,
            failures=hook.failures + 1,
            failing_since=since,
            next_try_at=now + PAUSES_S[min(hook.failures, len(PAUSES_S) - 1)],
            last_error=problem[:500],
            is_on=is_on,
        )
        return is_on

    def forget(self) -> None:
        """Remove the events that nobody waits for."""
        is_waited_for = select(webhooks.c.id).where(*_WAITS).exists()
        with self.database.writing() as connection:
            connection.execute(delete(events).where(~is_waited_for))

    def _is_due(self) -> tuple[ColumnElement[bool], ...]:
        return webhooks.c.is_on, webhooks.c.next_try_at <= self.now()

    def _update(self, webhook_id: int, *conditions: ColumnElement[bool], **values: Any) -> None:
        with self.database.writing() as connection:
            query = update(webhooks).where(webhooks.c.id == webhook_id, *conditions)
            connection.execute(query.values(**values))

    def _get(self, project: str, webhook_id: int) -> Webhook:
        found = next((hook for hook in self.of(project) if hook.id == webhook_id), None)
        if found is None:
            raise NotFoundError(f"project {project!r} has no webhook {webhook_id}")
        return found


def _wants(event: Any) -> ColumnElement[bool]:
    """Whether a webhook's list has an event: every database has JSON as text, too."""
    quoted = f'"{event}"' if isinstance(event, str) else '"' + event + '"'
    return cast(webhooks.c.events, Text).contains(quoted)


# Which events a webhook is still to be told of, in a query over both.
_WAITS = (
    events.c.project == webhooks.c.project,
    events.c.id > webhooks.c.told,
    _wants(events.c.event),
)


def _last_event(connection: Connection) -> int:
    """The last number that was given; also where its row is gone."""
    newest, told = select(func.max(events.c.id)), select(func.max(webhooks.c.told))
    return max(connection.execute(query).scalar() or 0 for query in (newest, told))


def _webhook(row: Any) -> Webhook:
    return Webhook(**{**row._mapping, "events": tuple(row.events)})


def _check(url: str, wanted: Sequence[str]) -> None:
    check_storable(url, "a webhook's address")
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
    except ValueError:
        raise DataError(f"a webhook's address: not an address: {url!r:.80}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise DataError(f"a webhook's address: expected http(s)://host/path, got {url!r:.80}")
    if len(url) > 2000 or not url.isascii() or any(letter <= " " for letter in url):
        raise DataError("a webhook's address: at most 2000 characters of ASCII, and no spaces")
    if not wanted or not set(wanted) <= set(EVENTS):
        raise DataError(f"events: expected some of {', '.join(EVENTS)}; got {list(wanted)}")
