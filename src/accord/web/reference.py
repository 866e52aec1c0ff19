"""The API's description: as OpenAPI, and as a page that loads nothing from elsewhere."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from accord.web.identity import ROLES, Identity, only
from accord.web.templating import plain_page

router = APIRouter(include_in_schema=False)

Anyone = Annotated[Identity, Depends(only(*ROLES))]


@router.get("/api/openapi.json")
def openapi(request: Request, _: Anyone) -> dict[str, Any]:
    """The API as OpenAPI."""
    app: FastAPI = request.app
    return app.openapi()


@router.get("/api/docs")
def docs(request: Request, _: Anyone) -> HTMLResponse:
    """Every route of the API: who may use it, and what it takes."""
    routes = [_described(route) for route in api_routes(request.app) if route.include_in_schema]
    return plain_page("reference.html.jinja", {"title": "The API", "routes": routes})


def api_routes(app: FastAPI) -> list[RouteContext]:
    """All routes with an endpoint, those of routers included, as the app serves them."""
    found = iter_route_contexts(app.routes)
    return [route for route in found if isinstance(route.original_route, APIRoute)]


def declared(route: RouteContext, name: str) -> Any:
    """What a route's dependencies say of it, its `roles` or its `scope`; None where nothing."""
    for dependant in _tree(route.dependant):
        if dependant.call is not None and hasattr(dependant.call, name):
            return getattr(dependant.call, name)
    return None


def _tree(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _tree(inner)


def _described(route: RouteContext) -> dict[str, Any]:
    body = route.body_field
    fields = getattr(getattr(body, "field_info", None), "annotation", None)
    return {
        "method": ", ".join(sorted(route.methods or ())),
        "path": route.path,
        "summary": " ".join(route.description.split()),
        "roles": declared(route, "roles") or (),
        "scope": declared(route, "scope"),
        "parameters": [param.name for param in route.dependant.query_params],
        "fields": list(getattr(fields, "model_fields", ())),
    }
