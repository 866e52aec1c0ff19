"""The annotation app, put together."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from fastapi import Depends, FastAPI

from accord import __version__
from accord.store.database import Database
from accord.web import api, pages, reference, signing_in
from accord.web.assets import assets
from accord.web.gate import Gate, Site, check_csrf
from accord.web.headers import SecureHeaders
from accord.web.limits import RateLimiter
from accord.web.red_team_desk import RedTeamDesk
from accord.web.refusals import add_refusals
from accord.web.services import Services

REQUESTS_PER_MINUTE = 1200
"""Of one account, or of one address without any."""


def build_app(
    database: Database,
    *,
    public_url: str | None = None,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    allow_private_webhooks: bool = False,
    red_team: RedTeamDesk | None = None,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """Pages and REST API over one database.

    Args:
        database: the store.
        public_url: what people have in their address bar, where that is not what the server is
            asked for: behind a proxy. Its scheme says whether cookies are kept from plain http.
        requests_per_minute: that one account may make.
        allow_private_webhooks: whether webhooks may go to addresses inside this network.
        red_team: the model with which red-teamers chat; None has no such page.
        now: the clock, in seconds since 1970.

    Raises:
        ConfigError: `public_url` is no address.
    """
    site = Site(public_url)
    services = Services.over(
        database,
        site=site,
        now=now,
        allow_private_webhooks=allow_private_webhooks,
        red_team=red_team,
    )

    @contextlib.asynccontextmanager
    async def while_up(_: FastAPI) -> AsyncIterator[None]:
        services.deliveries.start()
        yield
        services.deliveries.stop()

    app = FastAPI(
        title="Accord",
        version=__version__,
        dependencies=[Depends(check_csrf)],
        lifespan=while_up,
        # FastAPI's own pages load scripts from elsewhere; see `reference`.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.database, app.state.services = database, services
    for router in (api.router, reference.router, signing_in.router, pages.router):
        app.include_router(router)
    app.mount("/static", assets)
    add_refusals(app)
    limiter = RateLimiter(requests_per_minute, 60.0, now=now)
    app.add_middleware(Gate, access=services.access, site=site, limiter=limiter)
    is_https = public_url is not None and public_url.startswith("https:")
    app.add_middleware(SecureHeaders, is_https=is_https)
    return app
