"""What a load left in a database, for the benchmark and the profile: sums, traces of writing, bytes of log, statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"

#: Each row version by where it lies, who wrote it and who locked it: any write, even a row lock, changes the sum.
_TRACE = (
    "SELECT count(*), coalesce(sum(hashtextextended(ctid::text || ' ' || xmin || ' ' || xmax, 0)), 0)::text FROM {}"
)

_LOG_POSITION = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"

#: A record that was rejected in two versions has an item for each; only the newest is what the source has now.
_OPEN_ITEMS = """
SELECT count(*), coalesce(sum(version), 0)::bigint
  FROM (SELECT max(version) AS version FROM {} WHERE state = 'open' GROUP BY integration, record_id) AS newest
"""

_STATEMENTS = """
SELECT query, calls, total_exec_time / 1000, rows, shared_blks_dirtied, wal_bytes::bigint
  FROM pg_stat_statements
 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT ILIKE '%%pg_stat_statements%%'
 ORDER BY total_exec_time DESC LIMIT %s
"""


#: Bookkeeping names the batch and the page that brought a row, which differ from one way to load it to another.
_STATE = """
SELECT count(*), coalesce(sum(hashtextextended((to_jsonb(row_of) - 'batch_id' - 'lineage')::text, 0)), 0)::text
  FROM {} AS row_of
"""


class Contents(NamedTuple):
    """What a table adds up to."""

    rows: int
    versions: int
    #: Units on the shelf; None where the table has none.
    quantity: int | None


class Statement(NamedTuple):
    """What one statement cost the server."""

    text: str
    calls: int
    seconds: float
    rows: int
    dirtied_blocks: int
    log_bytes: int


def drop_schema(dsn: str, *schemas: str) -> None:
    """Each of *schemas* gone with all its tables, and what is dirty on disk, so that no loader pays for another's."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CHECKPOINT")


def contents(dsn: str, schema: str, table: str) -> Contents:
    """The table's sums; the column of quantities is found however a loader spells it. No table is an empty one."""
    name = sql.Identifier(schema, table)
    with psycopg.connect(dsn) as connection:
        columns = [column for (column,) in connection.execute(_COLUMNS, [schema, table])]
        if not columns:
            return Contents(0, 0, None)
        spelt = next((column for column in columns if column.lower().replace("_", "") == "quantityonstock"), None)
        quantity = sql.SQL("coalesce(sum({}), 0)::bigint").format(sql.Identifier(spelt)) if spelt else sql.SQL("NULL")
        statement = sql.SQL("SELECT count(*), coalesce(sum(version), 0)::bigint, {} FROM {}").format(quantity, name)
        return Contents(*_one(connection, statement))


def state(dsn: str, schema: str, table: str) -> tuple[int, str]:
    """Rows and the sum of what they say (id, version and all columns of the entity): equal for equal tables."""
    with psycopg.connect(dsn) as connection:
        rows, digest = _one(connection, _named(_STATE, schema, table))
    return rows, digest


def open_items(dsn: str, schema: str) -> Contents:
    """What lies in the hub's quarantine: records and the sum of their versions."""
    with psycopg.connect(dsn) as connection:
        rows, versions = _one(connection, _named(_OPEN_ITEMS, schema, "quarantine_item"))
    return Contents(rows, versions, None)


def traces(dsn: str, schema: str, tables: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Table → row versions and the sum of their traces: equal before and after means that nothing was written."""
    with psycopg.connect(dsn) as connection:
        return {table: _one(connection, _named(_TRACE, schema, table)) for table in tables}


def log_position(dsn: str) -> int:
    """Bytes of write-ahead log since the server was made."""
    with psycopg.connect(dsn) as connection:
        return int(_one(connection, _LOG_POSITION)[0])


def server_version(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        return str(_one(connection, "SHOW server_version")[0])


def forget_statements(dsn: str) -> None:
    """Counting of statements begins now. The server must load pg_stat_statements."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")


def costliest_statements(dsn: str, limit: int = 20) -> list[Statement]:
    """The statements since `forget_statements` that took the server longest."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(_STATEMENTS, [limit]).fetchall()
    return [Statement(" ".join(str(row[0]).split()), *row[1:]) for row in rows]


def _named(statement: Any, schema: str, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(schema, table))


def _one(connection: psycopg.Connection[Any], statement: Any) -> tuple[Any, ...]:
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has a row
    return tuple(row)
