"""What the routes work with, made once for an app."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request

from accord.store.access import SqlAccess
from accord.store.accounts import SqlAccounts
from accord.store.adjudication import SqlAdjudication
from accord.store.assistance import SqlAssistance
from accord.store.critiques import SqlCritiques
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.membership import SqlMembership
from accord.store.projects import SqlProjects
from accord.store.qualification import SqlQualification
from accord.store.queue import SqlTaskQueue
from accord.store.revising import SqlRevisions
from accord.store.webhooks import SqlWebhooks
from accord.web.deliveries import Deliveries
from accord.web.gate import Site
from accord.web.leases import Leases
from accord.web.passwords import Passwords
from accord.web.red_team_desk import RedTeamDesk


@dataclass(frozen=True)
class Services:
    """The store's parts, and what the web adds to them."""

    database: Database
    queue: SqlTaskQueue
    adjudication: SqlAdjudication
    assistance: SqlAssistance
    critiques: SqlCritiques
    revisions: SqlRevisions
    judgements: SqlJudgements
    projects: SqlProjects
    membership: SqlMembership
    qualification: SqlQualification
    webhooks: SqlWebhooks
    accounts: SqlAccounts
    access: SqlAccess
    leases: Leases
    passwords: Passwords
    deliveries: Deliveries
    site: Site
    red_team: RedTeamDesk | None

    @classmethod
    def over(
        cls,
        database: Database,
        *,
        site: Site,
        now: Callable[[], float],
        allow_private_webhooks: bool,
        red_team: RedTeamDesk | None = None,
    ) -> Self:
        """All of them over one database, with one clock."""
        accounts = SqlAccounts(database, now=now)
        webhooks = SqlWebhooks(database, now=now)
        return cls(
            database=database,
            queue=SqlTaskQueue(database, now=now),
            adjudication=SqlAdjudication(database, now=now),
            assistance=SqlAssistance(database),
            critiques=SqlCritiques(database),
            revisions=SqlRevisions(database, now=now),
            judgements=SqlJudgements(database, now=now),
            projects=SqlProjects(database, now=now),
            membership=SqlMembership(database),
            qualification=SqlQualification(database, now=now),
            webhooks=webhooks,
            accounts=accounts,
            access=SqlAccess(database, now=now),
            leases=Leases(database),
            passwords=Passwords(accounts, now=now),
            deliveries=Deliveries(webhooks, allow_private=allow_private_webhooks, now=now),
            site=site,
            red_team=red_team,
        )

    def link(self, request: Request, name: str) -> str:
        """An address that signs somebody in once, and lets him choose a password."""
        secret = self.access.invite(name, sets_password=True)
        return f"{self.site.origin(request)}/join/{secret}"


async def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Given = Annotated[Services, Depends(_services)]
