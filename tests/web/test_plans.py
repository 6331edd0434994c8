"""What a page reads of a hub that has grown: never a whole table of runs, records, events or audit entries."""

from __future__ import annotations

import pytest

from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.bench.pages.fill import Size, fill, ids
from crossdock.bench.pages.visit import PAGES, filled
from crossdock.db.database import Store
from crossdock.events.delivery import consumer_leases
from tests.shop import query
from tests.web.conftest import Visitor

#: Large enough that the planner would have a reason to read an index.
SIZE = Size(quarantine=20_000, events=20_000, runs=5_000)
#: Of one table for one page: what a page shows, and what is counted of a day.
MOST_ROWS = 1_500
#: What grows with a hub. A sequential scan of one of them takes longer each day.
GROWN = ("quarantine_item", "rejection", "sync_run", "event%", "audit_entry", "alert")
#: Read whole by intent: at most a few rows, whatever the hub's size.
SMALL = (
    "event_consumer",
    "event_epoch",
    "event_counted",
    "event_dropped",
    "event_replay",
    "event_hour",
    "event_source_outage",
)


@pytest.fixture
def grown(hub_store: Store) -> Store:
    fill(hub_store, SIZE, lambda _: None)
    # A subscriber that was never started has all of them before it: so many are looked at, and no more.
    with hub_store.transaction() as work:
        for name in subscribers(services()):
            consumer_leases.register(work, name, 2)
        work.execute(
            "UPDATE event_consumer SET (epoch, xid, position) = (SELECT epoch, xid, position FROM event"
            " ORDER BY epoch DESC, xid DESC, position DESC LIMIT 1)"
        )
    return hub_store


def rows_read(store: Store) -> dict[str, int]:
    """How many rows were read of each table so far. Each request's connection ends, and reports, with it."""
    found = query(
        store,
        "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname LIKE ANY(%s) AND NOT relname = ANY(%s)",
        list(GROWN),
        list(SMALL),
    )
    return {str(table): int(rows or 0) for table, rows in found}


def test_no_page_reads_a_table_from_its_beginning_to_its_end(grown: Store, vera: Visitor) -> None:
    of = ids(grown)
    for page in PAGES:  # What a process reads once is not the page's.
        vera.get(filled(page, of))
    # What the test itself read is counted now, and not within a second, as that of the first page.
    query(grown, "SELECT pg_stat_force_next_flush()")
    found = {}
    for page in PAGES:
        before = rows_read(grown)
        vera.get(filled(page, of))
        assert vera.status in {200, 404}, page
        after = rows_read(grown)
        if read := {table: after[table] - before[table] for table in after if after[table] - before[table] > MOST_ROWS}:
            found[page] = read

    assert not found, found
