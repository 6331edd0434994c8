"""Rebuild the read model `sku_availability` from the event store, and compare the result with the current model."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from crossdock.commerce.inventory import repository, subscribers
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.store import Selection
from crossdock.observability import audit

_SLICE = 2_000
NAME = "availability"


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a rebuild."""

    events: int
    #: Rows in which the model and the rebuilt copy differed; 0 means byte for byte the same.
    differences: int
    replaced: bool


def rebuild(
    store: Store,
    *,
    replace: bool,
    actor: str,
    on_compared: Callable[[Work, Rebuilt], None] = lambda _work, _found: None,
) -> Rebuilt:
    """
    Rebuild a copy of the model from the events and compare it; with *replace*, it replaces the model.

    *on_compared* runs in the transaction that compares and replaces.

    Consumers may run at the same time. The copy is filled in many short transactions; then the model is locked, the
    latest events are added, and the two are compared. The version guard gives the same result for any order of events.
    """
    # A connection of its own: a statement that was prepared before the copy existed would still use the model.
    with Store(store.dsn, schema=store.schema) as own:
        with own.transaction() as work:
            repository.create_shadow(work)
        selection, number = Selection(types=(STOCK_CHANGED,)), 0
        while events := _apply_next(own, selection):
            number += len(events)
            selection = msgspec.structs.replace(selection, after=events[-1].at)
        with own.transaction() as work:
            # Read before the first write: our own transaction id would move the horizon and hide the latest events.
            repository.lock(work, store.schema)
            while events := event_store.select(work, selection, limit=_SLICE):
                subscribers.apply(work, dead_letter_repository.as_delivered(work, NAME, events))
                number += len(events)
                selection = msgspec.structs.replace(selection, after=events[-1].at)
            found = _compare(work, store.schema, number, replace=replace, actor=actor)
            on_compared(work, found)
            return found


def _apply_next(own: Store, selection: Selection) -> list[Event]:
    with own.transaction() as work:
        events = event_store.select(work, selection, limit=_SLICE)
        subscribers.apply(work, dead_letter_repository.as_delivered(work, NAME, events))
    return events


def _compare(work: Work, schema: str, events: int, *, replace: bool, actor: str) -> Rebuilt:
    differences = repository.differences(work, schema)
    if replace:
        repository.replace(work, schema)
        detail = {"events": events, "differences": differences}
        audit.add(work, actor=actor, act="model.rebuild", subject=f"read-models/{NAME}", detail=detail)
    return Rebuilt(events=events, differences=differences, replaced=replace)
