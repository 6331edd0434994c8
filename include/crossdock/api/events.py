"""The event store over HTTP: CloudEvents, their schemas, the delivery status, and replays."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from crossdock.api.access import guard
from crossdock.api.airflow_lookups import airflow_base_url
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import ProblemDocument, documented
from crossdock.api.routing import Router
from crossdock.api.validation import EVENT_ID, MOST_EXACT, PLAIN, Timestamp
from crossdock.app import personal_data
from crossdock.app.event_types import event_types
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.roles import Caller, Role
from crossdock.events import cloudevents, cloudevents_protobuf
from crossdock.events import store as event_store
from crossdock.events.model import ORIGIN, Event, Position, parse_event_id
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay import service as replay_service
from crossdock.events.replay.repository import Replay
from crossdock.events.status import delivery_status
from crossdock.events.store import Selection
from crossdock.sync import ledger
from crossdock.sync.ledger import Run

router = Router(tags=["events"])

Operator = Annotated[Caller, guard(Role.OPERATOR)]
_CURSOR = r"^[0-9]{1,9}\.[0-9]{1,18}\.[0-9]{1,18}$"
_LINK: dict[str, Any] = {"description": "The next page, `rel=next`; as `next_cursor`.", "schema": {"type": "string"}}
_PAGE: dict[str, Any] = {
    "content": {cloudevents.BATCH_MEDIA_TYPE: {}, cloudevents_protobuf.BATCH_MEDIA_TYPE: {}},
    "headers": {"Link": _LINK},
    "description": "A page, or a batch of CloudEvents, by the Accept header.",
}
_EVENT: dict[str, Any] = {
    "content": {cloudevents.MEDIA_TYPE: {}, cloudevents_protobuf.MEDIA_TYPE: {}},
    "description": "A CloudEvent, in JSON or Protocol Buffers by the Accept header; in binary mode, its data.",
}
#: Listed in the document; an unknown type is refused with the nearest one.
_TYPES: dict[str, Any] = {"enum": event_types().names}
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDocument, "description": "It does not exist."}}


class EventsPage(BaseModel):
    """One page of events."""

    events: list[dict[str, Any]] = Field(description="CloudEvents 1.0, in the order of the store.")
    next_cursor: str = Field(
        description="Pass it as `cursor` to continue; the last page has one too, to follow the store."
    )


class EventTypeDocument(BaseModel):
    """An event type and its schema versions."""

    type: str
    versions: list[int]


class EventTypesDocument(BaseModel):
    """All event types."""

    event_types: list[EventTypeDocument]


class SourceOutageDocument(BaseModel):
    """A source that is paused for a subscriber because it does not answer."""

    source: str
    cause: str = Field(description="The type of the error that the last probe met.")
    reason: str
    since: datetime
    next_probe_at: datetime = Field(description="When one event is delivered to find out whether the outage is over.")


class SubscriberDocument(BaseModel):
    """The delivery status of one subscriber."""

    subscriber: str
    waiting: int = Field(description="Events of its types that it has not had yet.")
    oldest_s: float
    retrying: int
    dead: int
    partitions: int = Field(description="Its key partitions; 0 before its first consumer started.")
    consumed: int = Field(description="Those that have a live consumer now.")
    read_by: str = Field(description="The same for people.", examples=["2 of 2", "never started"])
    out: list[SourceOutageDocument] = Field(description="Paused sources; their events wait until they answer again.")


class VolumeDocument(BaseModel):
    """The number of events of one type in the last day."""

    type: str
    events: int
    failed: int
    unusual: str | None


class DeliveryDocument(BaseModel):
    """The delivery status."""

    subscribers: list[SubscriberDocument]
    volumes: list[VolumeDocument] = Field(description="Of the last day.")
    horizon_age_s: float = Field(
        description="Age of the oldest open write transaction; no newer event is delivered before it ends."
    )


class ReplayDocument(BaseModel):
    """A replay and its progress."""

    replay_id: int
    kind: str = Field(examples=["events", "dead_letters", "quarantine"])
    rate: float | None
    state: str = Field(examples=["open", "done", "stopped", "failed"])
    total: int
    done: int
    failed: int
    actor: str
    requested_at: datetime
    ended_at: datetime | None


class ReplaysDocument(BaseModel):
    """The latest replays."""

    replays: list[ReplayDocument]


class CountsDocument(BaseModel):
    """The result of a dry run."""

    events: dict[str, int] = Field(description="The number of events that each subscriber would receive.")


class EventSelection(BaseModel):
    """Selects events; an empty body selects all."""

    model_config = ConfigDict(extra="forbid")

    first: str | None = Field(
        None, pattern=EVENT_ID, description="The id of the first event, in the order of the store."
    )
    since: Timestamp | None = None
    until: Timestamp | None = None
    types: list[Annotated[str, Field(max_length=200, json_schema_extra=_TYPES)]] = Field([], max_length=50)
    key: str | None = Field(None, max_length=512, pattern=PLAIN)
    silent: bool = Field(False, description="Include the silent events of backfills.")
    subscriber: str | None = Field(None, max_length=100, pattern=PLAIN, description="By default all subscribers.")


class EventReplayBody(EventSelection):
    """Selects the events to replay."""

    rate: float | None = Field(None, gt=0, le=1_000_000, description="Events per second at most.")


@router.get(
    "/events",
    summary="List events",
    dependencies=[guard(Role.VIEWER)],
    response_model=EventsPage,
    responses={200: _PAGE, **documented(404, 410)},
)
def list_events(
    store: OpenStore,
    request: Request,
    type: Annotated[  # noqa: A002  the attribute's name
        list[Annotated[str, Field(max_length=200, json_schema_extra=_TYPES)]] | None,
        Query(max_length=50, description="Only these event types."),
    ] = None,
    key: Annotated[str | None, Query(max_length=512, pattern=PLAIN)] = None,
    silent: bool = False,
    run: Annotated[
        str | None,
        Query(
            max_length=200,
            pattern=PLAIN,
            description="Only what this run wrote, silent or not, while the events and the run are kept.",
        ),
    ] = None,
    latest: Annotated[
        bool, Query(description="Begin with the latest events instead of the first; not with a cursor.")
    ] = False,
    cursor: Annotated[str | None, cursor_like(_CURSOR)] = None,
    limit: Limit = 100,
) -> Any:
    """
    List events as CloudEvents, in the order of the store. Personal data is masked; get one event to see it.

    The cursor stays right while events arrive. 410 says that events after it were deleted, after their retention; 404 that
    there is no such run.
    """
    selection = Selection(
        after=_position_of(cursor) if cursor else ORIGIN,
        types=event_types().known(type or ()),
        key=key,
        silent=silent,
    )
    with store.transaction() as work:
        if run is not None:
            selection = _of_run(ledger.get(work, run), selection)
        if latest and cursor is None:
            # Before the events: what comes after them comes after this.
            after = event_store.horizon(work)
            events = event_store.newest(work, selection, limit=limit)
            after = events[-1].at if events else after
        else:
            events, after = event_store.follow(work, selection, limit=limit)
    return _page(request, [personal_data.masked_event(event) for event in events], _cursor_of(after))


def _of_run(run: Run, selection: Selection) -> Selection:
    """Narrow *selection* to what *run* wrote. A batch is written before its run ends."""
    return msgspec.structs.replace(
        selection, silent=True, correlation_id=run.run_id, since=run.started_at, until=run.finished_at
    )


def _page(request: Request, events: list[Event], cursor: str) -> Response:
    following = request.url.remove_query_params(["cursor", "latest"]).include_query_params(cursor=cursor)
    headers = {"Link": f'<{following.path}?{following.query}>; rel="next"'}
    base_url = _base_url(request)
    if _wants(request, cloudevents_protobuf.BATCH_MEDIA_TYPE):
        batch = cloudevents_protobuf.as_batch(events, base_url)
        return Response(batch, headers=headers, media_type=cloudevents_protobuf.BATCH_MEDIA_TYPE)
    documents = [cloudevents.as_document(event, base_url) for event in events]
    if _wants(request, cloudevents.BATCH_MEDIA_TYPE):
        return Response(msgspec.json.encode(documents), headers=headers, media_type=cloudevents.BATCH_MEDIA_TYPE)
    page = {"events": documents, "next_cursor": cursor}
    return Response(msgspec.json.encode(page), headers=headers, media_type="application/json")


@router.get(
    "/events/{event_id}",
    summary="Get an event",
    response_model=dict[str, Any],
    responses=_NONE | {200: _EVENT},
)
def show_event(
    store: OpenStore,
    request: Request,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    event_id: Annotated[str, Path(pattern=EVENT_ID)],
    mode: Annotated[
        Literal["structured", "binary"],
        Query(description="`binary`: the attributes as `ce-` headers, the data as the body."),
    ] = "structured",
) -> Any:
    """Read an event as a CloudEvent. Personal data is shown to operators only, and recorded in the audit trail."""
    with store.transaction() as work:
        event = event_store.get(work, parse_event_id(event_id))
    fields = personal_data.fields_of_event(event.type)
    is_shown = personal_data.reveal(store, caller, f"events/{event_id}", json.loads(event.data), fields)
    shown = event if is_shown else personal_data.masked_event(event)
    base_url = _base_url(request)
    if mode == "binary":
        return Response(shown.data, headers=cloudevents.as_headers(shown, base_url))
    if _wants(request, cloudevents_protobuf.MEDIA_TYPE):
        return Response(cloudevents_protobuf.as_message(shown, base_url), media_type=cloudevents_protobuf.MEDIA_TYPE)
    return Response(msgspec.json.encode(cloudevents.as_document(shown, base_url)), media_type=cloudevents.MEDIA_TYPE)


@router.get("/event-types", summary="List event types", dependencies=[guard(Role.VIEWER)])
def list_event_types() -> EventTypesDocument:
    """List the event types of the hub with the versions of their schemas."""
    types = event_types()
    return EventTypesDocument(
        event_types=[EventTypeDocument(type=name, versions=types.versions_of(name)) for name in types.names]
    )


@router.get(
    "/event-types/{event_type}/versions/{version}",
    summary="Get the JSON Schema of an event's data",
    dependencies=[guard(Role.VIEWER)],
    responses=_NONE,
)
def show_event_schema(
    event_type: Annotated[str, Path(max_length=200, pattern=PLAIN)], version: Annotated[int, Path(ge=1, le=10_000)]
) -> dict[str, Any]:
    """Read the JSON Schema of the data of an event type."""
    return event_types().schema(event_type, version)


@router.get("/delivery", summary="Get the delivery status", dependencies=[guard(Role.VIEWER)])
def show_delivery(store: OpenStore) -> DeliveryDocument:
    """Read the lag and the failures of each subscriber, and the volumes of the last day."""
    found = delivery_status(store, subscribers(services()), timedelta(days=1))
    return DeliveryDocument(
        subscribers=[
            SubscriberDocument(**msgspec.to_builtins(subscriber), read_by=subscriber.read_by)
            for subscriber in found.subscribers
        ],
        volumes=[VolumeDocument(**msgspec.structs.asdict(volume)) for volume in found.volumes],
        horizon_age_s=found.horizon_age_s,
    )


@router.post("/event-replays/count", summary="Count the events of a replay", dependencies=[guard(Role.OPERATOR)])
def count_replay(store: OpenStore, body: EventSelection) -> CountsDocument:
    """Count the events that a replay would deliver (a dry run)."""
    chosen = replay_service.subscribers_of(body.subscriber, subscribers(services()))
    return CountsDocument(events=replay_service.count(store, _selection(store, body), chosen))


@router.post(
    "/event-replays",
    summary="Replay events",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ReplayDocument,
    responses=KEYED,
)
def replay(store: OpenStore, caller: Operator, request: OneEffect, body: EventReplayBody) -> Response:
    """Replay the selected events in the background. Follow or stop the replay at `/replays/{replay_id}`."""
    chosen = replay_service.subscribers_of(body.subscriber, subscribers(services()))
    return request.once(
        lambda: replay_document(
            replay_service.request_events(store, _selection(store, body), chosen, rate=body.rate, actor=caller.actor)
        )
    )


@router.get("/replays", summary="List replays", dependencies=[guard(Role.VIEWER)])
def list_replays(store: OpenStore, limit: Limit = 50) -> ReplaysDocument:
    """List the latest replays, newest first."""
    with store.transaction() as work:
        return ReplaysDocument(
            replays=[replay_document(replay) for replay in replay_repository.newest(work, limit=limit)]
        )


ReplayId = Annotated[int, Path(ge=1, le=MOST_EXACT)]


@router.get("/replays/{replay_id}", summary="Get a replay", dependencies=[guard(Role.VIEWER)], responses=_NONE)
def show_replay(store: OpenStore, replay_id: ReplayId) -> ReplayDocument:
    """Read the progress of a replay."""
    with store.transaction() as work:
        return replay_document(replay_repository.get(work, replay_id))


@router.post(
    "/replays/{replay_id}/stop",
    summary="Stop a replay",
    response_model=ReplayDocument,
    responses=_NONE | KEYED,
)
def stop_replay(store: OpenStore, caller: Operator, request: OneEffect, replay_id: ReplayId) -> Response:
    """Stop a replay. What it has delivered stays delivered."""
    return request.once(lambda: replay_document(replay_service.stop(store, replay_id, actor=caller.actor)))


def replay_document(replay: Replay) -> ReplayDocument:
    """Represent the replay as JSON."""
    return ReplayDocument(**{name: getattr(replay, name) for name in ReplayDocument.model_fields})


def _selection(store: OpenStore, body: EventSelection) -> Selection:
    after = ORIGIN
    if body.first:
        with store.transaction() as work:
            first = event_store.get(work, parse_event_id(body.first)).at
        after = first._replace(position=first.position - 1)
    return Selection(
        after=after,
        types=event_types().known(body.types),
        key=body.key,
        since=body.since,
        until=body.until,
        silent=body.silent,
    )


def _cursor_of(position: Position) -> str:
    return ".".join(map(str, position))


def _position_of(cursor: str) -> Position:
    return Position(*map(int, cursor.split(".")))


def _base_url(request: Request) -> str:
    """Read where the caller finds the API: as Airflow is configured, since a proxy hides it, or as the request came."""
    return (airflow_base_url() or str(request.base_url)).rstrip("/")


def _wants(request: Request, media_type: str) -> bool:
    return media_type in request.headers.get("accept", "").lower()
