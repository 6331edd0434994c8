"""The databases that tests share one after the other: nothing of one test is seen by the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from crossdock.stack.postgres import PostgresServer
from tests.hub_databases import HubDatabases

Connection = psycopg.Connection


@pytest.fixture(scope="module")
def databases(postgres: PostgresServer) -> HubDatabases:
    return HubDatabases(postgres, prefix="shared")


@contextmanager
def _taken(databases: HubDatabases, postgres: PostgresServer) -> Iterator[tuple[Connection, int]]:
    name, uses = databases.take()
    with psycopg.connect(postgres.dsn(name), autocommit=True, options="-c search_path=hub") as connection:
        yield connection, uses
        databases.give_back(name, uses)


def test_a_database_is_used_again_without_what_a_test_left_in_it(
    databases: HubDatabases, postgres: PostgresServer
) -> None:
    with _taken(databases, postgres) as (first, uses_before):
        before = first.execute("SELECT * FROM installation").fetchall()
        first.execute("INSERT INTO alert (kind, subject, message) VALUES ('stale', 'inventory', 'late')")
        first.execute("UPDATE installation SET installation_id = gen_random_uuid()")
        numbers = first.execute("SELECT alert_id FROM alert").fetchall()
    with _taken(databases, postgres) as (again, uses):
        assert uses == uses_before + 1
        assert again.execute("SELECT * FROM alert").fetchall() == []
        assert again.execute("SELECT * FROM installation").fetchall() == before
        again.execute("INSERT INTO alert (kind, subject, message) VALUES ('stale', 'inventory', 'late')")
        assert again.execute("SELECT alert_id FROM alert").fetchall() == numbers


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE alert",
        "ALTER TABLE alert ADD COLUMN colour text",
        "ALTER TABLE alert ALTER COLUMN message SET DEFAULT 'x'",
        "CREATE FUNCTION of_a_test() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE SCHEMA of_a_test",
        "INSERT INTO alert (kind, subject, message) VALUES ('a', 'b', 'c'); ANALYZE alert",
    ],
)
def test_a_database_with_another_structure_is_not_used_again(
    databases: HubDatabases, postgres: PostgresServer, statement: str
) -> None:
    with _taken(databases, postgres) as (first, _):
        first.execute(statement.encode())
    with _taken(databases, postgres) as (again, uses):
        assert uses == 0
        assert again.execute("SELECT message FROM alert").fetchall() == []


def test_a_session_that_a_test_left_open_does_not_reach_the_next_one(
    databases: HubDatabases, postgres: PostgresServer
) -> None:
    name, uses = databases.take()
    left = psycopg.connect(postgres.dsn(name))
    left.execute("SELECT 1")
    databases.give_back(name, uses)
    again, _ = databases.take()

    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.dsn(name))
    assert again != name
    left.close()
