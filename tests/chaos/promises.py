"""What must hold between a shop and its hub, whatever was killed: one function that names each promise that is broken."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from crossdock.db.database import Store
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.shop import query

Rows = list[tuple[Any, ...]]
#: Other entities may be in the same hub.
_OF_STOCK = "starts_with(subject, 'inventory/')"


def broken(shop: FakeRetailer, store: Store, *, overlap: timedelta = timedelta(0)) -> list[str]:
    """Every promise that does not hold now that all is quiet; *overlap* is how far the next delta reads back."""
    return [*_convergence(shop, store), *_at_rest(store), *broken_on_the_way(shop, store, overlap=overlap)]


def broken_on_the_way(shop: FakeRetailer, store: Store, *, overlap: timedelta = timedelta(0)) -> list[str]:
    """The promises that hold at every moment, also between a crash and the next run."""
    return [
        *_accounting(store),
        *_watermark(shop, store, overlap),
        *_events(store),
        *_history(store),
        *_quarantine(store),
        *_fencing(store),
    ]


def _violations(promise: str, rows: Rows) -> list[str]:
    return [f"{promise}: {len(rows)}, such as {rows[0]}"] if rows else []


def missing(shop: FakeRetailer, store: Store) -> dict[str, tuple[int, datetime]]:
    """Version and instant of each row of the shop that the hub neither has nor keeps in quarantine or open."""
    kept = set(query(store, "SELECT id, version FROM inventory"))
    kept |= set(query(store, "SELECT record_id, version FROM quarantine_item"))
    left_open = {record_id for (record_id,) in query(store, "SELECT record_id FROM deferred_record")}
    return {
        row.id: (row.version, datetime.fromisoformat(row.modified_at))
        for row in shop.state.collection("inventory").rows()
        if (row.id, row.version) not in kept and row.id not in left_open
    }


def _convergence(shop: FakeRetailer, store: Store) -> list[str]:
    rows: Rows = list(missing(shop, store).items())
    documents = {row.id: row.document for row in shop.state.collection("inventory").rows()}
    differing: Rows = [
        (record_id, quantity)
        for record_id, version, quantity in query(store, "SELECT id, version, quantity_on_stock FROM inventory")
        if documents[record_id]["version"] == version and documents[record_id]["quantityOnStock"] != quantity
    ]
    return _violations("convergence: rows of the shop that the hub has not", rows) + _violations(
        "convergence: rows of the hub with another quantity", differing
    )


def _accounting(store: Store) -> list[str]:
    unbalanced = query(
        store,
        "SELECT run_id, read, inserted, updated, unchanged, stale, rejected, held FROM sync_run"
        " WHERE read <> inserted + updated + unchanged + stale + rejected + held",
    )
    twice = query(
        store,
        "SELECT run_id, read, landed FROM sync_run JOIN (SELECT run_id, sum(records) AS landed FROM landed_page"
        " GROUP BY run_id) pages USING (run_id) WHERE read > landed OR (state IN ('done', 'partial') AND read < landed)",
    )
    return _violations("accounting: runs with a record that has no outcome, or two", unbalanced) + _violations(
        "accounting: runs that count what they did not land", twice
    )


def _watermark(shop: FakeRetailer, store: Store, overlap: timedelta) -> list[str]:
    (reached,) = query(store, "SELECT max(reached) FROM watermark WHERE dataset = 'inventory'")[0]
    if reached is None:
        return []
    passed = [(record_id, *row) for record_id, row in missing(shop, store).items() if row[1] < reached - overlap]
    return _violations(f"watermark: {reached} has passed rows that are still open", passed)


def _events(store: Store) -> list[str]:
    doubled = query(
        store,
        f"SELECT subject, data->>'version', count(*) FROM event WHERE {_OF_STOCK} GROUP BY 1, 2 HAVING count(*) > 1",
    )
    written = set(query(store, "SELECT id, version FROM inventory"))
    written |= set(query(store, "SELECT id, version FROM inventory_history"))
    published = set(query(store, f"SELECT data->>'id', (data->>'version')::bigint FROM event WHERE {_OF_STOCK}"))
    backwards = query(
        store,
        "SELECT * FROM (SELECT subject, (data->>'version')::bigint AS version, lag((data->>'version')::bigint)"
        f" OVER (PARTITION BY subject ORDER BY epoch, xid, position) AS before FROM event WHERE {_OF_STOCK}) e"
        " WHERE before > version",
    )
    return [
        *_violations("events: changes published twice", doubled),
        *_violations("events: changes without an event, or events without a change", list(written ^ published)),
        *_violations("events: versions of a key that go back", backwards),
    ]


def _history(store: Store) -> list[str]:
    wrong = query(
        store,
        "SELECT h.id, h.version, t.version FROM inventory_history h LEFT JOIN inventory t USING (integration, id)"
        " WHERE t.version IS NULL OR h.version >= t.version",
    )
    return _violations("history: versions that nothing newer has replaced", wrong)


def _quarantine(store: Store) -> list[str]:
    more = query(
        store,
        "SELECT record_id, version, times_seen FROM quarantine_item"
        " WHERE times_seen > (SELECT count(*) FROM sync_run WHERE read > 0)",
    )
    both = query(
        store,
        "SELECT id, t.version FROM inventory t JOIN quarantine_item q ON q.record_id = t.id"
        " WHERE q.state = 'open' AND q.version <= t.version",
    )
    return _violations("quarantine: items seen more often than there were runs", more) + _violations(
        "quarantine: open items of what the hub has", both
    )


def _fencing(store: Store) -> list[str]:
    """By the last commit of each run: a run that was overtaken and takes the lease again has a new token."""
    commits = query(
        store,
        "SELECT dataset || '/' || shard, fencing_token, run_id, max(loaded_at) FROM sync_run JOIN sync_batch USING (run_id)"
        " WHERE loaded_at IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 4",
    )
    wrong = [
        later
        for earlier, later in pairwise(commits)
        if earlier[0] == later[0] and (earlier[1] == later[1] or earlier[3] > later[3])
    ]
    return _violations("fencing: commits under an older token, or two runs under one", wrong)


def _at_rest(store: Store) -> list[str]:
    # The sender of alerts holds its own for as long as it runs.
    held = query(
        store,
        "SELECT dataset, shard, holder FROM lease WHERE expires_at > clock_timestamp()"
        " AND (integration, dataset) <> ('hub', 'alerts')",
    )
    at_work = query(store, "SELECT run_id FROM sync_run WHERE state = 'running' AND finished_at IS NULL")
    stages = query(
        store,
        "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
        " AND relnamespace <> pg_my_temp_schema()",
    )
    sessions = query(
        store,
        "SELECT pid, state, left(query, 60) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND starts_with(state, 'idle in transaction')",
    )
    return [
        *_violations("at rest: leases that are held", held),
        *_violations("at rest: runs that have no end", at_work),
        *_violations("at rest: temporary tables of nobody", stages),
        *_violations("at rest: transactions that nobody ends", sessions),
    ]
