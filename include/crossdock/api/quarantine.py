"""REST resources of the quarantine: list rejected records by cause, edit, preview, replay and discard them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import BaseModel, Field, StrictBool

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.events import ReplayDocument, replay_document
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.api.selection import (
    BulkDiscardRequest,
    DiscardedDocument,
    DiscardRequest,
    Id,
    Ids,
    SelectAll,
    SelectByCause,
    Selected,
    Selector,
    Strict,
    discarded,
    not_there,
)
from crossdock.api.validation import MOST_EXACT, PLAIN
from crossdock.app import personal_data
from crossdock.app.streams import stream_of
from crossdock.core.errors import BadRequest
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store, Work
from crossdock.sync.quarantine import fix_all
from crossdock.sync.quarantine import replay as quarantine_replay
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine import service as quarantine_service
from crossdock.sync.quarantine.history import history_of
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.quarantine.repository import CauseCount, Item

router = Router(tags=["quarantine"])

Operator = Annotated[Caller, guard(Role.OPERATOR)]

State = Literal["open", "replayed", "discarded", "superseded", "all"]
_NONE = not_there("item")


class FailureDocument(BaseModel):
    rule: str
    column: str
    message: str
    value: str = Field(description="The value that failed, shortened, as text.")


class ItemSummary(BaseModel):
    item_id: int
    stream: str = Field(examples=["commercetools.inventory"])
    integration: str
    dataset: str
    record_id: str
    record_key: str | None
    version: int
    state: str
    cause: str
    failures: list[FailureDocument]
    is_edited: bool
    times_seen: int
    first_run_id: str
    last_run_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    closed_by: str | None


class StepDocument(BaseModel):
    """One thing that somebody did with the record."""

    at: datetime
    actor: str
    act: Literal["fixed", "replayed", "discarded"]
    detail: dict[str, Any] = Field(description="Of a fix, `changed`: each changed place with `from` and `to`.")
    replay_id: int | None
    replay_state: str | None


class ItemDocument(ItemSummary):
    record: Any = Field(description="As the source sent it.")
    edited: Any = Field(None, description="The record as it will be replayed, if somebody edited it.")
    fields: list[str] = Field(description="Fields of the source that an edit may set.")
    sources: dict[str, list[str]] = Field(
        description="Column of the hub → the fields of this record that it comes from."
    )
    history: list[StepDocument] = Field(description="What people did with it, the first first.")


class ItemsPage(BaseModel):
    items: list[ItemSummary]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class ValueDocument(BaseModel):
    value: str
    items: int


class QuarantineCauseDocument(BaseModel):
    stream: str
    cause: str
    message: str
    items: int
    oldest_at: datetime
    values: list[ValueDocument] = Field(description="The values that failed most often.")


class QuarantineCausesDocument(BaseModel):
    causes: list[QuarantineCauseDocument]


class FieldsEdited(Strict):
    """Some fields of the record. An edit may not change `id` and `version`."""

    changes: dict[str, Any] = Field(description="Field name of the source (dots for nested fields) → its new value.")


class RecordEdited(Strict):
    """The whole record."""

    record: dict[str, Any]


class FixDocument(BaseModel):
    item: ItemDocument
    passes: bool = Field(description="Whether the record would be accepted if it were replayed now.")
    failures: list[FailureDocument] = Field(description="The rules that it would fail.")


class ItemsByNumber(Selector):
    item_ids: Ids

    def selected(self) -> Selected:
        return Selected(ids=self.item_ids)


class ItemsAlike(Strict):
    """The open items of the same stream and cause as one item."""

    like: int = Field(ge=1, le=MOST_EXACT, description="ID of an item; those of its stream and cause are selected.")


class DiscardItems(ItemsByNumber, BulkDiscardRequest):
    pass


class DiscardItemsOfCause(SelectByCause, BulkDiscardRequest):
    pass


class DiscardEveryItem(SelectAll, BulkDiscardRequest):
    pass


class DiscardItemsAlike(ItemsAlike, DiscardRequest):
    dry_run: StrictBool = Field(False, description="Only count the selected items.")


class Previewed(BaseModel):
    changes: dict[str, Any] = Field(
        default_factory=dict,
        description="Field name of the source (dots for nested fields) → the value that each record would get.",
    )


class PreviewItems(ItemsByNumber, Previewed):
    pass


class PreviewItemsOfCause(SelectByCause, Previewed):
    pass


class PreviewItemsAlike(ItemsAlike, Previewed):
    pass


class PreviewEveryItem(SelectAll, Previewed):
    pass


class Fixed(BaseModel):
    changes: dict[str, Any] = Field(
        min_length=1, description="Field name of the source (dots for nested fields) → the new value in each record."
    )


class FixItems(ItemsByNumber, Fixed):
    pass


class FixItemsOfCause(SelectByCause, Fixed):
    pass


class FixItemsAlike(ItemsAlike, Fixed):
    pass


class FixEveryItem(SelectAll, Fixed):
    pass


class StillBadDocument(BaseModel):
    cause: str = Field(description="The first rule that they would fail.")
    items: int


class PreviewDocument(BaseModel):
    chosen: int = Field(description="The number of selected items.")
    checked: int = Field(description=f"How many of them were validated, at most {fix_all.MOST:,}; the oldest first.")
    would_load: int = Field(description="How many of those would be loaded.")
    still_bad: list[StillBadDocument] = Field(description="Why the others would be rejected again.")


class FixedDocument(BaseModel):
    chosen: int = Field(description="The number of selected items.")
    edited: list[int] = Field(description="Those that have the change now; not those in which it cannot be set.")


class _Chosen(NamedTuple):
    """A selection as the use cases take it."""

    ids: Sequence[int]
    cause: str | None
    everything: bool
    stream: str | None


@router.get("/quarantine", summary="List quarantine items", dependencies=[guard(Role.VIEWER)])
def list_items(
    store: OpenStore,
    state: State = "open",
    stream: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    cause: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    run: Annotated[
        str | None, Query(max_length=200, pattern=PLAIN, description="Only what this run rejected; its ID.")
    ] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 50,
) -> ItemsPage:
    only = None if state == "all" else state
    with store.transaction() as work:
        found = quarantine_repository.find(
            work, stream=stream, cause=cause, state=only, run_id=run, after=int(cursor or 0), limit=limit + 1
        )
    page = found[:limit]
    return ItemsPage(
        items=[ItemSummary(**_summary(item)) for item in page],
        next_cursor=str(page[-1].item_id) if len(found) > limit else None,
    )


@router.get("/quarantine-causes", summary="List causes of open quarantine items", dependencies=[guard(Role.VIEWER)])
def list_quarantine_causes(
    store: OpenStore, stream: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None
) -> QuarantineCausesDocument:
    with store.transaction() as work:
        found = quarantine_repository.causes(work, stream=stream)
    return QuarantineCausesDocument(causes=[_cause_document(group) for group in found])


@router.get("/quarantine/{item_id}", summary="Get a quarantine item with its record", responses=_NONE)
def show_item(store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)], item_id: Id) -> ItemDocument:
    """Read an item. Personal data is shown to operators only, and recorded in the audit trail."""
    with store.transaction() as work:
        item = quarantine_repository.get(work, item_id)
        more = _more(work, item, caller)
    record, edited = quarantine_service.readable(item.raw), _edited(item)
    if personal_data.reveal(store, caller, f"quarantine/{item_id}", [record, edited], personal_data.OF_SOURCE):
        failures = [FailureDocument(**msgspec.structs.asdict(failure)) for failure in item.failures]
        shown = {**_summary(item), "record_id": item.record_id, "record_key": item.record_key, "failures": failures}
        return ItemDocument(**shown, **more, record=record, edited=edited)
    return _masked(item, more)


@router.patch("/quarantine/{item_id}", summary="Edit a record; nothing is loaded until it is replayed", responses=_NONE)
def fix_item(store: OpenStore, caller: Operator, item_id: Id, body: FieldsEdited | RecordEdited) -> FixDocument:
    """Save an edit and validate it at once by the rules of its sync. It is saved even if it would still be rejected."""
    if isinstance(body, RecordEdited):
        verdict = quarantine_service.edit(
            store, item_id, json.dumps(body.record).encode(), streams=stream_of, actor=caller.actor
        )
    else:
        verdict = quarantine_service.edit_fields(store, item_id, body.changes, streams=stream_of, actor=caller.actor)
    item = _item(store, item_id, caller)
    failures = [_failure(failure, item.dataset) for failure in verdict]
    return FixDocument(item=item, passes=not failures, failures=failures)


@router.post(
    "/quarantine/{item_id}/discard",
    summary="Discard a quarantine item; its record is kept",
    response_model=ItemDocument,
    responses=_NONE | KEYED,
)
def discard_item(store: OpenStore, caller: Operator, request: OneEffect, item_id: Id, body: DiscardRequest) -> Response:
    def discard() -> ItemDocument:
        quarantine_service.discard(store, item_id, body.reason, actor=caller.actor)
        return _item(store, item_id, caller)

    return request.once(discard)


@router.post(
    "/quarantine-discards",
    summary="Discard many quarantine items; their records are kept",
    response_model=DiscardedDocument,
    responses=_NONE | KEYED,
)
def discard_items(
    store: OpenStore,
    caller: Operator,
    request: OneEffect,
    body: DiscardItems | DiscardItemsOfCause | DiscardItemsAlike | DiscardEveryItem,
) -> Response:
    def discard() -> DiscardedDocument:
        return discarded(
            _choose(store, body),
            lambda chosen: quarantine_service.discard_all(store, chosen, body.reason, actor=caller.actor),
            dry_run=body.dry_run,
        )

    return request.once(discard)


@router.post(
    "/quarantine-previews",
    summary="Preview a replay, with a change to each record if you like; nothing is saved",
    responses=_NONE,
)
def preview_replay(
    store: OpenStore,
    caller: Operator,  # noqa: ARG001  the guard
    body: PreviewItems | PreviewItemsOfCause | PreviewItemsAlike | PreviewEveryItem,
) -> PreviewDocument:
    """Validate the selected records as a replay would, each with the changes, and count what would happen."""
    found = fix_all.preview(store, _choose(store, body), body.changes, streams=stream_of)
    return PreviewDocument(
        chosen=found.chosen,
        checked=found.checked,
        would_load=found.would_load,
        still_bad=[StillBadDocument(cause=cause, items=items) for cause, items in found.still_bad],
    )


@router.post(
    "/quarantine-fixes",
    summary="Make one change to many records; nothing is loaded until they are replayed",
    response_model=FixedDocument,
    responses=_NONE | KEYED,
)
def fix_items(
    store: OpenStore,
    caller: Operator,
    request: OneEffect,
    body: FixItems | FixItemsOfCause | FixItemsAlike | FixEveryItem,
) -> Response:
    """Make the same change to each selected record, at most 5,000 at once. Preview it first: `/quarantine-previews`."""

    def fix() -> FixedDocument:
        ids = _choose(store, body)
        edited = fix_all.edit_all(store, ids, body.changes, streams=stream_of, actor=caller.actor)
        return FixedDocument(chosen=len(ids), edited=edited)

    return request.once(fix)


@router.post(
    "/quarantine-replays",
    summary="Replay quarantined records; those that pass are loaded and closed",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ReplayDocument,
    responses=_NONE | KEYED,
)
def replay_items(
    store: OpenStore, caller: Operator, request: OneEffect, body: ItemsByNumber | SelectByCause | ItemsAlike | SelectAll
) -> Response:
    """Request a replay. It starts within a second; `/replays/{replay_id}` shows its progress and can stop it."""

    def replay() -> ReplayDocument:
        ids, cause, everything, stream = _chosen(store, body)
        return replay_document(
            quarantine_replay.request(store, ids, cause=cause, everything=everything, stream=stream, actor=caller.actor)
        )

    return request.once(replay)


def _choose(store: Store, body: Selector | ItemsAlike) -> list[int]:
    ids, cause, everything, stream = _chosen(store, body)
    return quarantine_service.choose(store, ids, cause=cause, everything=everything, stream=stream)


def _chosen(store: Store, body: Selector | ItemsAlike) -> _Chosen:
    if isinstance(body, ItemsAlike):
        stream, cause = quarantine_service.alike(store, body.like)
        return _Chosen((), cause, everything=False, stream=stream)
    return _Chosen(*body.selected(), stream=None)


def _item(store: Store, item_id: int, caller: Caller) -> ItemDocument:
    with store.transaction() as work:
        item = quarantine_repository.get(work, item_id)
        return _masked(item, _more(work, item, caller))


def _more(work: Work, item: Item, caller: Caller) -> dict[str, Any]:
    """Say what a person can do with the item, and what people did with it."""
    steps = [
        {**msgspec.structs.asdict(step), "detail": personal_data.masked_detail(step.detail, caller)}
        for step in history_of(work, item.item_id)
    ]
    try:
        stream = stream_of(item.stream)
    except BadRequest:  # It was removed, and its record can only be discarded.
        return {"fields": [], "sources": {}, "history": steps}
    return {
        "fields": quarantine_service.editable_fields(stream, item),
        "sources": quarantine_service.sources_of(stream, item),
        "history": steps,
    }


def _masked(item: Item, more: dict[str, Any]) -> ItemDocument:
    """Represent the item with its record, personal data masked."""
    record = personal_data.masked_received(quarantine_service.readable(item.raw), item)
    edited = personal_data.masked_received(_edited(item), item) if item.edited else None
    return ItemDocument(**_summary(item), **more, record=record, edited=edited)


def _edited(item: Item) -> Any:
    return quarantine_service.readable(item.edited) if item.edited else None


def _summary(item: Item) -> dict[str, Any]:
    names = ItemSummary.model_fields.keys() - {"failures", "is_edited"}
    return {
        **{name: getattr(item, name) for name in names},
        "record_id": personal_data.masked_id(item.record_id, item.record_key, item.dataset),
        "record_key": personal_data.masked_key(item.record_key, item.dataset),
        "failures": [_failure(failure, item.dataset) for failure in item.failures],
        "is_edited": item.edited is not None,
    }


def _failure(failure: Failure, dataset: str) -> FailureDocument:
    value = personal_data.masked_failure_value(failure.value, failure.column, dataset)
    return FailureDocument(rule=failure.rule, column=failure.column, message=failure.message, value=value)


def _cause_document(group: CauseCount) -> QuarantineCauseDocument:
    """Represent the cause; where its column is personal, its values are one masked one."""
    dataset, counts = group.stream.partition(".")[2], dict[str, int]()
    for value, items in group.values:
        shown = personal_data.masked_failure_value(value, group.column, dataset)
        counts[shown] = counts.get(shown, 0) + items
    values = [ValueDocument(value=value, items=items) for value, items in counts.items()]
    return QuarantineCauseDocument(
        stream=group.stream,
        cause=group.cause,
        message=group.message,
        items=group.items,
        oldest_at=group.oldest_at,
        values=values,
    )
