"""The read model `sku_availability`, built again from the event store alone, and compared with what is there."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from crossdock.commerce.inventory import repository as availability
from crossdock.commerce.inventory import subscribers as keep_availability
from crossdock.db.database import Store, Work
from crossdock.events import store as event_log
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.store import Selection
from crossdock.observability import audit

_SLICE = 2_000
NAME = "availability"


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    events: int
    #: Rows in which the model and the store's own account of it differed; 0 means byte for byte the same.
    differences: int
    replaced: bool


def rebuild(store: Store, *, replace: bool, actor: str, tell: Callable[[int], None] = lambda _: None) -> Rebuilt:
    """
    What the events make of the model; with *replace* it takes the model's place. Readers may be at work meanwhile.

    A copy is filled in many short transactions; then the model is locked, the copy takes in what came meanwhile,
    and the two are compared. The guard by version makes it the same in whatever order events came.
    """
    # A connection of its own: a statement that was prepared before the copy was there still means the model.
    with Store(store.dsn, schema=store.schema) as own:
        with own.transaction() as work:
            availability.shadow(work)
        wanted, number = Selection(types=(STOCK_CHANGED,)), 0
        while events := _take_in(own, wanted):
            number += len(events)
            wanted = msgspec.structs.replace(wanted, after=events[-1].at)
            tell(number)
        with own.transaction() as work:
            # Nothing is written before the first read: our own transaction's number would hide what it should find.
            availability.lock(work, store.schema)
            while events := event_log.select(work, wanted, limit=_SLICE):
                keep_availability.apply(work, failed_deliveries.corrected(work, NAME, events))
                number += len(events)
                wanted = msgspec.structs.replace(wanted, after=events[-1].at)
            return _compared(work, store.schema, number, replace=replace, actor=actor)


def _take_in(own: Store, wanted: Selection) -> list[Event]:
    with own.transaction() as work:
        events = event_log.select(work, wanted, limit=_SLICE)
        keep_availability.apply(work, failed_deliveries.corrected(work, NAME, events))
    return events


def _compared(work: Work, schema: str, events: int, *, replace: bool, actor: str) -> Rebuilt:
    differences = availability.differences(work, schema)
    if replace:
        availability.replace(work, schema)
        detail = {"events": events, "differences": differences}
        audit.add(work, actor=actor, act="model.rebuild", subject=f"read-models/{NAME}", detail=detail)
    return Rebuilt(events=events, differences=differences, replaced=replace)
