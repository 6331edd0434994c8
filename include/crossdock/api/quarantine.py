"""The desk for records that were not accepted, over HTTP: grouped by cause, mended, replayed, discarded."""

from __future__ import annotations

import json
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import BaseModel, Field

from crossdock.api.access import Caller, Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.events import ReplayDocument, replay_document
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.routing import Router
from crossdock.api.selection import (
    Because,
    ByCause,
    Choice,
    Choosing,
    DiscardedDocument,
    Everything,
    ManyBecause,
    Number,
    Numbers,
    Strict,
    discarded,
    not_there,
)
from crossdock.api.validation import PLAIN
from crossdock.app.streams import sync_of
from crossdock.db.database import Store
from crossdock.sync.quarantine import replay as replay_quarantine
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine import service as quarantine_desk
from crossdock.sync.quarantine.repository import Item

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
    integration: str
    entity: str
    record_id: str
    record_key: str | None
    version: int
    state: str
    cause: str
    failures: list[FailureDocument]
    is_mended: bool
    times_seen: int
    first_run_id: str
    last_run_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    closed_by: str | None


class ItemDocument(ItemSummary):
    record: Any = Field(description="As the source sent it.")
    mended: Any = Field(None, description="The record as it will be replayed, where somebody mended it.")


class ItemsPage(BaseModel):
    items: list[ItemSummary]
    next_cursor: str | None = Field(description="Of the next page; null on the last.")


class ValueDocument(BaseModel):
    value: str
    items: int


class QuarantineCauseDocument(BaseModel):
    entity: str
    cause: str
    message: str
    items: int
    oldest_at: datetime
    values: list[ValueDocument] = Field(description="Those that failed most often.")


class QuarantineCausesDocument(BaseModel):
    causes: list[QuarantineCauseDocument]


class FieldsMended(Strict):
    """Some fields of the record. A mend may not change which record it is (`id`, `version`)."""

    changes: dict[str, Any] = Field(description="The platform's field (dots go deeper) and its new value.")


class RecordMended(Strict):
    """The whole record."""

    record: dict[str, Any]


class FixDocument(BaseModel):
    item: ItemDocument
    passes: bool = Field(description="Whether it would be accepted when it is replayed now.")
    failures: list[FailureDocument] = Field(description="Why not.")


class ItemsByNumber(Choosing):
    item_ids: Numbers

    def choice(self) -> Choice:
        return Choice(numbers=self.item_ids)


class DiscardItems(ItemsByNumber, ManyBecause):
    pass


class DiscardItemsOfCause(ByCause, ManyBecause):
    pass


class DiscardEveryItem(Everything, ManyBecause):
    pass


@router.get("/quarantine", summary="Items by their numbers, without their records", dependencies=[guard(Role.VIEWER)])
def list_items(
    store: OpenStore,
    state: State = "open",
    entity: Annotated[str | None, Query(max_length=100, pattern=PLAIN)] = None,
    cause: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None,
    limit: Limit = 50,
) -> ItemsPage:
    wanted = None if state == "all" else state
    with store.transaction() as work:
        found = quarantine.find(work, entity=entity, cause=cause, state=wanted, after=int(cursor or 0), limit=limit + 1)
    page = found[:limit]
    return ItemsPage(
        items=[ItemSummary(**_summary(item)) for item in page],
        next_cursor=str(page[-1].item_id) if len(found) > limit else None,
    )


@router.get("/quarantine-causes", summary="Open items by what failed, most first", dependencies=[guard(Role.VIEWER)])
def list_quarantine_causes(
    store: OpenStore, entity: Annotated[str | None, Query(max_length=100, pattern=PLAIN)] = None
) -> QuarantineCausesDocument:
    with store.transaction() as work:
        found = quarantine.causes(work, entity=entity)
    return QuarantineCausesDocument(
        causes=[
            QuarantineCauseDocument(
                **{
                    **msgspec.structs.asdict(each),
                    "values": [ValueDocument(value=value, items=items) for value, items in each.values],
                }
            )
            for each in found
        ]
    )


@router.get(
    "/quarantine/{item_id}",
    summary="One item with its record, whole",
    dependencies=[guard(Role.DEVELOPER, Role.OPERATOR)],
    responses=_NONE,
)
def show_item(store: OpenStore, item_id: Number) -> ItemDocument:
    """For those who mend, not for every viewer: a record as its source sent it may name a person."""
    return _item(store, item_id)


@router.patch("/quarantine/{item_id}", summary="Mend a record; nothing is loaded until it is replayed", responses=_NONE)
def fix_item(store: OpenStore, caller: Operator, item_id: Number, body: FieldsMended | RecordMended) -> FixDocument:
    """Checked at once, with the rules of its sync. One that would still be rejected is kept all the same."""
    if isinstance(body, RecordMended):
        verdict = quarantine_desk.mend(
            store, item_id, json.dumps(body.record).encode(), syncs=sync_of, actor=caller.actor
        )
    else:
        verdict = quarantine_desk.mend_fields(store, item_id, body.changes, syncs=sync_of, actor=caller.actor)
    failures = [FailureDocument(**msgspec.structs.asdict(failure)) for failure in verdict]
    return FixDocument(item=_item(store, item_id), passes=not failures, failures=failures)


@router.post("/quarantine/{item_id}/discard", summary="Close an item for good; it is kept", responses=_NONE)
def discard_item(store: OpenStore, caller: Operator, item_id: Number, body: Because) -> ItemDocument:
    quarantine_desk.discard(store, item_id, body.reason, actor=caller.actor)
    return _item(store, item_id)


@router.post("/quarantine-discards", summary="Close many items for good; they are kept", responses=_NONE)
def discard_items(
    store: OpenStore, caller: Operator, body: DiscardItems | DiscardItemsOfCause | DiscardEveryItem
) -> DiscardedDocument:
    numbers, cause, everything = body.choice()
    items = quarantine_desk.choose(store, numbers, cause=cause, everything=everything)
    return discarded(
        [item.item_id for item in items],
        lambda chosen: quarantine_desk.discard_all(store, chosen, body.reason, actor=caller.actor),
        dry_run=body.dry_run,
    )


@router.post(
    "/quarantine-replays",
    summary="Send records through the gate again; what passes is loaded and closed",
    status_code=HTTPStatus.ACCEPTED,
    responses=_NONE,
)
def replay_items(store: OpenStore, caller: Operator, body: ItemsByNumber | ByCause | Everything) -> ReplayDocument:
    """Worked off by the delivery within a second; `/replays/{replay_id}` says how far it is, and stops it."""
    numbers, cause, everything = body.choice()
    asked = replay_quarantine.ask(store, numbers, cause=cause, everything=everything, actor=caller.actor)
    return replay_document(asked)


def _item(store: Store, item_id: int) -> ItemDocument:
    with store.transaction() as work:
        item = quarantine.get(work, item_id)
    mended = quarantine_desk.readable(item.mended) if item.mended else None
    return ItemDocument(**_summary(item), record=quarantine_desk.readable(item.raw), mended=mended)


def _summary(item: Item) -> dict[str, Any]:
    names = ItemSummary.model_fields.keys() - {"failures", "is_mended"}
    return {
        **{name: getattr(item, name) for name in names},
        "failures": [msgspec.structs.asdict(failure) for failure in item.failures],
        "is_mended": item.mended is not None,
    }
