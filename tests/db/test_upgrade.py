"""The way up from the first release: what a hub has gathered is there afterwards, and can be worked with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic import command
from crossdock.db.database import Store
from crossdock.db.migrate import _config, is_current, migrate
from crossdock.events.replay import repository as replay_repository
from crossdock.stack.postgres import PostgresServer
from psycopg.rows import dict_row

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


@pytest.fixture
def first_release(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database at revision 0001, with rows in every table."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS hub_upgrade WITH (FORCE)")
        connection.execute("CREATE DATABASE hub_upgrade")
        dsn = postgres.dsn("hub_upgrade")
        command.upgrade(_config(dsn, "hub"), "0001")
        with psycopg.connect(dsn, options="-c search_path=hub") as hub:
            for statement in _AS_IT_WAS:
                hub.execute(statement.encode())
        yield dsn
        connection.execute("DROP DATABASE hub_upgrade WITH (FORCE)")


def test_the_first_release_s_rows_outlive_the_upgrade(first_release: str) -> None:
    """Every row of every table, field by field: an upgrade adds, it does not rewrite."""
    before = contents(first_release)
    migrate(first_release)
    after = contents(first_release)

    assert is_current(first_release)
    assert all(before.values()), [table for table, rows in before.items() if not rows]
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert kept == rows, table


def test_columns_that_came_later_are_filled_for_old_rows(first_release: str) -> None:
    """
    A column is either filled or may be empty by its meaning: old rows came without lineage and drift, and their pages are there.

    Only the newest code's own defaults could fill the others, and a null there would break it at the first read.
    """
    before = contents(first_release)
    migrate(first_release)

    empty = {
        f"{table}.{name}"
        for table, rows in contents(first_release).items()
        for row in rows
        for name in row.keys() - (before[table][0].keys() if table in before else set())
        if row[name] is None
    }
    assert empty <= {
        "inventory.lineage",
        "inventory_history.lineage",
        "sync_run.drift",
        "sync_run.dag_id",
        "sync_run.landing_cleared_at",
        "sync_range.id_low",
        "sync_range.id_high",
    }


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


def test_a_replay_that_is_under_way_goes_on_where_it_is(postgres: PostgresServer) -> None:
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
            letters, items, events = reversed(replay_repository.newest(work))
            assert replay_repository.chosen(work, letters.replay_id, 1, 10) == [5, 9]
            assert replay_repository.chosen(work, items.replay_id, 0, 10) == [4]
        connection.execute("DROP DATABASE hub_replays WITH (FORCE)")

    assert (letters.request, items.request) == ({"next": 1}, {"next": 0})
    assert events.request == {"selection": {}, "subscribers": [], "cursor": [0, 0, 0]}


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
