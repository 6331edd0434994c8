"""The pages as one app, mounted under `/hub/pages` by `plugins/hub_plugin.py`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from crossdock.api.dependencies import Problem, RequestMiddleware, Router, guarded, problem_of, title
from crossdock.core.errors import HubError
from crossdock.core.hints import Hint, HintId
from crossdock.core.log import logger
from crossdock.core.roles import Caller
from crossdock.web import (
    alert_links,
    alerts,
    assets,
    audit_trail,
    dead_letters,
    decisions,
    declarations,
    event_pages,
    events,
    executions,
    integration_forms,
    integrations,
    orders,
    overview,
    quarantine,
    replays,
    runs,
    workflow_editor,
    workflows,
)
from crossdock.web.page import show

log = logger(__name__)

#: The subjects, each with a router.
_SUBJECTS = (
    overview,
    runs,
    quarantine,
    dead_letters,
    replays,
    events,
    event_pages,
    orders,
    workflows,
    workflow_editor,
    executions,
    decisions,
    integrations,
    integration_forms,
    declarations,
    alerts,
    alert_links,
    audit_trail,
)

#: Status → what a page says where the API speaks of paths and headers.
_WORDS = {
    HTTPStatus.NOT_FOUND: "No page has this address. Check it, or begin at the overview",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not do that. Open the page again and repeat the action there",
}
#: Hint → the page that helps, besides those that alerts lead to.
_PAGES = {
    HintId.SHOW_RUN: ("runs", "{subject}"),
    HintId.LIST_EVENTS: ("events",),
    HintId.LIST_REPLAYS: ("replays",),
    HintId.LIST_INTEGRATIONS: ("integrations",),
    HintId.RESUME_INTEGRATION: ("integrations", "{subject}"),
    HintId.LIST_ATTEMPTS: ("decisions",),
    HintId.LIST_PAYMENTS: ("decisions",),
    HintId.TEST_WORKFLOW: ("workflows", "{subject}", "test"),
    HintId.DEPLOY_WORKFLOW: ("workflows", "{subject}", "deploy"),
}

#: No script and no style but ours: a script in a page would have the session's token. `same-origin` and not `no-referrer`, with
#: which browsers hide the origin of a form.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
}


def create_pages() -> FastAPI:
    """
    Build the app, with a guard on each page and each action.

    Raises:
        RuntimeError: A page has no guard.

    """
    app = FastAPI(title="Crossdock pages", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    pages = Router()
    for subject in _SUBJECTS:
        pages.include_router(subject.router)
    app.include_router(pages)
    guarded(app)
    app.router.routes.append(Route("/assets/{name}", assets.serve))
    for kind in (Problem, HubError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    app.add_middleware(RequestMiddleware, headers=_HEADERS, answer=_page_of)
    return app


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if isinstance(error, HTTPException) and problem.status in _WORDS:
        problem.detail = _WORDS[problem.status]
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s %s: %s", request.method, request.url.path, problem.detail)
    return _page_of(request, problem)


def _page_of(request: Request, problem: Problem) -> Response:
    """Show *problem* as a page that says what to do."""
    caller: Caller | None = getattr(request.state, "caller", None)
    page = show(
        request,
        caller,
        "problem.html",
        status=problem.status,
        problem=problem,
        reason=title(problem.status),
        **_help_of(problem),
        request_id=request.state.request_id,
        # Back here after the login. An action is not repeated: its page is gone with the session.
        address=f"{request.url.path}?{request.url.query}".rstrip("?") if request.method == "GET" else "",
    )
    page.headers.update(problem.headers)
    return page


def _help_of(problem: Problem) -> dict[str, Any]:
    """Find what a person can do about *problem*: the page that helps, and its words; None where the hub knows of no page."""
    if not (said := problem.members.get("hint")):
        return {"help_page": None, "help_words": None}
    hint = Hint(HintId(said["id"]), said["subject"])
    more = _PAGES.get(hint.id)
    path = alerts.page_of(hint) or (tuple(part.format(subject=hint.subject) for part in more) if more else None)
    return {"help_page": path, "help_words": said["message"]}
