"""Events of a small shop, readers in threads, and what a test asks of the hub."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from include.flows.deliver_events import Pace, Place, deliver
from include.handlers import HANDLERS, Subscriber
from include.model.events import STOCK_CHANGED, NewEvent
from include.model.outside import KeyPuller
from include.store import event_log
from include.store.database import Store

#: Short leases: a test of a takeover should not take the life of one.
QUICK = Pace(batch=100, lease_life=timedelta(seconds=0.6))
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
        event_log.publish(work, events)


@contextmanager
def delivery(
    dsn: str,
    handlers: Mapping[str, Subscriber] = HANDLERS,
    *,
    place: Place | None = None,
    pace: Pace = QUICK,
    puller: KeyPuller | None = None,
) -> Iterator[None]:
    """A worker of the delivery at work beside the test."""
    stop = threading.Event()
    thread = threading.Thread(
        target=deliver,
        args=(lambda: Store(dsn), place or Place(partitions=2)),
        kwargs={"lifetime": timedelta(minutes=2), "handlers": handlers, "pace": pace, "puller": puller, "stop": stop},
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def eventually(question: Callable[[], Any], wanted: Any = True, within_s: float = 15.0) -> None:
    """*question* answers *wanted* within the time."""
    until = time.monotonic() + within_s
    answer = question()
    while answer != wanted and time.monotonic() < until:
        time.sleep(0.02)
        answer = question()
    assert answer == wanted
