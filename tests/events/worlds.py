"""Events of a small shop, workers in threads, and queries for tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from crossdock.app.delivery import background_tasks
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers as subscribers_with
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.delivery import PartitionAssignment, PollingConfig, deliver
from crossdock.events.model import STOCK_CHANGED, Event, NewEvent
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance.housekeeping import HousekeepingConfig

#: The subscribers of the hub, with the services of this process. Of the two that take stock events one is enough: a bad event
#: would be two dead letters.
SUBSCRIBERS = {name: each for name, each in subscribers_with(services()).items() if name != "stock"}
#: Short leases: a test of a takeover should not take the life of one.
QUICK = PollingConfig(batch=100, lease_life=timedelta(seconds=0.6))
#: No lease of a worker that is at work runs out, however busy the machine is: only the test takes it over.
STEADY = PollingConfig(batch=100, lease_life=timedelta(seconds=60))
SOURCE = "/integrations/commercetools"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def stock(sku: str, version: int, available: int, *, entry: str | None = None, **changes: Any) -> NewEvent:
    """A level of *sku*; the entry's id is the sku's own where only one warehouse has it."""
    entry = entry or f"id-{sku}"
    data = {"id": entry, "version": version, "sku": sku, "available_quantity": available, **changes}
    return NewEvent(
        source=SOURCE,
        type=STOCK_CHANGED,
        subject=f"inventory/{entry}",
        time=LONG_AGO + timedelta(seconds=version),
        partition_key=sku,
        data=json.dumps(data),
    )


def publish(store: Store, *events: NewEvent) -> None:
    with store.transaction() as work:
        event_store.append(work, events)


@contextmanager
def delivery(
    dsn: str,
    subscribers: Mapping[str, Subscriber] = SUBSCRIBERS,
    *,
    assignment: PartitionAssignment | None = None,
    polling: PollingConfig = STEADY,
    housekeeping: HousekeepingConfig | None = None,
) -> Iterator[None]:
    """Run a delivery worker beside the test."""
    stop = threading.Event()
    thread = threading.Thread(
        target=deliver,
        args=(lambda: Store(dsn), assignment or PartitionAssignment(partitions=2)),
        kwargs={
            "lifetime": timedelta(minutes=30),
            "subscribers": subscribers,
            "polling": polling,
            "background": background_tasks(lambda: Store(dsn), subscribers, housekeeping=housekeeping),
            "stop": stop,
        },
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)
        assert not thread.is_alive()


def eventually(question: Callable[[], Any], wanted: Any = True, within_s: float = 120.0) -> None:
    """*question* answers *wanted* within the time."""
    until = time.monotonic() + within_s
    answer = question()
    while answer != wanted and time.monotonic() < until:
        time.sleep(0.02)
        answer = question()
    assert answer == wanted


class ExternalSystem:
    """An external system: it records its events call by call, and may be slow or refuse."""

    def __init__(self, *, takes_s: float = 0.0, until: threading.Event | None = None) -> None:
        self.calls: list[list[tuple[str, int]]] = []
        #: The events that it has accepted, in order.
        self.delivered: list[tuple[str, int]] = []
        #: The error to raise for the given events.
        self.refuses: Callable[[Sequence[Event]], Exception | None] = lambda _: None
        #: The most that were in it at once.
        self.most_at_once = 0
        self.takes_s, self.until, self._inside = takes_s, until, 0
        self._lock = threading.Lock()

    def subscribers(self, **changes: Any) -> dict[str, Subscriber]:
        fields = {"types": (STOCK_CHANGED,), "attempts": 3, "first_wait_s": 0.05, **changes}
        return {"external": Subscriber(deliver=self._deliver, **fields)}

    def _deliver(self, events: Sequence[Event]) -> None:
        delivered = [(event.partition_key, int(json.loads(event.data)["version"])) for event in events]
        with self._lock:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
            self.calls.append(delivered)
        try:
            self._act(events)
            with self._lock:
                self.delivered += delivered
        finally:
            with self._lock:
                self._inside -= 1

    def _act(self, events: Sequence[Event]) -> None:
        if self.until:
            self.until.wait(600)
        time.sleep(self.takes_s)
        if refusal := self.refuses(events):
            raise refusal
