"""The two logs that are measured, each as a publisher and a reader that a process of its own can run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from crossdock.bench.events import plain_log
from crossdock.bench.events import tally as bench_tally
from crossdock.commerce.inventory import subscribers as inventory_subscribers
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.delivery import PartitionAssignment, deliver
from crossdock.events.model import STOCK_CHANGED, Event, NewEvent
from crossdock.events.subscriber import Subscriber

#: Of an event as a CloudEvent; what the figures of others are measured with.
EVENT_BYTES = 1024
SKUS = 10_000
#: The clock of one in so many events is read; each would cost the reader a tenth of its time.
SAMPLED = 10
_SOURCE = "/bench"

#: Told after each commit: how many events, and the due times (CLOCK_MONOTONIC) of the sampled ones.
Tell = Callable[[int, Sequence[float]], None]


class Log(Protocol):
    name: str

    def prepare(self, dsn: str) -> None:
        """An empty log."""
        ...

    def publisher(self, dsn: str) -> Callable[[int, Sequence[float]], None]:
        """A function that makes events from a number on, one for each due time, durable when it returns."""
        ...

    def consume(self, dsn: str, reader_no: int, readers: int, tell: Tell, stop: threading.Event) -> None:
        """Reads until *stop* is set."""
        ...


class PlainLog:
    name = "plain log"

    def prepare(self, dsn: str) -> None:
        with Store(dsn) as store, store.transaction() as work:
            plain_log.make(work)

    def publisher(self, dsn: str) -> Callable[[int, Sequence[float]], None]:
        store = Store(dsn)
        whole = {"specversion": "1.0", "source": "/bench", "type": STOCK_CHANGED, "id": "x" * 20, "data": _data(0, 0.0)}
        pad = "p" * (EVENT_BYTES - len(json.dumps(whole)))
        frame = json.dumps({**whole, "pad": pad})[:-1].encode()

        def publish(_: int, dues: Sequence[float]) -> None:
            bodies = [frame + b',"due":%.6f}' % due for due in dues]
            with store.transaction() as work:
                plain_log.append(work, bodies)

        return publish

    def consume(self, dsn: str, reader_no: int, readers: int, tell: Tell, stop: threading.Event) -> None:
        del reader_no, readers
        decode, seq = msgspec.json.Decoder().decode, 0
        with Store(dsn) as store:
            while not stop.is_set():
                with store.transaction() as work:
                    bodies, seq = plain_log.read(work, seq)
                    dues = [decode(body)["due"] for body in bodies]
                if bodies:
                    tell(len(bodies), dues[::SAMPLED])
                else:
                    time.sleep(0.002)


class _Due(msgspec.Struct):
    due: float


class HubLog:
    """The event store as it is: horizon, lease, inbox, and the handler that keeps availability."""

    name = "crossdock"

    def __init__(self, *, tally: bool = False) -> None:
        self._tally = tally

    def prepare(self, dsn: str) -> None:
        with Store(dsn) as store, store.transaction() as work:
            bench_tally.make(work)
            bench_tally.empty(work)

    def publisher(self, dsn: str) -> Callable[[int, Sequence[float]], None]:
        store = Store(dsn)
        pad = "p" * (EVENT_BYTES - 330)
        now = datetime.now(UTC)

        def publish(first: int, dues: Sequence[float]) -> None:
            with store.transaction() as work:
                event_store.append(work, (_event(first + n, due, pad, now) for n, due in enumerate(dues)))

        return publish

    def consume(self, dsn: str, reader_no: int, readers: int, tell: Tell, stop: threading.Event) -> None:
        decode = msgspec.json.Decoder(_Due).decode
        seen = _Seen()

        def apply(work: Work, events: Sequence[Event]) -> None:
            inventory_subscribers.apply(work, events)
            if self._tally:
                bench_tally.add(work, [event.position for event in events])
            # A sync that runs beside it tells of its own rows too.
            seen.events += [event for event in events if event.source == _SOURCE]

        def committed() -> None:
            if seen.events:
                tell(len(seen.events), [decode(event.data).due for event in seen.events[::SAMPLED]])
                seen.events = []

        deliver(
            lambda: _TellingStore(dsn, committed),
            PartitionAssignment(reader_no, workers=readers, partitions=readers),
            lifetime=timedelta(hours=1),
            subscribers={"availability": Subscriber(types=(STOCK_CHANGED,), apply=apply)},
            stop=stop,
        )


class _Seen(threading.local):
    """What a thread's handler was given since its last commit; the worker's other threads commit as well."""

    def __init__(self) -> None:
        self.events: list[Event] = []


class _TellingStore(Store):
    """A store that says when a transaction has committed: an event counts as processed then, not before."""

    def __init__(self, dsn: str, committed: Callable[[], None], *, session: str = "") -> None:
        super().__init__(dsn, session=session)
        self._committed = committed

    def another(self, *, session: str = "") -> Store:
        return _TellingStore(self.dsn, self._committed, session=session)

    @contextmanager
    def transaction(self) -> Iterator[Work]:
        with super().transaction() as work:
            yield work
        self._committed()


def _event(number: int, due: float, pad: str, now: datetime) -> NewEvent:
    sku = f"SKU-{number % SKUS:06d}"
    return NewEvent(
        source=_SOURCE,
        type=STOCK_CHANGED,
        subject=f"inventory/{sku}",
        time=now,
        partition_key=sku,
        data=f'{json.dumps(_data(number, due))[:-1]},"pad":"{pad}"}}',
    )


def _data(number: int, due: float) -> dict[str, object]:
    sku = f"SKU-{number % SKUS:06d}"
    return {
        "id": sku,
        "version": 1 + number // SKUS,
        "sku": sku,
        "supply_channel": "warehouse",
        "quantity_on_stock": number % 997,
        "available_quantity": number % 997,
        "due": due,
    }
