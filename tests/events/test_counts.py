"""What the status and a replay count does not grow with the store, and is what a look at every event would give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from crossdock.db.database import Store, Work
from crossdock.events import counts_repository
from crossdock.events import store as event_store
from crossdock.events.delivery import consumer_leases
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.status import delivery_status
from crossdock.events.store import Selection
from tests.events.worlds import SUBSCRIBERS
from tests.shop import query

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
#: Three types, every 40 s of the last three hours; one in seven is silent.
GENERATED = """
INSERT INTO event (source, type, subject, time, partition_key, data, silent, stored_at)
SELECT '/generated', CASE n %% 3 WHEN 0 THEN 'crossdock.stock.changed' ELSE 'type.' || n %% 3 END, 's', clock_timestamp(),
       'key-' || n %% {keys}, '{{}}', n %% 7 = 0, %(since)s::timestamptz + %(step)s::interval * n
  FROM generate_series({first}, {last}) AS n
"""


def generate(
    store: Store,
    number: int,
    *,
    first: int = 1,
    step: timedelta = timedelta(seconds=40),
    keys: int = 1_000,
    hours: float = 2.5,
) -> None:
    text = GENERATED.format(keys=keys, first=first, last=first + number - 1)
    with store.transaction() as work:
        work.execute(text.encode(), {"since": HOUR - hours * timedelta(hours=1), "step": step})


def count_all(store: Store) -> int:
    total, number = 0, 1
    while number:
        with store.transaction() as work:
            number = counts_repository.count_next(work, limit=150)
        total += number
    return total


class TestCounts:
    def test_each_event_is_counted_once_however_often_it_is_asked(self, store: Store) -> None:
        generate(store, 200)
        counted = count_all(store)
        generate(store, 70, first=201)

        assert (counted, count_all(store), count_all(store)) == (200, 70, 0)
        assert query(store, "SELECT sum(events) FROM event_hour") == [(270,)]

    def test_an_event_of_an_open_transaction_is_counted_after_its_commit(self, store: Store, hub_dsn: str) -> None:
        """Its number is lower than that of one that is there already: a count by number would leave it out for ever."""
        with Store(hub_dsn) as other, other.transaction() as work:
            work.execute(GENERATED.format(keys=1, first=1, last=1).encode(), {"since": HOUR, "step": timedelta(0)})
            generate(store, 5, first=2)
            before = count_all(store)
        assert (before, count_all(store)) == (0, 6)

    def test_a_replay_counts_by_the_hour_what_a_look_at_every_event_gives(self, store: Store) -> None:
        generate(store, 250)
        count_all(store)
        generate(store, 20, first=251)
        places = [None, HOUR - timedelta(hours=2), HOUR - timedelta(minutes=95), HOUR - timedelta(minutes=61), HOUR]
        with store.transaction() as work:
            for since, until, types, silent in product(
                places, places, [(), (STOCK_CHANGED,), ("type.1", "type.2")], [False, True]
            ):
                chosen = Selection(types=types, since=since, until=until, silent=silent)
                assert event_store.count(work, chosen) == len(event_store.select(work, chosen, limit=10_000)), chosen

    def test_the_volumes_of_the_status_are_those_of_every_event(self, store: Store) -> None:
        generate(store, 100)
        count_all(store)
        generate(store, 50, first=101)

        with store.transaction() as work:
            hours = counts_repository.hourly(work, timedelta(hours=6))

        assert {len(of_type) for of_type in hours.values()} == {7}
        assert sum(map(sum, hours.values())) == 150

    def test_a_lag_of_many_events_is_an_upper_bound_by_whole_hours(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(consumer_leases, "_LOOKED_AT", 50)
        generate(store, 200)
        count_all(store)

        with store.transaction() as work:
            waiting, oldest_s = consumer_leases.lags(work, {"never_started": (STOCK_CHANGED,)})["never_started"]
        (real,) = query(store, f"SELECT count(*) FROM event WHERE type = '{STOCK_CHANGED}' AND NOT silent")[0]

        assert waiting >= real > 0
        assert oldest_s > 0


class TestPlans:
    """On a store large enough that the planner chooses: a sequential scan of it would be the cheaper plan without an index."""

    def test_no_statement_of_status_or_replay_reads_the_whole_store(self, store: Store) -> None:
        generate(store, 60_000, step=timedelta(milliseconds=500), hours=8)
        with store.transaction() as work:
            while counts_repository.count_next(work, limit=50_000):
                pass
        query(
            store,
            "SELECT brin_summarize_new_values(pg_class.oid) FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE amname = 'brin' AND relname ~ '^event' AND relkind = 'i'",
        )
        analyse(store)
        recent = datetime.now(UTC) - timedelta(hours=1)
        with plans() as seen:
            delivery_status(store, SUBSCRIBERS, timedelta(days=1))
            with store.transaction() as work:
                for selection in (
                    Selection(),
                    Selection(types=(STOCK_CHANGED,)),
                    Selection(since=recent),
                    Selection(since=recent, until=recent + timedelta(minutes=20)),
                ):
                    event_store.count(work, selection)
            with store.transaction() as work:
                event_store.count(work, Selection(key="key-17"))

        wrong = [plan for plan in seen if "Seq Scan on event_first" in plan or "Seq Scan on event_2" in plan]
        assert "Bitmap Heap Scan on event_first" in seen[-1]
        assert not wrong, wrong[0]


def analyse(store: Store) -> None:
    with store.transaction() as work:
        work.execute(b"ANALYZE event")


@contextmanager
def plans() -> Iterator[list[str]]:
    """Explain every statement on `event` that runs in the block, in its own transaction and with its own settings."""
    found: list[str] = []
    original = Work.execute

    def execute(work: Any, statement: Any, values: Any = None, **options: Any) -> Any:
        text = statement if isinstance(statement, bytes) else b""
        if b"FROM event" in text and text.lstrip().startswith((b"SELECT", b"WITH")) and b"event_consumer" not in text:
            rows = original(work, b"EXPLAIN (FORMAT JSON) " + text, values).fetchall()
            found.append(json.dumps(rows[0][0]) + " " + "\n".join(_scans(rows[0][0][0]["Plan"])))
        return original(work, statement, values, **options)

    Work.execute = execute  # type: ignore[method-assign]  # the connection of every test store is of this class
    try:
        yield found
    finally:
        Work.execute = original  # type: ignore[method-assign]  # as before


def _scans(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield f"{plan['Node Type']} on {plan['Relation Name']}"
    for part in plan.get("Plans", ()):
        yield from _scans(part)
