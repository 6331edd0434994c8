"""The event store over HTTP: CloudEvents, their contracts, where delivery stands, and replays."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from crossdock.api.access import Caller, Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import MOST_EXACT, PLAIN
from crossdock.app.subscribers import SUBSCRIBERS
from crossdock.events import cloudevents as cloud_events
from crossdock.events import cloudevents_protobuf as cloud_event_protobuf
from crossdock.events import schemas as event_contracts
from crossdock.events import store as event_log
from crossdock.events.model import ORIGIN, Event, Position, place_of
from crossdock.events.replay import repository as event_replays
from crossdock.events.replay import service as replay_events
from crossdock.events.replay.repository import Replay
from crossdock.events.status import standing
from crossdock.events.store import Selection

router = Router(tags=["events"])

Operator = Annotated[Caller, guard(Role.OPERATOR)]
_ID = r"^[0-9]{1,9}-[0-9]{1,18}$"
_CURSOR = r"^[0-9]{1,9}\.[0-9]{1,18}\.[0-9]{1,18}$"
_PROTOBUF: dict[str, Any] = {"content": {cloud_event_protobuf.BATCH_MEDIA_TYPE: {}}, "description": "CloudEvents."}
#: Said by the document; what is none of them is refused with the nearest.
_TYPES: dict[str, Any] = {"enum": sorted(event_contracts.types())}
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDocument, "description": "There is none."}}


class EventsPage(BaseModel):
    events: list[dict[str, Any]] = Field(description="CloudEvents 1.0, in the order of the store.")
    next_cursor: str | None = Field(description="Where to go on; also on the last page, for whoever follows the store.")


class EventTypeDocument(BaseModel):
    type: str
    versions: list[int]


class EventTypesDocument(BaseModel):
    event_types: list[EventTypeDocument]


class OutageDocument(BaseModel):
    source: str
    cause: str = Field(description="The kind of error that the last one met who asked.")
    reason: str
    since: datetime
    next_probe_at: datetime = Field(description="When one event asks whether it is over.")


class SubscriberDocument(BaseModel):
    subscriber: str
    waiting: int = Field(description="Events that it hears and has not had.")
    oldest_s: float
    retrying: int
    dead: int
    read_by: str = Field(examples=["2 of 2", "never started"])
    out: list[OutageDocument] = Field(
        description="Sources that do not answer; their events wait, whatever time that takes."
    )


class VolumeDocument(BaseModel):
    type: str
    events: int
    failed: int
    unusual: str | None


class DeliveryDocument(BaseModel):
    subscribers: list[SubscriberDocument]
    volumes: list[VolumeDocument] = Field(description="Of the last day.")
    horizon_age_s: float = Field(description="Age of the oldest open write transaction; nothing newer is delivered.")


class ReplayDocument(BaseModel):
    replay_id: int
    what: str = Field(examples=["events", "letters"])
    rate: float | None
    state: str = Field(examples=["open", "done", "stopped", "failed"])
    total: int
    done: int
    failed: int
    actor: str
    asked_at: datetime
    ended_at: datetime | None


class ReplaysDocument(BaseModel):
    replays: list[ReplayDocument]


class CountsDocument(BaseModel):
    events: dict[str, int] = Field(description="How many events each subscriber would be told again.")


class EventsWanted(BaseModel):
    """Which events; nothing said means all."""

    model_config = ConfigDict(extra="forbid")

    first: str | None = Field(None, pattern=_ID, description="The id of the first, in the order of the store.")
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    types: list[Annotated[str, Field(max_length=200, json_schema_extra=_TYPES)]] = Field([], max_length=50)
    key: str | None = Field(None, max_length=512, pattern=PLAIN)
    silent: bool = Field(False, description="Also events of backfills.")
    subscriber: str | None = Field(None, max_length=100, pattern=PLAIN, description="By default all.")


class EventReplayBody(EventsWanted):
    rate: float | None = Field(None, gt=0, le=1_000_000, description="At most so many a second.")


@router.get(
    "/events",
    summary="Events in the order of the store",
    dependencies=[guard(Role.VIEWER)],
    response_model=EventsPage,
    responses={200: _PROTOBUF},
)
def list_events(
    store: OpenStore,
    request: Request,
    type: Annotated[str | None, Query(max_length=200, json_schema_extra=_TYPES)] = None,  # noqa: A002  the attribute's name
    key: Annotated[str | None, Query(max_length=512, pattern=PLAIN)] = None,
    silent: bool = False,
    cursor: Annotated[str | None, cursor_like(_CURSOR)] = None,
    limit: Limit = 100,
) -> Any:
    wanted = Selection(
        after=_place(cursor), types=event_contracts.known(() if type is None else (type,)), key=key, silent=silent
    )
    with store.transaction() as work:
        events = event_log.select(work, wanted, limit=limit)
    if _wants(request, cloud_event_protobuf.BATCH_MEDIA_TYPE):
        return Response(cloud_event_protobuf.as_batch(events), media_type=cloud_event_protobuf.BATCH_MEDIA_TYPE)
    after = events[-1].at if events else wanted.after
    return EventsPage(
        events=[cloud_events.as_document(event) for event in events],
        next_cursor=".".join(map(str, after)) if after != ORIGIN else None,
    )


@router.get(
    "/events/{event_id}",
    summary="One event",
    dependencies=[guard(Role.VIEWER)],
    response_model=dict[str, Any],
    responses=_NONE,
)
def show_event(store: OpenStore, request: Request, event_id: Annotated[str, Path(pattern=_ID)]) -> Any:
    with store.transaction() as work:
        event = event_log.get(work, place_of(event_id))
    return _answer(request, event)


def _answer(request: Request, event: Event) -> Response:
    if _wants(request, cloud_event_protobuf.MEDIA_TYPE):
        return Response(cloud_event_protobuf.as_message(event), media_type=cloud_event_protobuf.MEDIA_TYPE)
    return Response(msgspec.json.encode(cloud_events.as_document(event)), media_type="application/cloudevents+json")


@router.get("/event-types", summary="What the hub tells of", dependencies=[guard(Role.VIEWER)])
def list_event_types() -> EventTypesDocument:
    versions = event_contracts.versions()
    return EventTypesDocument(
        event_types=[
            EventTypeDocument(type=name, versions=sorted(version for each, version in versions if each == name))
            for name in sorted(event_contracts.types())
        ]
    )


@router.get(
    "/event-types/{event_type}/versions/{version}",
    summary="The JSON Schema of an event's data",
    dependencies=[guard(Role.VIEWER)],
    responses=_NONE,
)
def show_event_schema(
    event_type: Annotated[str, Path(max_length=200, pattern=PLAIN)], version: Annotated[int, Path(ge=1, le=10_000)]
) -> dict[str, Any]:
    return dict(event_contracts.schema(event_type, version))


@router.get("/delivery", summary="Where the delivery of events stands", dependencies=[guard(Role.VIEWER)])
def show_delivery(store: OpenStore) -> DeliveryDocument:
    found = standing(store, SUBSCRIBERS, timedelta(days=1))
    return DeliveryDocument(
        subscribers=[SubscriberDocument(**msgspec.to_builtins(each)) for each in found.subscribers],
        volumes=[VolumeDocument(**msgspec.structs.asdict(each)) for each in found.volumes],
        horizon_age_s=found.horizon_age_s,
    )


@router.post("/event-replays/count", summary="The dry run of a replay", dependencies=[guard(Role.OPERATOR)])
def count_replay(store: OpenStore, body: EventsWanted) -> CountsDocument:
    subscribers = replay_events.subscribers_of(body.subscriber, SUBSCRIBERS)
    return CountsDocument(events=replay_events.count(store, _selection(store, body), subscribers))


@router.post("/event-replays", summary="Tell events again", status_code=HTTPStatus.ACCEPTED)
def replay(store: OpenStore, caller: Operator, body: EventReplayBody) -> ReplayDocument:
    subscribers = replay_events.subscribers_of(body.subscriber, SUBSCRIBERS)
    asked = replay_events.ask_for_events(
        store, _selection(store, body), subscribers, rate=body.rate, actor=caller.actor
    )
    return replay_document(asked)


@router.get("/replays", summary="Replays, newest first", dependencies=[guard(Role.VIEWER)])
def list_replays(store: OpenStore, limit: Limit = 50) -> ReplaysDocument:
    with store.transaction() as work:
        return ReplaysDocument(replays=[replay_document(each) for each in event_replays.newest(work, limit=limit)])


ReplayId = Annotated[int, Path(ge=1, le=MOST_EXACT)]


@router.get("/replays/{replay_id}", summary="How far a replay is", dependencies=[guard(Role.VIEWER)], responses=_NONE)
def show_replay(store: OpenStore, replay_id: ReplayId) -> ReplayDocument:
    with store.transaction() as work:
        return replay_document(event_replays.get(work, replay_id))


@router.post("/replays/{replay_id}/stop", summary="Stop a replay; what it has done stays done", responses=_NONE)
def stop_replay(store: OpenStore, caller: Operator, replay_id: ReplayId) -> ReplayDocument:
    return replay_document(replay_events.stop(store, replay_id, actor=caller.actor))


def replay_document(replay: Replay) -> ReplayDocument:
    return ReplayDocument(**{name: getattr(replay, name) for name in ReplayDocument.model_fields})


def _selection(store: OpenStore, body: EventsWanted) -> Selection:
    after = ORIGIN
    if body.first:
        with store.transaction() as work:
            first = event_log.get(work, place_of(body.first)).at
        after = first._replace(position=first.position - 1)
    return Selection(
        after=after,
        types=event_contracts.known(body.types),
        key=body.key,
        since=body.since,
        until=body.until,
        silent=body.silent,
    )


def _place(cursor: str | None) -> Position:
    return Position(*map(int, cursor.split("."))) if cursor else ORIGIN


def _wants(request: Request, media_type: str) -> bool:
    return media_type in request.headers.get("accept", "")
