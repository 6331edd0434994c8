"""The hub's API as one FastAPI app, mounted under `/hub` by `plugins/hub_plugin.py`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from crossdock.api import (
    alerts,
    availability,
    dead_letters,
    events,
    health,
    integration_health,
    integrations,
    problems,
    quarantine,
    runs,
    webhooks,
)
from crossdock.api.access import Role, guard
from crossdock.api.middleware import Envelope
from crossdock.api.openapi import document
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router, guarded

#: Said of every route once: FastAPI's own 422 does not happen, a request that is not as it should be gets 400.
_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemDocument, "description": "The request is not as it should be; `errors` says where."},
    401: {"model": ProblemDocument, "description": "No token, or none that Airflow accepts."},
    403: {"model": ProblemDocument, "description": "The caller's role may not do this."},
    "default": {"model": ProblemDocument, "description": "Something else went wrong."},
}

#: What the API is about, one router each.
_RESOURCES = (
    health,
    alerts,
    runs,
    integrations,
    integration_health,
    availability,
    events,
    dead_letters,
    quarantine,
    webhooks,
)

_DESCRIPTION = (
    "Every answer that is not what was asked for is RFC 9457 `application/problem+json`. Every call carries a token of "
    "Airflow's `POST /auth/token`."
)


def create_app() -> FastAPI:
    """
    The app, each of its routes guarded.

    Raises:
        RuntimeError: a route has no guard.

    """
    # FastAPI's own pages of documentation have no guard.
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
        summary="This document",
        tags=["hub"],
        dependencies=[guard(Role.VIEWER)],
    )
    app.include_router(v1)
    app.add_middleware(Envelope)
    problems.install(app)
    return guarded(app)


def _serve_document(request: Request) -> dict[str, Any]:
    return document(request.app)
