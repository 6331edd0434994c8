"""What the status of the delivery and the count before a replay cost on a store of a given size."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median

import msgspec

from crossdock.app.database import migrate
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.bench.report import Goal, Say, Setup, Table, goals_table, markdown, setup
from crossdock.bench.server import database_server
from crossdock.bench.sync.database import server_version
from crossdock.db.database import Store
from crossdock.events import counts_repository
from crossdock.events import store as event_store
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.status import delivery_status
from crossdock.events.store import Selection
from crossdock.stack.postgres import HUB_OPTIONS

_MONTH = timedelta(days=30)
_CHUNK = 500_000
_ROUNDS = 5
_KEYS = 50_000
_LIMIT_MS = 300.0

#: Evenly over the last month, four in five of the stock, as a shop's are; each with some hundred bytes.
_GENERATE = b"""
INSERT INTO event (source, type, subject, time, partition_key, data, stored_at)
SELECT '/bench', CASE WHEN mod(n, 5) = 0 THEN 'crossdock.webhook.received' ELSE %(type)s::text END, 'inventory/' || n,
       clock_timestamp(), 'key-' || mod(n, %(keys)s::bigint), ('{"filler": "' || repeat('x', 150) || '"}')::json,
       clock_timestamp() - %(month)s::interval * (1 - n::float8 / %(events)s::float8)
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""

_SUMMARISE = b"""
SELECT brin_summarize_new_values(pg_class.oid) FROM pg_class JOIN pg_am ON pg_am.oid = relam
 WHERE amname = 'brin' AND relkind = 'i' AND relname ~ '^event'
"""


class AtSize(msgspec.Struct, frozen=True, kw_only=True):
    """What each question took, in milliseconds, on a store of so many events."""

    setup: Setup
    events: int
    took_ms: dict[str, list[float]]

    @property
    def goals(self) -> list[Goal]:
        return [
            Goal(what=f"{what}, {self.events:,} events: median", figure=median(found), limit=_LIMIT_MS, unit=" ms")
            for what, found in self.took_ms.items()
        ]

    @property
    def tables(self) -> list[Table]:
        return [goals_table(self.goals)]

    @property
    def page(self) -> str:
        made = self.setup
        intro = f"Measured {made.measured_at} on {made.machine}; PostgreSQL {made.postgres}. Made by:"
        return markdown("Questions to a large event store", [intro], made.command, self.tables)


def run(events: int, command: str, say: Say) -> AtSize:
    """Generate *events* over a month, with all consumers at their end, and ask each question several times."""
    with database_server(HUB_OPTIONS) as server:
        migrate(server.dsn)
        with Store(server.dsn) as store:
            _generate(store, events, say)
            took = {what: [_ms(ask) for _ in range(_ROUNDS)] for what, ask in _questions(store).items()}
        return AtSize(setup=setup(command, server_version(server.dsn)), events=events, took_ms=took)


def _generate(store: Store, events: int, say: Say) -> None:
    values = {"type": STOCK_CHANGED, "keys": _KEYS, "month": _MONTH, "events": events}
    for first in range(1, events + 1, _CHUNK):
        last = min(first + _CHUNK - 1, events)
        with store.transaction() as work:
            work.execute(_GENERATE, {**values, "first": first, "last": last})
        say(f"{last:,} of {events:,} events generated")
    number = 1
    while number:
        with store.transaction() as work:
            number = counts_repository.count_next(work, limit=200_000)
    with store.transaction() as work:
        work.execute(_SUMMARISE)
        work.execute(b"ANALYZE event")
    say("All events are counted")


def _questions(store: Store) -> dict[str, Callable[[], object]]:
    known = subscribers(services())
    since = datetime.now(UTC) - timedelta(days=9, minutes=17)

    def count(**chosen: object) -> Callable[[], object]:
        def ask() -> int:
            with store.transaction() as work:
                return event_store.count(work, Selection(**chosen))  # type: ignore[arg-type]  # as named below

        return ask

    return {
        "status of the delivery": lambda: delivery_status(store, known, timedelta(days=1)),
        "replay of everything: count": count(),
        "replay of one type since nine days: count": count(types=(STOCK_CHANGED,), since=since),
        "replay of one key: count": count(key="key-17"),
    }


def _ms(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000
