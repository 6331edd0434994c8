"""Upgrades from the first release and from the newest database with the old names: nothing is lost, work continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg.rows import dict_row

from crossdock.app.database import migrate
from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.db.leases import LeaseKey
from crossdock.db.migrate import _config, is_current
from crossdock.events.replay import repository as replay_repository
from crossdock.stack.postgres import PostgresServer
from crossdock.sync import deferred_records, ledger, watermarks
from crossdock.sync.model import SyncRequest
from crossdock.sync.quarantine import repository as quarantine_repository
from tests.shop import query

#: A hub at revision 0001 with at least one row in each of its tables. Written as it was then: no function of ours,
#: which would write what it writes today.
_AS_IT_WAS = (
    """
    INSERT INTO lease VALUES ('commercetools', 'inventory', 'all', 'run-1', 7, '2026-01-01T00:10:00Z')
    """,
    """
    INSERT INTO watermark VALUES
        ('commercetools', 'inventory', 'all', '2026-01-01T00:00:00Z', 'run-1', '2026-01-01T00:00:01Z')
    """,
    """
    INSERT INTO sync_run (run_id, integration, entity, partition, mode, request, dag_run_id, attempt, state,
                          fencing_token, window_low, window_high, moves_watermark, expected_records,
                          read, inserted, updated, rejected, error, started_at, finished_at)
    VALUES ('run-1', 'commercetools', 'inventory', 'all', 'full', '{"full": true}', 'manual__1', 1, 'partial',
            7, NULL, '2026-01-01T00:00:00Z', true, 3, 3, 1, 1, 1, NULL, '2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z'),
           ('run-2', 'commercetools', 'inventory', 'all', 'delta', '{}', 'manual__2', 1, 'failed',
            8, '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', true, 9, 5, 0, 0, 0, 'HTTP 503',
            '2026-01-02T00:00:00Z', '2026-01-02T00:00:01Z')
    """,
    """
    INSERT INTO sync_range VALUES ('run-1', 0, 'time', '2026-01-01', '2026-01-02', 'lastModifiedAt', NULL, true)
    """,
    """
    INSERT INTO landed_page VALUES
        ('run-1', 0, 0, 3, 4711, 'run-1/0/0.zst', '2026-01-01T00:00:00Z', 'id-3', true, '2026-01-01T00:00:00Z')
    """,
    """
    INSERT INTO sync_batch (run_id, batch_no, first_range, first_page, last_range, last_page, records, loaded_at)
    VALUES ('run-1', 0, 0, 0, 0, 0, 3, '2026-01-01T00:00:01Z')
    """,
    """
    INSERT INTO inventory VALUES
        ('commercetools', 'id-1', 2, 'CHAIR-RED', 'store-1', 5, 4, 3, '2026-02-01T00:00:00Z',
         '2025-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 1)
    """,
    """
    INSERT INTO inventory_history VALUES
        ('commercetools', 'id-1', 1, 'CHAIR-RED', 'store-1', 9, 9, NULL, NULL,
         '2025-01-01T00:00:00Z', '2025-06-01T00:00:00Z', 1, 1)
    """,
    """
    INSERT INTO event (event_id, source, type, subject, time, partition_key, data)
    VALUES ('event-1', 'commercetools', 'StockChanged', 'id-1', '2026-01-01T00:00:00Z', 'CHAIR-RED', '{"was": 9}')
    """,
    """
    INSERT INTO quarantine_item (integration, entity, record_id, record_key, version, cause, failures, raw,
                                 first_run_id, last_run_id)
    VALUES ('commercetools', 'inventory', 'id-2', 'RUG', 1, 'stock_is_not_negative', '[]', '\\x7b00ff', 'run-1', 'run-1')
    """,
    """
    INSERT INTO open_record (integration, entity, record_id, reason, first_run_id)
    VALUES ('commercetools', 'inventory', 'id-3', 'lock timeout', 'run-1')
    """,
    """
    INSERT INTO audit_entry (actor, act, subject, detail) VALUES ('ada', 'discard', 'item 1', '{"reason": "test"}')
    """,
    """
    INSERT INTO alert (kind, subject, message) VALUES ('run_late', 'manual__1', 'late')
    """,
)


#: What revision 0015 has besides, with the old names: a row in each table that came after 0001, a shard's run that is at
#: work under its lease, a replay, an edited record and an edited event.
_WITH_OLD_NAMES = (
    """
    INSERT INTO sync_run (run_id, integration, entity, partition, mode, request, dag_id, dag_run_id, attempt, state,
                          fencing_token, window_low, window_high, moves_watermark, read, held)
    VALUES ('run-3', 'commercetools', 'inventory', 'part:1/2', 'full',
            '{"full": true, "part": "1/2", "accept_shrunken": true, "tell": false, "keys": [], "since": null}',
            'sync_inventory', 'scheduled__3', 1, 'running', 4, NULL, '2026-03-01T00:00:00Z', true, 0, 0),
           ('run-4', 'commercetools', 'inventory', 'backfill:2026-01-05', 'window',
            '{"backfill_day": "2026-01-05", "tell": true, "since": "2026-01-05T00:00:00Z", "until": "2026-01-06T00:00:00Z"}',
            'backfill_inventory', 'backfill__4', 1, 'failed', 1, '2026-01-05T00:00:00Z', '2026-01-06T00:00:00Z', false, 0, 0)
    """,
    "INSERT INTO lease VALUES ('commercetools', 'inventory', 'part:1/2', 'run-3', 4, '2099-01-01T00:00:00Z')",
    """
    INSERT INTO watermark VALUES
        ('commercetools', 'inventory', 'part:1/2', '2026-02-01T00:00:00Z', 'run-0', '2026-02-01T00:00:01Z')
    """,
    """
    INSERT INTO alert (kind, subject, message) VALUES
        ('run_failed', 'inventory from commercetools (part:1/2)', 'Run run-0 failed'),
        ('run_held', 'wms from wms (all)', 'Run run-9 is on hold')
    """,
    # Streams of each kind: of the shop, and declared ones, whose records had the name of their integration.
    """
    INSERT INTO watermark VALUES
        ('commercetools', 'product', 'all', '2026-02-02T00:00:00Z', 'run-5', '2026-02-02T00:00:01Z'),
        ('commercetools', 'order', 'all', '2026-02-03T00:00:00Z', 'run-6', '2026-02-03T00:00:01Z'),
        ('wms', 'wms', 'all', '2026-02-04T00:00:00Z', 'run-7', '2026-02-04T00:00:01Z'),
        ('lager', 'lager', 'all', '2026-02-05T00:00:00Z', 'run-8', '2026-02-05T00:00:01Z')
    """,
    """
    INSERT INTO inventory (integration, id, version, sku, quantity_on_stock, available_quantity, created_at,
                           last_modified_at, batch_id)
    VALUES ('lager', 'id-9', 1, 'RUG', 1, 1, '2025-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 1)
    """,
    "UPDATE quarantine_item SET mended = convert_to('{\"id\": \"id-2\"}', 'UTF8')",
    "INSERT INTO rate_limit (integration, next_turn_at, calls, per_s) VALUES ('commercetools', '2026-01-01T00:00:00Z', 10, 1)",
    """INSERT INTO breaker (integration, state) VALUES ('commercetools', '{}')""",
    """
    INSERT INTO breaker_change (integration, from_phase, to_phase, calls, failures)
    VALUES ('commercetools', 'closed', 'open', 9, 8)
    """,
    "INSERT INTO call_count (integration, minute, durations) VALUES ('commercetools', '2026-01-01T00:00:00Z', '{1,2}')",
    "INSERT INTO shared_token (name, ciphertext) VALUES ('commercetools', '\\x00')",
    """
    INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by)
    VALUES ('acme', 'commercetools', 'Acme', '{}', 'hub_acme', 'ada', 'ada')
    """,
    "INSERT INTO removed_integration (integration_id) VALUES ('gone')",
    "INSERT INTO refused_webhook (integration, hour, why, times, bytes) VALUES ('acme', '2026-01-01T00:00:00Z', 'signature', 3, 9)",
    "INSERT INTO event_epoch (epoch, server, database) SELECT 7, 1, 1 WHERE NOT EXISTS (SELECT FROM event_epoch)",
    """
    INSERT INTO event_identity (event_id, source) VALUES ('evt-1', '/integrations/acme') ON CONFLICT DO NOTHING
    """,
    "INSERT INTO event_inbox (subscriber, xid, position, epoch) VALUES ('availability', 1, 1, 1)",
    """
    INSERT INTO event_outage (subscriber, source, cause, reason, next_probe_at)
    VALUES ('changed_record', '/integrations/acme', 'SystemUnavailable', 'HTTP 503', '2026-01-01T00:00:00Z')
    """,
    # Psycopg cannot read the defaults of these columns, '-infinity'.
    """
    INSERT INTO event_reader (subscriber, partition, partitions, expires_at, wanted_at)
    VALUES ('availability', 0, 2, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')
    """,
    """
    INSERT INTO event_replay (what, request, total, actor, worker_until) VALUES
        ('letters', '{"next": 0}', 1, 'ada', '2026-01-01T00:00:00Z'),
        ('quarantine', '{"next": 0}', 1, 'ada', '2026-01-01T00:00:00Z')
    """,
    "INSERT INTO event_replay_chosen SELECT replay_id, 0, 1 FROM event_replay",
    """
    INSERT INTO failed_delivery (subscriber, epoch, xid, position, source, type, time, partition_key, partition,
                                 schema_version, data, mended, state, next_try_at, cause, reason)
    VALUES ('availability', 1, '1', 1, '/integrations/acme', 'crossdock.stock.changed', '2026-01-01T00:00:00Z', 'RUG', 0,
            1, '{"sku": ""}', '{"sku": "RUG"}', 'dead', '2026-01-01T00:00:00Z', 'BadEvent', 'no sku')
    """,
    """
    INSERT INTO product (integration, id, version, key, published, name, slug, categories, master_sku, variants, created_at,
                         last_modified_at, batch_id)
    VALUES ('commercetools', 'p-1', 2, 'rug', true, '{}', '{}', '[]', 'RUG', '[]', '2025-01-01T00:00:00Z',
            '2026-01-01T00:00:00Z', 1)
    """,
    """
    INSERT INTO product_history (integration, id, version, key, published, name, slug, categories, master_sku, variants,
                                 created_at, last_modified_at, batch_id, superseded_by)
    VALUES ('commercetools', 'p-1', 1, 'rug', true, '{}', '{}', '[]', 'RUG', '[]', '2025-01-01T00:00:00Z',
            '2025-06-01T00:00:00Z', 1, 1)
    """,
    """
    INSERT INTO sales_order (integration, id, version, order_number, order_state, currency, total_minor, line_count, lines,
                             placed_at, last_modified_at, batch_id)
    VALUES ('commercetools', 'o-1', 2, '4711', 'Open', 'EUR', 0, 0, '[]', '2025-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 1)
    """,
    """
    INSERT INTO sales_order_history (integration, id, version, order_number, order_state, currency, total_minor, line_count,
                                     lines, placed_at, last_modified_at, batch_id, superseded_by)
    VALUES ('commercetools', 'o-1', 1, '4711', 'Open', 'EUR', 0, 0, '[]', '2025-01-01T00:00:00Z', '2025-06-01T00:00:00Z', 1, 1)
    """,
    """
    INSERT INTO record (integration, id, version, key, data, last_modified_at, batch_id)
    VALUES ('wms', 'r-1', 2, 'rug', '{}', '2026-01-01T00:00:00Z', 1)
    """,
    """
    INSERT INTO record_history (integration, id, version, key, data, last_modified_at, batch_id, superseded_by)
    VALUES ('wms', 'r-1', 1, 'rug', '{}', '2025-06-01T00:00:00Z', 1, 1)
    """,
    """
    INSERT INTO stock_availability (source, id, sku, available, version, as_of)
    VALUES ('/integrations/commercetools', 'id-1', 'CHAIR-RED', 4, 2, '2026-01-01T00:00:00Z')
    """,
)

#: Table of before → table now, and the same of columns. What is not here keeps its name.
_TABLES = {
    "open_record": "deferred_record",
    "failed_delivery": "dead_letter",
    "event_outage": "source_outage",
    "event_reader": "event_consumer",
}
_COLUMNS = {
    **{(table, "entity"): "dataset" for table in ("sync_run", "lease", "watermark", "quarantine_item", "open_record")},
    ("sync_run", "partition"): "shard",
    ("lease", "partition"): "shard",
    ("watermark", "partition"): "shard",
    ("quarantine_item", "mended"): "edited",
    ("rate_limit", "next_turn_at"): "next_permit_at",
    ("failed_delivery", "letter_id"): "dead_letter_id",
    ("failed_delivery", "mended"): "edited_data",
    ("failed_delivery", "next_try_at"): "next_attempt_at",
    ("event_replay", "what"): "kind",
    ("event_replay", "asked_at"): "requested_at",
    ("refused_webhook", "why"): "reason",
}
#: Values that are rewritten, by table and the column's name now. All others must be as they were.
_REWRITTEN = {
    ("sync_run", "shard"): {"part:1/2": "shard:1/2"},
    ("lease", "shard"): {"part:1/2": "shard:1/2"},
    ("watermark", "shard"): {"part:1/2": "shard:1/2"},
    ("watermark", "dataset"): {"product": "products", "order": "orders", "wms": "records", "lager": "inventory"},
    ("event_replay", "kind"): {"letters": "dead_letters"},
    ("alert", "subject"): {
        "inventory from commercetools (part:1/2)": "commercetools.inventory (shard:1/2)",
        "wms from wms (all)": "wms.records (all)",
    },
}
#: The newest revision in which everything had its old name.
_BEFORE = "0015"


@pytest.fixture
def first_release(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database at revision 0001, with rows in every table."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS hub_upgrade WITH (FORCE)")
        connection.execute("CREATE DATABASE hub_upgrade")
        dsn = postgres.dsn("hub_upgrade")
        command.upgrade(_config(dsn, "hub"), "0001")
        fill(dsn, _AS_IT_WAS)
        yield dsn
        connection.execute("DROP DATABASE hub_upgrade WITH (FORCE)")


@pytest.fixture
def old_names(first_release: str) -> str:
    """The address of the newest database that has the old names, with rows in every table."""
    command.upgrade(_config(first_release, "hub"), _BEFORE)
    fill(first_release, _WITH_OLD_NAMES)
    return first_release


def fill(dsn: str, statements: Sequence[str]) -> None:
    with psycopg.connect(dsn, options="-c search_path=hub") as hub:
        for statement in statements:
            hub.execute(statement.encode())


def test_the_first_release_s_rows_outlive_the_upgrade(first_release: str) -> None:
    """Every row of every table, field by field: an upgrade adds, it does not rewrite."""
    before = contents(first_release)
    migrate(first_release)
    after = contents(first_release)

    assert is_current(first_release)
    assert all(before.values()), [table for table, rows in before.items() if not rows]
    for table, rows in before.items():
        kept = [{name: row[name] for name in names_now(table, rows[0])} for row in after[_TABLES.get(table, table)]]
        assert kept == [as_now(table, row) for row in rows], table


#: What came later and says one thing of the whole hub, or is filled from what was there.
_FILLED = {"event_counted", "installation", "rejection"}


def test_no_row_and_no_value_is_lost_when_names_change(old_names: str) -> None:
    """In place: every table has its rows, field by field, whatever it and its columns are called now."""
    before = contents(old_names)
    migrate(old_names)
    after = contents(old_names)

    assert is_current(old_names)
    assert all(before.values()), [table for table, rows in before.items() if not rows]
    assert {_TABLES.get(table, table): len(rows) for table, rows in before.items()} == {
        table: len(rows)
        for table, rows in after.items()
        if rows and table not in _FILLED  # A table that came later has none.
    }
    for table, rows in before.items():
        now = [as_now(table, row) for row in rows]
        # A column that came later was in none of the rows.
        found = [{name: row[name] for name in now[0]} for row in after[_TABLES.get(table, table)]]
        if table == "sync_run":
            now, found = ([{**row, "request": None} for row in each] for each in (now, found))
        # What came later has names of its own.
        assert [{name: row[name] for name in now[0]} for row in found] == now, table


def test_the_request_of_an_old_run_is_read_by_its_new_names(old_names: str) -> None:
    """Only in the rows that have an old key; the others are not written."""
    with Store(old_names) as store:
        (untouched,) = query(store, "SELECT xmin::text FROM sync_run WHERE run_id = 'run-1'")
    migrate(old_names)

    with Store(old_names) as store, store.transaction() as work:
        shard, backfill = ledger.get(work, "run-3"), ledger.get(work, "run-4")
        requests = dict(query(store, "SELECT run_id, request FROM sync_run"))
        assert query(store, "SELECT xmin::text FROM sync_run WHERE run_id = 'run-1'") == [untouched]
    assert shard.request == SyncRequest(full=True, shard="1/2", allow_shrink=True)
    assert (backfill.request.emit_events, backfill.suppress_events) == (True, False)
    assert requests["run-1"] == {"full": True}
    assert requests["run-3"] == {
        "full": True,
        "shard": "1/2",
        "allow_shrink": True,
        "emit_events": False,
        "keys": [],
        "since": None,
    }


def test_a_run_that_was_under_way_continues_under_its_lease(old_names: str) -> None:
    """A shard's run, its lease and its watermark still belong together, and its open alert is closed by its success."""
    migrate(old_names)
    key = LeaseKey("commercetools", "inventory", "shard:1/2")

    with Store(old_names) as store, store.transaction() as work:
        (run,) = ledger.of_dag_run(work, "scheduled__3", "commercetools.inventory", dag_id="sync_inventory")
        again = ledger.start(work, key, run.request, mode=run.mode, dag_id="sync_inventory", dag_run_id="scheduled__3")
        leases.check(work, key, "run-3", 4)
        token = leases.take(work, key, "run-3", timedelta(minutes=1))
        mark = watermarks.read(work, key)
        (alert,) = query(store, "SELECT subject FROM alert WHERE kind = 'run_failed'")

    assert (again.run_id, run.lease, token) == ("run-3", key, 5)
    assert mark == datetime(2026, 2, 1, tzinfo=UTC)
    assert alert == (str(key),)


def test_each_stream_goes_on_from_its_watermark(old_names: str) -> None:
    """A stream that starts from nothing reads everything again, and one that starts too late loses changes."""
    migrate(old_names)

    with Store(old_names) as store, store.transaction() as work:
        found = {
            stream: watermarks.read(work, LeaseKey(*stream.split(".")))
            for stream in ("commercetools.products", "commercetools.orders", "wms.records", "lager.inventory")
        }
    assert found == {
        "commercetools.products": datetime(2026, 2, 2, tzinfo=UTC),
        "commercetools.orders": datetime(2026, 2, 3, tzinfo=UTC),
        "wms.records": datetime(2026, 2, 4, tzinfo=UTC),
        "lager.inventory": datetime(2026, 2, 5, tzinfo=UTC),
    }


def test_quarantine_and_deferred_records_can_be_worked_on(old_names: str) -> None:
    migrate(old_names)

    with Store(old_names) as store, store.transaction() as work:
        (item,) = quarantine_repository.find(work)
        assert (item.raw, item.edited) == (b"{\x00\xff", b'{"id": "id-2"}')
        quarantine_repository.save_edit(work, item.item_id, None)
        assert quarantine_repository.get(work, item.item_id).edited is None
        assert deferred_records.ids(work, "commercetools", "inventory") == ["id-3"]


def test_no_object_of_the_schema_has_an_old_name(old_names: str) -> None:
    """Tables, columns, indexes, sequences, constraints: a reader of an error or a plan finds the new words."""
    migrate(old_names)
    old = r"open_record|failed_delivery|(?<!dead_)letter_id|mended|event_outage|event_reader|next_try|next_turn|(?<!source_)asked_at|_what_|_why_"

    with Store(old_names) as store:
        found = query(
            store,
            f"""
            SELECT relname FROM pg_class WHERE relnamespace = 'hub'::regnamespace AND relname ~ '{old}'
            UNION ALL SELECT conname FROM pg_constraint WHERE connamespace = 'hub'::regnamespace AND conname ~ '{old}'
            UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'hub'::regnamespace AND prosrc ~ '{old}'
            UNION ALL SELECT conname FROM pg_constraint
                       WHERE connamespace = 'hub'::regnamespace AND conname ~ 'partition'
                         AND conrelid::regclass::text IN ('sync_run', 'lease', 'watermark')
            UNION ALL SELECT attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                       WHERE relnamespace = 'hub'::regnamespace AND attnum > 0 AND NOT attisdropped
                         -- An index keeps the name that its column had when it was made, and nobody can change that.
                         AND relkind NOT IN ('i', 'I') AND (attname ~ '{old}' OR attname IN ('what', 'why')
                              OR attname = 'partition' AND relname IN ('sync_run', 'lease', 'watermark'))""",
        )
    assert found == []


def names_now(table: str, row: dict[str, Any]) -> list[str]:
    return [_COLUMNS.get((table, name), name) for name in row]


def as_now(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """*row* of *table* under the names of today, with the values that the upgrade rewrites."""
    renamed = dict(zip(names_now(table, row), row.values(), strict=True))
    return {
        name: _REWRITTEN.get((table, name), {}).get(value, value) if isinstance(value, str) else value
        for name, value in renamed.items()
    }


def test_columns_that_came_later_are_filled_for_old_rows(first_release: str) -> None:
    """
    A column is either filled or may be empty by its meaning: old rows came without lineage and drift, and their pages are there.

    Only the newest code's own defaults could fill the others, and a null there would break it at the first read.
    """
    known = {
        _TABLES.get(table, table): set(names_now(table, rows[0])) for table, rows in contents(first_release).items()
    }
    migrate(first_release)

    empty = {
        f"{table}.{name}"
        for table, rows in contents(first_release).items()
        for row in rows
        for name in row.keys() - known.get(table, set())
        if row[name] is None
    }
    assert empty <= {
        "alert.acknowledged_at",
        "alert.acknowledged_by",
        "alert.acknowledged_until",
        "alert.records",
        "alert.integration",
        "sync_run.source_asked_at",  # nobody noted it
        "installation.backed_up_at",  # there was no backup
        "alert.stream",  # what nobody counted, and what belongs to none
        "inventory.lineage",
        "inventory_history.lineage",
        "inventory.known_at",
        "inventory.inserted_by",
        "inventory_history.known_at",
        "inventory_history.superseded_at",  # read from their batches: to write them would write every row anew
        "quarantine_item.mapped",
        "sync_run.drift",
        "sync_run.dag_id",
        "sync_run.landing_cleared_at",
        "sync_range.id_low",
        "sync_range.id_high",  # only for a record that could be mapped
    }


def test_old_items_are_among_the_rows_of_their_runs(first_release: str) -> None:
    migrate(first_release)

    with Store(first_release) as store:
        assert query(store, "SELECT run_id, item_id FROM rejection") == [("run-1", 1)]


def test_an_upgraded_ledger_still_adds_up(first_release: str) -> None:
    """The promise added later, that every line is accounted for, holds of runs that never counted lines."""
    migrate(first_release)

    with Store(first_release) as store:
        lines = query(store, "SELECT run_id, read, lines_read, state FROM sync_run ORDER BY run_id")
    assert lines == [("run-1", 3, 0, "partial"), ("run-2", 5, 0, "failed")]


def test_upgrading_again_changes_nothing(first_release: str) -> None:
    """`up` and `prepare` migrate at each start."""
    migrate(first_release)
    once = contents(first_release)
    migrate(first_release)

    assert contents(first_release) == once


def test_a_replay_that_is_under_way_continues_where_it_is(postgres: PostgresServer) -> None:
    """What it is of was kept in its request, and is kept in rows now."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE hub_replays")
        dsn = postgres.dsn("hub_replays")
        command.upgrade(_config(dsn, "hub"), "0009")
        with psycopg.connect(dsn, options="-c search_path=hub") as hub:
            hub.execute(
                "INSERT INTO event_replay (what, request, total, actor) VALUES"
                """ ('letters', '{"letter_ids": [7, 5, 9], "next": 1}', 3, 'ada'),"""
                """ ('quarantine', '{"item_ids": [4], "next": 0}', 1, 'ada'),"""
                """ ('events', '{"selection": {}, "subscribers": [], "cursor": [0, 0, 0]}', 1, 'ada')"""
            )
        migrate(dsn)
        with Store(dsn) as store, store.transaction() as work:
            dead_letters, items, events = reversed(replay_repository.newest(work))
            assert replay_repository.chosen(work, dead_letters.replay_id, 1, 10) == [5, 9]
            assert replay_repository.chosen(work, items.replay_id, 0, 10) == [4]
        connection.execute("DROP DATABASE hub_replays WITH (FORCE)")

    assert (dead_letters.request, items.request) == ({"next": 1}, {"next": 0})
    assert events.request == {"selection": {}, "subscribers": [], "cursor": [0, 0, 0]}


def test_what_people_wrote_about_an_order_is_left_in_the_audit_trail_alone(postgres: PostgresServer) -> None:
    """
    One was cancelled, one had a step resolved twice and was turned back by it, one was turned back by its gateway.

    The fourth waits for a person, its stock held; its step has heard from the gateway that the customer has to act.
    """
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE hub_words")
        dsn = postgres.dsn("hub_words")
        command.upgrade(_config(dsn, "hub"), "0044")
        fill(dsn, _WITH_WORDS)
        migrate(dsn)
        with psycopg.connect(dsn, options="-c search_path=hub") as hub:
            reasons = hub.execute("SELECT order_id, reason FROM placed_order ORDER BY order_id").fetchall()
            executions = hub.execute("SELECT reason, cancelled_by FROM execution ORDER BY subject").fetchall()
            steps = hub.execute(
                "SELECT message, jsonb_path_query_array(log, '$[*].message') FROM execution_step WHERE execution_id = 'e2'"
            ).fetchall()
            waits = hub.execute("SELECT state FROM execution_step WHERE execution_id = 'e4'").fetchall()
            asked = hub.execute("SELECT subject, about, choices FROM decision").fetchall()
            hub.execute("UPDATE stock_hold SET state = 'released' WHERE order_id = 'o4'")
            holds = hub.execute("SELECT jsonb_path_query_array(log, '$[*].state') FROM stock_hold").fetchall()
        connection.execute("DROP DATABASE hub_words WITH (FORCE)")

    said = "capture_payment: otto said that it is refused"
    assert reasons == [("o1", "cancelled by otto"), ("o2", said), ("o3", "capture_payment: declined"), ("o4", None)]
    assert executions == [
        ("cancelled by otto", "otto"),
        (said, None),
        ("capture_payment: declined", None),
        (None, None),
    ]
    found_out = ["it timed out", "olga said that it is failed", "otto said that it is refused"]
    assert steps == [("otto said that it is refused", found_out)]
    assert waits == [("waiting",)]
    assert asked == [("e4", "o4", ["retry", "done", "refused", "failed", "cancel"])]
    assert holds == [(["held", "released"],)]


_WITH_WORDS = (
    """
    INSERT INTO placed_order (order_id, reference, currency, total_minor, lines, payment_methods, reason, created_by) VALUES
        ('o1', 'w1', 'EUR', 1, '[]', '{}', 'Anne called', 't'),
        ('o2', 'w2', 'EUR', 1, '[]', '{}', 'capture_payment: Anne has it', 't'),
        ('o3', 'w3', 'EUR', 1, '[]', '{}', 'capture_payment: declined', 't'),
        ('o4', 'w4', 'EUR', 1, '[]', '{}', NULL, 't')
    """,
    """
    INSERT INTO execution (execution_id, flow, subject, driver, input, cancelled_because, reason, created_by) VALUES
        ('e1', 'f', 'o1', 'events', '{}', 'Anne called', 'Anne called', 't'),
        ('e2', 'f', 'o2', 'events', '{}', NULL, 'capture_payment: Anne has it', 't'),
        ('e3', 'f', 'o3', 'events', '{}', NULL, 'capture_payment: declined', 't')
    """,
    """
    INSERT INTO execution (execution_id, flow, subject, driver, input, waits_for, next_at, created_by) VALUES
        ('e4', 'f', 'o4', 'events', '{}', 'authorise:act', NULL, 't')
    """,
    "INSERT INTO warehouse (warehouse_id) VALUES ('w')",
    """
    INSERT INTO stock (warehouse_id, sku, on_hand, available, held, version, as_of) VALUES ('w', 'CHAIR', 5, 3, 2, 1, now())
    """,
    "INSERT INTO stock_hold (order_id, sku, warehouse_id, quantity) VALUES ('o4', 'CHAIR', 'w', 2)",
    """
    INSERT INTO execution_step (execution_id, step, direction, state, key, tries, message, log) VALUES
        ('e2', 'capture_payment', 'act', 'refused', 'k', 3, 'Anne has it',
         '[{"number": 1, "message": "it timed out"}, {"number": 2, "message": "Anne saw none"},
           {"number": 3, "message": "Anne has it"}]'),
        ('e4', 'authorise', 'act', 'unknown', 'l', 1, 'the customer has to act', '[]')
    """,
    """
    INSERT INTO audit_entry (actor, act, subject, detail) VALUES
        ('otto', 'execution.cancel', 'execution/e1', '{"reason": "Anne called"}'),
        ('olga', 'execution.resolve', 'execution/e2',
         '{"reason": "Anne saw none", "step": "capture_payment", "state": "failed"}'),
        ('otto', 'execution.resolve', 'execution/e2',
         '{"reason": "Anne has it", "step": "capture_payment", "state": "refused"}')
    """,
)


def contents(dsn: str) -> dict[str, list[dict[str, Any]]]:
    """Table → its rows, in an order of their own."""
    with psycopg.connect(dsn, options="-c search_path=hub", row_factory=dict_row) as hub:
        tables = hub.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'hub' AND table_type = 'BASE TABLE'"
            " AND table_name <> 'hub_alembic_version'"
            # A partition's rows are its table's.
            " AND NOT (SELECT relispartition FROM pg_class WHERE oid = table_name::regclass) ORDER BY 1"
        ).fetchall()
        return {
            str(each["table_name"]): hub.execute(
                f"SELECT * FROM {each['table_name']} ORDER BY 1, 2".encode()
            ).fetchall()
            for each in tables
        }
