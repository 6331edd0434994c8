"""Routes of alerts over HTTP: list, add, test and remove them, and the log of their messages."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.selection import not_there
from crossdock.app.personal_data import MASK, reveal
from crossdock.core.roles import Caller, Role
from crossdock.core.settings import settings
from crossdock.integrations import airflow_connection
from crossdock.maintenance.alerting import repository, service
from crossdock.maintenance.alerting.channels import open_channel
from crossdock.maintenance.alerting.model import Occasion
from crossdock.maintenance.alerting.repository import MessageState, StoredMessage, StoredRoute
from crossdock.maintenance.alerting.routes import ROUTE_NAME, Route

router = Router(tags=["alerts"])

_NO_ROUTE, _NO_MESSAGE = not_there("route"), not_there("message")
_RECIPIENTS = "recipients"
Name = Annotated[str, Path(pattern=ROUTE_NAME)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]


class RouteDocument(BaseModel):
    """One route of alerts."""

    route: Route = Field(description="Its recipients are masked, except for operators in the route of one.")
    declared_in: str | None = Field(
        description="The file that declares it and where it is changed; null if there is none."
    )
    created_at: datetime = Field(description="When it was made, or last changed in which alerts it takes.")


class RoutesPage(BaseModel):
    routes: list[RouteDocument]


class MessageDocument(BaseModel):
    """One message of the log."""

    message_no: int
    message_id: str = Field(description="Known to the receiver: the same however often it is sent.")
    route: str
    integration: str = Field(description="The integration that sends it.")
    occasion: Occasion
    title: str
    causes: int = Field(description="How many causes it names.")
    state: MessageState = Field(
        description="sending: nobody knows yet whether it arrived; it is sent again with its ID."
    )
    attempts: int
    next_at: datetime | None = Field(description="When it is tried again; null if it is not.")
    error: str | None = Field(description="Why it was not accepted the last time.")
    created_at: datetime
    ended_at: datetime | None


class MessagesPage(BaseModel):
    messages: list[MessageDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


@router.get("/alert-routes", summary="List the routes of alerts", dependencies=[guard(Role.VIEWER)])
def list_routes(store: OpenStore) -> RoutesPage:
    with store.transaction() as work:
        return RoutesPage(routes=[_masked(found) for found in repository.routes(work)])


@router.post(
    "/alert-routes",
    summary="Add a route, or replace the one of its name",
    response_model=RouteDocument,
    responses=KEYED | documented(404, 409),
)
def add_route(store: OpenStore, caller: Operator, request: OneEffect, body: Route) -> Response:
    """Messages that wait for it go the new way. A route that a file declares is changed there."""
    opens = partial(open_channel, store, airflow_connection.read)
    return request.once(lambda: _masked(service.add_route(store, opens, body, actor=caller.actor)))


@router.get("/alert-routes/{name}", summary="Get a route of alerts", responses=_NO_ROUTE)
def show_route(store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)], name: Name) -> RouteDocument:
    """Who may see personal data sees the recipients, and the audit trail has it."""
    with store.transaction() as work:
        found = service.get_route(work, name)
    shown = {_RECIPIENTS: list(found.route.recipients)}
    is_shown = reveal(store, caller, f"alert_route/{name}", shown, frozenset({_RECIPIENTS}))
    return _document(found) if is_shown else _masked(found)


@router.delete(
    "/alert-routes/{name}",
    summary="Remove a route; what waits for it is never sent",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(404, 409),
)
def remove_route(store: OpenStore, caller: Operator, name: Name) -> None:
    service.remove_route(store, name, actor=caller.actor)


@router.post(
    "/alert-routes/{name}/test",
    summary="Send a test message to a route",
    status_code=HTTPStatus.ACCEPTED,
    response_model=MessageDocument,
    responses=_NO_ROUTE | KEYED,
)
def test_route(store: OpenStore, caller: Operator, request: OneEffect, name: Name) -> Response:
    """The sender of alerts sends it, as any other: follow the message to see whether it arrived."""
    return request.once(lambda: _message(service.request_test(store, name, hub=settings().name, actor=caller.actor)))


@router.get("/alert-messages", summary="List the messages of alerts, newest first", dependencies=[guard(Role.VIEWER)])
def list_messages(
    store: OpenStore,
    state: MessageState | None = None,
    route: Annotated[str | None, Query(pattern=ROUTE_NAME)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 100,
) -> MessagesPage:
    with store.transaction() as work:
        before = int(cursor) if cursor else None
        found = repository.messages(work, state=state, route=route, before=before, limit=limit + 1)
    page = found[:limit]
    return MessagesPage(
        messages=[_message(each) for each in page],
        next_cursor=str(page[-1].message_no) if len(found) > limit else None,
    )


@router.get(
    "/alert-messages/{message_id}",
    summary="Get a message of alerts",
    dependencies=[guard(Role.VIEWER)],
    responses=_NO_MESSAGE,
)
def show_message(store: OpenStore, message_id: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]) -> MessageDocument:
    with store.transaction() as work:
        return _message(service.get_message(work, message_id))


def _document(found: StoredRoute) -> RouteDocument:
    return RouteDocument(route=found.route, declared_in=found.declared_in, created_at=found.created_at)


def _masked(found: StoredRoute) -> RouteDocument:
    hidden = found.route.model_copy(update={_RECIPIENTS: (MASK,) * len(found.route.recipients)})
    return RouteDocument(route=hidden, declared_in=found.declared_in, created_at=found.created_at)


def _message(found: StoredMessage) -> MessageDocument:
    return MessageDocument(
        message_no=found.message_no,
        message_id=found.message_id,
        route=found.route,
        integration=found.integration,
        occasion=found.occasion,
        title=found.message.title,
        causes=len(found.message.causes),
        state=found.state,
        attempts=found.attempts,
        next_at=found.next_at if found.ended_at is None else None,
        error=found.error,
        created_at=found.created_at,
        ended_at=found.ended_at,
    )
