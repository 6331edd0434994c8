"""What led to an event, and what followed from it: the webhook, the run that fetched its record, the events that it wrote; an order's events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from crossdock.core.errors import NotFound
from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.model import WEBHOOK_RECEIVED, Event
from crossdock.events.store import Selection
from crossdock.events.webhooks_in.ports import SOURCE
from crossdock.sync import ledger
from crossdock.sync.ledger import Run

#: Names of one level, and levels in each direction.
MOST = 12
#: How long a webhook's record may wait for its fetch, and how many webhooks of that time are looked at.
_WAITS = timedelta(hours=1)
_LOOKED_AT = 200


@dataclass(frozen=True)
class Cause:
    """An event or a run before or after an event. It names no record: those have personal keys."""

    #: `event` or `run`.
    kind: str
    id: str
    title: str
    at: datetime


#: What happened at one point of the chain; often one, several where one led to many.
Level = tuple[Cause, ...]


@dataclass(frozen=True)
class Causation:
    """The chain of one event, in time order."""

    before: tuple[Level, ...] = ()
    after: tuple[Level, ...] = ()
    #: Whether there is more than is listed, before or after.
    is_cut: bool = False


def causation_of(work: Work, event: Event) -> Causation:
    """Find what led to *event*, and what followed, as far as the ledger and the store still have it."""
    if event.type == WEBHOOK_RECEIVED:
        return _of_webhook(work, event)
    if event.correlation_id and event.correlation_id == event.partition_key:
        return _of_one_key(work, event)
    if event.correlation_id:
        try:
            return _of_run(work, ledger.get(work, event.correlation_id))
        except NotFound:  # Its retention has ended, or it is no run's.
            return Causation()
    return Causation()


def _of_webhook(work: Work, event: Event) -> Causation:
    """Find the first fetch of the record that a webhook names, and what it wrote."""
    named: dict[str, Any] = msgspec.json.decode(event.data)
    integration, dataset, key = event.source.removeprefix(SOURCE), str(named.get("dataset")), str(named.get("key"))
    run = ledger.first_of_key(work, integration, dataset, key, since=event.time)
    if run is None:
        return Causation()
    wrote = event_store.select(work, _written_by(run), limit=MOST + 1)
    return Causation(after=((_run(run),), *_levels(wrote[:MOST])), is_cut=len(wrote) > MOST)


def _of_run(work: Work, run: Run) -> Causation:
    webhooks = _webhooks_of(work, run) if run.request.keys else []
    above = (tuple(_event(found) for found in webhooks[-MOST:]),) if webhooks else ()
    return Causation(before=(*above, (_run(run),)), is_cut=len(webhooks) > MOST)


def _webhooks_of(work: Work, run: Run) -> list[Event]:
    """List the latest webhook of each record that a run fetched. A run that a person began with keys has none."""
    recent = Selection(types=(WEBHOOK_RECEIVED,), since=run.started_at - _WAITS, until=run.started_at, silent=True)
    latest: dict[str, Event] = {}
    for event in event_store.newest(work, recent, limit=_LOOKED_AT):
        named = msgspec.json.decode(event.data)
        is_of_stream = event.source == SOURCE + run.integration and named.get("dataset") == run.dataset
        if is_of_stream and named.get("key") in run.request.keys:
            latest[str(named["key"])] = event
    return sorted(latest.values(), key=lambda event: event.at)


def _of_one_key(work: Work, event: Event) -> Causation:
    """Each event of an order follows from the one before it."""
    found = event_store.select(work, Selection(key=event.partition_key, silent=True), limit=_LOOKED_AT)
    before = [each for each in found if each.at < event.at]
    after = [each for each in found if each.at > event.at]
    return Causation(
        before=tuple((_event(each),) for each in before[-MOST:]),
        after=tuple((_event(each),) for each in after[:MOST]),
        is_cut=len(before) > MOST or len(after) > MOST,
    )


def _written_by(run: Run) -> Selection:
    return Selection(silent=True, correlation_id=run.run_id, since=run.started_at, until=run.finished_at)


def _levels(events: Sequence[Event]) -> Iterable[Level]:
    return [tuple(map(_event, events))] if events else []


def _event(event: Event) -> Cause:
    return Cause("event", event.id, event.type, event.time)


def _run(run: Run) -> Cause:
    return Cause("run", run.run_id, f"{run.stream}, {run.state}", run.started_at)
