"""The gateway, put together: OpenAI's routes, and those for whoever runs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.middleware.cors import CORSMiddleware

from accord import __version__
from accord.serving import admin, routes
from accord.serving.chat_page import add_chat_page, is_page
from accord.serving.feedback import Feedback
from accord.serving.feedback import router as feedback_router
from accord.serving.gate import LOCAL_HOSTS, Gate
from accord.serving.guards import Guards
from accord.serving.keys import Keys
from accord.serving.metrics import CONTENT_TYPE, Metrics
from accord.serving.policies import Policies
from accord.serving.refusals import (
    REFUSALS,
    add_refusals,
    answer,
    error_body,
    refuse_half_characters,
)
from accord.serving.retention import forget_daily
from accord.web.limits import RateLimiter

MOST_BYTES = 2**22
REQUESTS_PER_MINUTE = 6000


@dataclass
class Services:
    """What the routes work with; `is_draining` once no more requests should be sent here."""

    policies: Policies
    metrics: Metrics
    guards: Guards
    feedback: Feedback
    is_draining: bool = False
    shadows: set["asyncio.Task[None]"] = field(default_factory=set)


def build_app(
    policies: Policies,
    metrics: Metrics,
    *,
    keys: Keys,
    guards: Guards | None = None,
    feedback: Feedback | None = None,
    has_chat_page: bool = False,
    requests_per_minute: int = REQUESTS_PER_MINUTE,
    most_bytes: int = MOST_BYTES,
    hosts: Collection[str] = LOCAL_HOSTS,
    allowed_origins: Collection[str] = (),
) -> FastAPI:
    """The app over models that are loaded.

    Args:
        policies: what is served; they stop with the app.
        metrics: of `server_metrics`.
        keys: who may in; none lets everybody in.
        guards: what reads texts before anybody else does.
        feedback: where thumbs, edits and votes are kept; None takes none.
        has_chat_page: whether people can chat at `/`.
        requests_per_minute: of one caller.
        most_bytes: of a request's body.
        hosts: names of this server, where there are no keys.
        allowed_origins: web sites whose scripts may call this server; none by default.
    """

    @contextlib.asynccontextmanager
    async def while_up(_: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(forget_daily(services.feedback))
        yield
        forgetting.cancel()
        services.is_draining = True
        for shadow in services.shadows:
            shadow.cancel()
        await policies.stop()

    services = Services(policies, metrics, guards or Guards([]), feedback or Feedback(None))
    _add_gauges(metrics, policies)
    app = _bare(while_up)
    app.state.services = services
    for router in (routes.router, admin.router, feedback_router):
        app.include_router(router)
    _add_health(app, services)
    add_refusals(app)
    _describe_names(app, policies)
    app.add_middleware(
        Gate,
        keys=keys,
        limiter=RateLimiter(requests_per_minute, 60.0),
        most_bytes=most_bytes,
        hosts=hosts,
        is_page=lambda path: has_chat_page and is_page(path),
    )
    if has_chat_page:
        add_chat_page(app, services.feedback, needs_key=bool(keys))
    if allowed_origins:
        _allow(app, allowed_origins)
    return app


def _allow(app: FastAPI, origins: Collection[str]) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=[routes.ARM],
    )


def _bare(lifespan: Any) -> FastAPI:
    return FastAPI(
        title="Accord",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        responses=REFUSALS,
        dependencies=[Depends(refuse_half_characters)],
    )


def _describe_names(app: FastAPI, policies: Policies) -> None:
    """Let the OpenAPI document name what can be asked for at this moment."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        alone = [*policies.models, *policies.aliases]
        names = {
            "ChatRequest": policies.names,
            "CompletionRequest": alone,
            "EmbeddingRequest": alone,
            "ScoreRequest": list(policies.rewards),
        }
        document = described()
        for schema, known in names.items():
            document["components"]["schemas"][schema]["properties"]["model"]["examples"] = known
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_health(app: FastAPI, services: Services) -> None:
    def dead() -> list[str]:
        return [n for n, s in services.policies.models.items() if not s.scheduler.is_alive]

    @app.get("/health")
    async def health() -> Response:
        """Whether the process is of use: once every model has failed, only a new one is."""
        if dead() and len(dead()) == len(services.policies.models) and not services.is_draining:
            return answer(503, error_body(503, f"failed: {', '.join(dead())}"))
        return JSONResponse({"status": "ok", "version": __version__})

    @app.get("/ready")
    async def ready() -> Response:
        """Whether requests should be sent here."""
        if services.is_draining or dead():
            why = "draining" if services.is_draining else f"not served: {', '.join(dead())}"
            return answer(503, error_body(503, why))
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics(_: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(services.metrics.render(), media_type=CONTENT_TYPE)


def _add_gauges(metrics: Metrics, policies: Policies) -> None:
    def under_way() -> dict[Any, float]:
        return {(("model", name),): served.under_way for name, served in policies.models.items()}

    metrics.gauge("accord_requests_under_way", "Responses that wait or are sampled.", under_way)
