"""Plans over filled tables: queries of each batch, webhook or run use an index, never a full scan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.commerce.inventory.schema import StockLevel
from crossdock.db import leases
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.store import Selection
from crossdock.maintenance import retention_repository
from crossdock.sync import run_rows_repository
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.run_rows_repository import Outcome, Place
from tests.shop import query

NOW = datetime.now(UTC)


@pytest.fixture
def filled(store: Store) -> Iterator[Work]:
    """20,000 open items and 20,000 finished runs, analysed as autovacuum would."""
    query(
        store,
        "INSERT INTO quarantine_item (integration, dataset, record_id, version, cause, failures, raw, first_run_id,"
        " last_run_id) SELECT 'commercetools', 'inventory', md5(n::text), 1, 'c', '[]', convert_to(repeat('x', 300), 'UTF8'),"
        " 'old' || n %% 100, 'old' || n %% 100 FROM generate_series(1, 20000) n RETURNING 1",
    )
    query(
        store,
        "INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, state, fencing_token,"
        " moves_watermark, started_at, finished_at) SELECT 'r' || n, 'commercetools', 'inventory', 'webhook:3', 'keys',"
        " '{}', 'done', n, false, now() - n * interval '1 h', now() - n * interval '1 h' FROM generate_series(1, 20000) n"
        " RETURNING 1",
    )
    with store.question() as work:
        work.execute(b"ANALYZE")
        yield work


def scans(work: Work, statement: bytes, values: dict[str, Any]) -> str:
    with work.transaction(force_rollback=True):
        return "\n".join(line for (line,) in work.execute(b"EXPLAIN " + statement, values))


def test_the_check_for_quarantined_ids_uses_an_index(filled: Work) -> None:
    """Each webhook runs it for its one id: with another collation it read 300,000 items in 57 ms."""
    values = {"integration": "commercetools", "dataset": "inventory", "first": "zz0", "last": "zz9"}

    assert "Seq Scan" not in scans(filled, quarantine_repository._ANY_OPEN, values)


def test_the_runs_that_a_lease_overtakes_are_looked_up(filled: Work) -> None:
    """Each webhook takes one of 16 leases, and each of those has had thousands of runs."""
    values = {
        "integration": "commercetools",
        "dataset": "inventory",
        "shard": "webhook:3",
        "run_id": "r",
        "error": "e",
    }

    assert "sync_run_at_work" in scans(filled, leases._END_OVERTAKEN, values)


def test_the_check_for_open_items_of_a_run_uses_an_index(filled: Work) -> None:
    """For a thousand runs at a time; as a join, the items were read through for each of them, for minutes."""
    values = {
        "before": NOW,
        "fetched_before": NOW,
        "seen_at": datetime(1, 1, 1, tzinfo=UTC),
        "seen_id": "",
        "limit": 1_000,
    }

    plan = scans(filled, retention_repository._DELETE_RUNS, values)

    assert "Seq Scan on quarantine_item" not in plan
    assert "sync_run_ended" in plan


@pytest.fixture
def loaded(store: Store) -> Iterator[Work]:
    """50,000 stock levels of a first sync of 50 batches, then 500 deltas that each updated 100 of them here and there."""
    columns = "integration, id, version, sku, quantity_on_stock, available_quantity, created_at, last_modified_at"
    values = "'commercetools', md5(n::text), {version}, 'sku' || n, 1, 1, now(), now()"
    of = "FROM generate_series(0, 49999) n RETURNING 1"
    first = values.format(version=1)
    query(
        store,
        f"INSERT INTO inventory ({columns}, batch_id, inserted_by) SELECT {first}, n / 1000 + 1, n / 1000 + 1 {of}",
    )
    # Scattered: 7919 has no common factor with 50,000, so that each row is updated once, in an order that is not its place.
    batch = "(n::bigint * 7919 %% 50000) / 100 + 51"
    query(
        store,
        f"INSERT INTO inventory_history ({columns}, batch_id, superseded_by) SELECT {first}, n / 1000 + 1, {batch}"
        " FROM generate_series(0, 49999) n ORDER BY 10 RETURNING 1",
    )
    query(store, f"UPDATE inventory SET version = 2, batch_id = {batch.replace('n::', 'substr(sku, 4)::')} RETURNING 1")
    query(
        store,
        f"INSERT INTO inventory ({columns}, batch_id, inserted_by) SELECT {values.format(version=1)}, 99, 99"
        " FROM generate_series(50000, 50009) n RETURNING 1",
    )
    query(
        store,
        "INSERT INTO event (source, type, subject, time, partition_key, correlation_id, stored_at, data)"
        " SELECT '/integrations/commercetools', 'crossdock.stock.changed', 's', now(), 'key-' || n %% 5000, 'run-' || n / 1000,"
        f" now() - (50000 - n) * interval '1 s', '{{}}' {of}",
    )
    with store.question() as work:
        work.execute(b"ANALYZE")
        yield work


def rows_read(work: Work, batches: list[int], outcome: Outcome | None, after: Place | None) -> tuple[int, int, str]:
    """Answer a page of rows, and return how many there are, how many rows of tables were read for it, and the plan."""
    after_id, after_version, after_outcome = after or (None, None, None)
    values = {"integration": "commercetools", "run_id": "run-7", "batches": batches, "outcome": outcome, "limit": 50}
    place = {"after_id": after_id, "after_version": after_version, "after_outcome": after_outcome}
    statement = run_rows_repository._statement(StockLevel.schema, outcome, is_first=after is None)
    explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement
    ((document,),) = work.execute(explain, values | place, prepare=False).fetchall()
    read, waiting = 0, [document[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        if "Scan" in node["Node Type"] and node["Node Type"] != "Subquery Scan":
            read += round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    return document[0]["Plan"]["Actual Rows"], read, str(document)


@pytest.mark.parametrize("outcome", [None, Outcome.INSERTED, Outcome.UPDATED])
def test_the_rows_of_a_delta_are_found_after_weeks_of_updates(loaded: Work, outcome: Outcome | None) -> None:
    """A delta of 110 records is asked for in a table of millions, of which each page has rows of all batches."""
    expected = 10 if outcome is Outcome.INSERTED else 50

    found, read, plan = rows_read(loaded, [99], outcome, None)

    assert found == expected
    assert read < 2_000, plan


@pytest.mark.parametrize("outcome", [None, Outcome.INSERTED])
@pytest.mark.parametrize("after", [None, ("8", 1, "inserted")])
def test_a_page_of_a_full_sync_reads_a_page(loaded: Work, outcome: Outcome | None, after: Place | None) -> None:
    """A first sync of a million rows has twenty thousand pages: each read the whole run."""
    found, read, plan = rows_read(loaded, list(range(1, 51)), outcome, after)

    assert found == 50
    assert read < 2_000, plan


def test_a_page_of_a_sync_that_updated_all_reads_a_page(loaded: Work) -> None:
    found, read, plan = rows_read(loaded, list(range(51, 551)), Outcome.UPDATED, ("8", 2, "updated"))

    assert found == 50
    assert read < 2_000, plan


def test_the_events_of_a_key_are_counted_by_its_index(loaded: Work) -> None:
    """By the place in the order, the planner would read the whole store: 1.6 s with five million events."""
    with loaded.transaction(force_rollback=True):
        loaded.execute(event_store._BY_KEY)
        values = event_store._values(loaded, Selection(key="key-17"), 0)
        plan = scans(loaded, event_store._COUNT_OF_KEY, values)

    assert "partition_key" in plan.partition("Bitmap Index Scan on")[2].splitlines()[0]
    assert "Seq Scan" not in plan
    assert "pkey" not in plan


def test_the_events_of_a_run_are_found_by_its_time(loaded: Work) -> None:
    """They have no index by run: each event would pay for it, and hardly anybody asks."""
    selection = Selection(
        correlation_id="run-7",
        silent=True,
        since=NOW - timedelta(seconds=43_000),
        until=NOW - timedelta(seconds=42_000),
    )
    with loaded.transaction(force_rollback=True):
        loaded.execute(event_store._BY_KEY)
        values = event_store._values(loaded, selection, 50)
        plans = [
            scans(loaded, statement, values) for statement in (event_store._SELECT_OF_RUN, event_store._NEWEST_OF_RUN)
        ]

    for plan in plans:
        assert "stored_at" in plan.partition("Bitmap Index Scan on")[2].splitlines()[0]
        assert "Seq Scan" not in plan
