"""Faults of the hub's database in the middle of a transaction: it is done again as a whole, once, and nothing is to blame for it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from crossdock.core.errors import Transient
from crossdock.db.database import Store, Work
from crossdock.events.delivery import PartitionAssignment
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.subscriber import Subscriber
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.model import SyncRequest
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import in_hub, in_shop, query
from tests.streams import INVENTORY

ALL = PartitionAssignment(partitions=1)
#: What the server itself does to a transaction, by its own hand.
FAULTS = {
    "connection killed": "PERFORM pg_terminate_backend(pg_backend_pid());",
    "deadlock": "RAISE deadlock_detected;",
    "serialization failure": "RAISE serialization_failure;",
    "disk full": "RAISE disk_full;",
    "out of memory": "RAISE out_of_memory;",
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, store: Store) -> str:
    """A function that does the fault twice, and then never again: a sequence is not rolled back."""
    with store.transaction() as work:
        work.execute("CREATE SEQUENCE faults")
        work.execute(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('faults') <= 2 THEN {FAULTS[request.param]} END IF; RETURN NULL; END $$"
        )
    return str(request.param)


@pytest.mark.usefixtures("fault")
def test_a_delivery_whose_transaction_fails_has_one_effect_and_no_dead_letter(store: Store, hub_dsn: str) -> None:
    with store.transaction() as work:
        work.execute("CREATE TABLE effect (key text)")
        work.execute("CREATE TRIGGER fails AFTER INSERT ON effect EXECUTE FUNCTION fault()")

    def apply(work: Work, events: Sequence[Event]) -> None:
        work.cursor().executemany("INSERT INTO effect VALUES (%s)", [[event.partition_key] for event in events])

    publish(store, *(stock(f"S{n}", 1, n) for n in range(20)))
    with delivery(hub_dsn, {"diary": Subscriber(types=(STOCK_CHANGED,), apply=apply, attempts=1)}, assignment=ALL):
        eventually(lambda: query(store, "SELECT count(*), count(DISTINCT key) FROM effect"), [(20, 20)])

    assert query(store, "SELECT last_value > 2 FROM faults") == [(True,)]
    assert query(store, "SELECT count(*) FROM dead_letter") == [(0,)]


@pytest.mark.usefixtures("fault")
def test_a_load_whose_transaction_fails_is_done_again_and_changes_each_row_once(
    shop: FakeRetailer, systems: Systems
) -> None:
    """The error is transient, so Airflow tries the task again."""
    with systems.store.transaction() as work:
        work.execute("CREATE TRIGGER fails AFTER INSERT ON inventory EXECUTE FUNCTION fault()")
    run_id = validate(INVENTORY, systems, extract(INVENTORY, systems, SyncRequest()))
    failures = 0
    while failures < 4:
        try:
            load(INVENTORY, systems, run_id)
        except Transient:
            failures += 1
        else:
            break

    assert 1 <= failures <= 2
    assert in_hub(systems.store) == in_shop(shop)
    assert query(systems.store, "SELECT count(*), count(DISTINCT subject) FROM event") == [(1_200, 1_200)]
    assert query(systems.store, "SELECT inserted, read FROM sync_run") == [(1_200, 1_200)]


def test_idle_connections_that_are_killed_cost_nothing(store: Store, hub_dsn: str) -> None:
    delivered: list[str] = []

    def apply(_: Work, events: Sequence[Event]) -> None:
        delivered.extend(event.partition_key for event in events)

    with delivery(hub_dsn, {"diary": Subscriber(types=(STOCK_CHANGED,), apply=apply, attempts=1)}, assignment=ALL):
        for number in range(3):
            publish(store, stock(f"S{number}", 1, 1))
            eventually(lambda number=number: f"S{number}" in delivered)
            with psycopg.connect(hub_dsn, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid NOT IN (pg_backend_pid(), %s)",
                    [query(store, "SELECT pg_backend_pid()")[0][0]],
                )

    assert query(store, "SELECT count(*) FROM event_inbox") == [(3,)]
    assert query(store, "SELECT count(*) FROM dead_letter") == [(0,)]
