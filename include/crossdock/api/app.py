"""The hub's API as one FastAPI app, mounted under `/hub` by `plugins/hub_plugin.py`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from crossdock.api import (
    actions,
    alert_routes,
    alerts,
    attempts,
    audit,
    availability,
    dead_letters,
    decisions,
    declarations,
    events,
    executions,
    health,
    integration_health,
    integrations,
    journeys,
    mails,
    orders,
    overview,
    payments,
    problems,
    quarantine,
    records,
    runs,
    streams,
    warehouses,
    webhooks,
    workflows,
)
from crossdock.api.access import guard
from crossdock.api.middleware import RequestMiddleware
from crossdock.api.openapi import document
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router, guarded
from crossdock.api.slow_requests import bound_requests
from crossdock.core.roles import Role

#: The answers that every route may give. FastAPI's own 422 does not occur: an invalid request gets 400.
_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemDocument, "description": "Invalid request; `errors` names each place."},
    401: {"model": ProblemDocument, "description": "The token is missing, or Airflow does not accept it."},
    403: {"model": ProblemDocument, "description": "The caller's role does not allow this."},
    503: {
        "model": ProblemDocument,
        "description": "The hub's database or Airflow's does not answer, or the hub is busy; `detail` says which.",
        "headers": {
            "Retry-After": {"description": "Seconds to wait before a repetition.", "schema": {"type": "integer"}}
        },
    },
    "default": {"model": ProblemDocument, "description": "Another error."},
}

#: The resources of the API, each with a router.
_RESOURCES = (
    health,
    overview,
    alerts,
    alert_routes,
    audit,
    streams,
    runs,
    records,
    integrations,
    declarations,
    actions,
    attempts,
    mails,
    orders,
    decisions,
    journeys,
    payments,
    integration_health,
    availability,
    warehouses,
    events,
    executions,
    dead_letters,
    quarantine,
    webhooks,
    workflows,
)

_DESCRIPTION = (
    "Errors are RFC 9457 `application/problem+json`. Every request carries a token of Airflow's `POST /auth/token`."
)


def create_app() -> FastAPI:
    """
    Build the app, with a guard on each route.

    Raises:
        RuntimeError: A route has no guard.

    """
    # FastAPI's own documentation pages have no guard.
    app = FastAPI(
        title="Crossdock",
        version="1",
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    v1 = Router(prefix="/v1", responses=_RESPONSES)
    for resource in _RESOURCES:
        v1.include_router(resource.router)
    v1.add_api_route(
        "/openapi.json",
        _serve_document,
        methods=["GET"],
        summary="Get the OpenAPI document",
        tags=["hub"],
        dependencies=[guard(Role.VIEWER)],
    )
    app.include_router(v1)
    app.add_middleware(RequestMiddleware)
    bound_requests()
    problems.install(app)
    return guarded(app)


def _serve_document(request: Request) -> dict[str, Any]:
    return document(request.app)
