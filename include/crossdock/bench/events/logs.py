"""
The two logs that are measured, each with a publisher and a consumer that a process of its own can run.

The plain log is the yardstick: bytes in by COPY, bytes out by number, one cursor. It has no horizon (so it is correct
for one writer only), no order per key, no inbox, no effect. What the event store costs beyond it is the price of those.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from crossdock.commerce.inventory import subscribers as inventory_subscribers
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.delivery import PartitionAssignment, deliver
from crossdock.events.model import STOCK_CHANGED, Event, NewEvent
from crossdock.events.subscriber import Subscriber

#: Of an event as a CloudEvent; published figures of other systems use the same size.
EVENT_BYTES = 1024
SKUS = 10_000
#: One in this many events is timed; timing all would cost the consumer a tenth of its time.
SAMPLED = 10
_SOURCE = "/bench"

#: Called after each commit: the number of events, and the due times (CLOCK_MONOTONIC) of the sampled ones.
OnCommit = Callable[[int, Sequence[float]], None]
#: Publishes events from a number on, one for each due time; they are durable when it returns.
Publish = Callable[[int, Sequence[float]], None]

_PLAIN_TABLES = (
    b"DROP TABLE IF EXISTS plain_log, plain_cursor",
    b"CREATE TABLE plain_log (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea)",
    b"ALTER TABLE plain_log ALTER body SET STORAGE EXTERNAL",
    b"CREATE TABLE plain_cursor (seq bigint)",
    b"INSERT INTO plain_cursor VALUES (0)",
)
_PLAIN_COPY = b"COPY plain_log (body) FROM STDIN (FORMAT binary)"
_PLAIN_READ = b"SELECT seq, body FROM plain_log WHERE seq > %(seq)s ORDER BY seq LIMIT 2000"
_PLAIN_MOVE = b"UPDATE plain_cursor SET seq = %(seq)s"
#: One row each time an event had its effect. Nothing here is unique, so that a second effect shows.
_TALLY = b"CREATE TABLE IF NOT EXISTS bench_tally (position bigint NOT NULL)"
_TALLY_ADD = b"INSERT INTO bench_tally SELECT * FROM unnest(%(positions)b::bigint[])"
_TALLY_COUNT = b"SELECT count(*), count(DISTINCT position) FROM bench_tally"
_EMPTY = b"TRUNCATE event, event_inbox, event_consumer, stock_availability, dead_letter, event_identity"


class PlainLog:
    name = "plain log"

    def prepare(self, dsn: str) -> None:
        """Make the log empty."""
        with Store(dsn) as store, store.transaction() as work:
            for statement in _PLAIN_TABLES:
                work.execute(statement)

    def publisher(self, dsn: str) -> Publish:
        store = Store(dsn)
        whole = {"specversion": "1.0", "source": _SOURCE, "type": STOCK_CHANGED, "id": "x" * 20, "data": _data(0, 0.0)}
        pad = "p" * (EVENT_BYTES - len(json.dumps(whole)))
        frame = json.dumps({**whole, "pad": pad})[:-1].encode()

        def publish(_: int, dues: Sequence[float]) -> None:
            bodies = [frame + b',"due":%.6f}' % due for due in dues]
            # Copying row by row is half the cost of this log: the whole batch is written as one piece.
            rows = (b"\0\1" + len(body).to_bytes(4, "big") + body for body in bodies)
            with store.transaction() as work, work.cursor().copy(_PLAIN_COPY) as copy:
                copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff")

        return publish

    def consume(self, dsn: str, reader_no: int, readers: int, on_commit: OnCommit, stop: threading.Event) -> None:
        del reader_no, readers
        decode, seq = msgspec.json.Decoder().decode, 0
        with Store(dsn) as store:
            while not stop.is_set():
                with store.transaction() as work:
                    rows = work.cursor(binary=True).execute(_PLAIN_READ, {"seq": seq}, prepare=True).fetchall()
                    if rows:
                        seq = rows[-1][0]
                        work.execute(_PLAIN_MOVE, {"seq": seq}, prepare=True)
                    dues = [decode(body)["due"] for _, body in rows]
                if rows:
                    on_commit(len(rows), dues[::SAMPLED])
                else:
                    time.sleep(0.002)


class _Due(msgspec.Struct):
    due: float


class HubLog:
    """The event store as it is: horizon, lease, inbox, and the subscriber that keeps availability."""

    name = "crossdock"

    def __init__(self, *, tally: bool = False) -> None:
        self._tally = tally

    def prepare(self, dsn: str) -> None:
        with Store(dsn) as store, store.transaction() as work:
            work.execute(_TALLY)
            work.execute(_EMPTY)

    def publisher(self, dsn: str) -> Publish:
        store = Store(dsn)
        pad = "p" * (EVENT_BYTES - 330)
        now = datetime.now(UTC)

        def publish(first: int, dues: Sequence[float]) -> None:
            with store.transaction() as work:
                event_store.append(work, [_event(first + n, due, pad, now) for n, due in enumerate(dues)])

        return publish

    def consume(self, dsn: str, reader_no: int, readers: int, on_commit: OnCommit, stop: threading.Event) -> None:
        decode = msgspec.json.Decoder(_Due).decode
        applied = _Applied()

        def apply(work: Work, events: Sequence[Event]) -> None:
            inventory_subscribers.apply(work, events)
            if self._tally:
                work.execute(_TALLY_ADD, {"positions": [event.position for event in events]}, prepare=True)
            # A sync that runs at the same time publishes events, too.
            applied.events += [event for event in events if event.source == _SOURCE]

        def committed() -> None:
            if applied.events:
                on_commit(len(applied.events), [decode(event.data).due for event in applied.events[::SAMPLED]])
                applied.events = []

        deliver(
            lambda: _ObservedStore(dsn, committed),
            PartitionAssignment(reader_no, workers=readers, partitions=readers),
            lifetime=timedelta(hours=1),
            subscribers={"availability": Subscriber(types=(STOCK_CHANGED,), apply=apply)},
            stop=stop,
        )

    def effects(self, dsn: str) -> tuple[int, int]:
        """Count the effects, and the events that had at least one."""
        with Store(dsn) as store, store.transaction() as work:
            row = work.execute(_TALLY_COUNT).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)


#: Both can be emptied (`prepare`), written to (`publisher`), and read until *stop* is set (`consume`).
Log = PlainLog | HubLog


class _Applied(threading.local):
    """The events that a thread has applied since its last commit; the worker's other threads commit as well."""

    def __init__(self) -> None:
        self.events: list[Event] = []


class _ObservedStore(Store):
    """A store that reports each commit: only then does an event count as processed."""

    def __init__(self, dsn: str, committed: Callable[[], None], *, session: str = "") -> None:
        super().__init__(dsn, session=session)
        self._committed = committed

    def another(self, *, session: str = "") -> Store:
        return _ObservedStore(self.dsn, self._committed, session=session)

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
    quantity = {"quantity_on_stock": number % 997, "available_quantity": number % 997}
    return {"id": sku, "version": 1 + number // SKUS, "sku": sku, "supply_channel": "warehouse", **quantity, "due": due}
