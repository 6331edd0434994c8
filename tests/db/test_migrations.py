"""A migration in a hub that is at work: it waits for a moment when nobody uses its tables, and lets others write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command

from crossdock.db.database import StoreUnavailable
from crossdock.db.migrate import _config, is_current, upgrade
from crossdock.stack.postgres import PostgresServer

#: The last release before warehouses had names.
_BEFORE = "0057"
_WRITE = "INSERT INTO hub.warehouse (warehouse_id) VALUES ('/integrations/shop_eu:lyon')"


@pytest.fixture
def dsn(postgres: PostgresServer) -> Iterator[str]:
    """A database that lacks the migrations since `_BEFORE`."""
    postgres.create_database("behind")
    dsn = postgres.dsn("behind")
    command.upgrade(_config(dsn, "hub"), _BEFORE)
    yield dsn
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE behind WITH (FORCE)")


def test_who_writes_does_not_wait_for_a_migration_that_waits_for_a_long_query(dsn: str) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(dsn, application_name="a report") as analyst:
        analyst.execute("SELECT count(*) FROM hub.warehouse")
        migrates = pool.submit(upgrade, dsn)
        _wait_until_a_lock_is_waited_for(dsn)
        with psycopg.connect(dsn, options="-c lock_timeout=10s") as writer:
            writer.execute(_WRITE)
        assert not migrates.done()
        assert not is_current(dsn)
        analyst.rollback()
        migrates.result(timeout=60)

    assert is_current(dsn)


def _wait_until_a_lock_is_waited_for(dsn: str) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'hub.warehouse'::regclass"
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(600):
            if connection.execute(waiting).fetchone() != (0,):
                return
            connection.execute("SELECT pg_sleep(0.05)")
    pytest.fail("the migration never waited")


def test_a_migration_that_finds_no_moment_says_who_is_in_its_way(dsn: str) -> None:
    with psycopg.connect(dsn, application_name="a report") as analyst:
        analyst.execute("SELECT count(*) FROM hub.warehouse")
        with pytest.raises(StoreUnavailable, match=r"oldest transaction .* \(postgres, a report\), open for 00:00:"):
            upgrade(dsn, patience_s=0)

    upgrade(dsn)
    assert is_current(dsn)


def test_two_that_start_at_once_migrate_once(dsn: str) -> None:
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(upgrade, dsn) for _ in range(2)]
        assert [each.result(timeout=60) for each in both] == [None, None]

    assert is_current(dsn)
