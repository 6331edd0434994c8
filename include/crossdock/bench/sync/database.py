"""Read the effects of a load from the database: sums, traces of writing, bytes of write-ahead log, statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
_SUMS = "SELECT count(*), coalesce(sum(version), 0)::bigint, {} FROM {}"

#: Each row version by its place, who wrote it and who locked it: any write, even a row lock, changes the sum.
_TRACE = (
    "SELECT count(*), coalesce(sum(hashtextextended(ctid::text || ' ' || xmin || ' ' || xmax, 0)), 0)::text FROM {}"
)
#: Without the columns that name the batch, the page and the time of a row, which differ from one way to load it to another.
_STATE = """
SELECT count(*), coalesce(sum(hashtextextended((to_jsonb(row_of) - 'batch_id' - 'inserted_by' - 'known_at' - 'lineage')::text, 0)), 0)::text
  FROM {} AS row_of
"""
#: A record rejected in two versions has an item for each; only the newest is what the source has now.
_OPEN_ITEMS = """
SELECT count(*), coalesce(sum(version), 0)::bigint
  FROM (SELECT max(version) AS version FROM {} WHERE state = 'open' GROUP BY integration, record_id) AS newest
"""
_LOG_POSITION = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
_STATEMENTS = """
SELECT query, calls, total_exec_time / 1000, rows, shared_blks_dirtied, wal_bytes::bigint
  FROM pg_stat_statements
 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND query NOT ILIKE '%%pg_stat_statements%%'
 ORDER BY total_exec_time DESC LIMIT %s
"""


class Contents(NamedTuple):
    """The sums over the rows of a table."""

    rows: int
    versions: int
    #: Units in stock; None where the table has none.
    quantity: int | None


class Statement(NamedTuple):
    """The cost of one statement on the server."""

    text: str
    calls: int
    seconds: float
    rows: int
    dirtied_blocks: int
    log_bytes: int


def drop_schemas(dsn: str, *schemas: str) -> None:
    """Drop *schemas* and write dirty pages to disk, so that no loader pays for another's."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        connection.execute("CHECKPOINT")


def contents(dsn: str, schema: str, table: str) -> Contents:
    """Sum up a table; the column of quantities is found however a loader spells it. A missing table counts as empty."""
    with psycopg.connect(dsn) as connection:
        columns = [name for (name,) in connection.execute(_COLUMNS, [schema, table])]
    if not columns:
        return Contents(0, 0, None)
    spelling = next((name for name in columns if name.lower().replace("_", "") == "quantityonstock"), None)
    quantity = sql.SQL("coalesce(sum({}), 0)::bigint").format(sql.Identifier(spelling)) if spelling else sql.NULL
    return Contents(*_row(dsn, sql.SQL(_SUMS).format(quantity, sql.Identifier(schema, table))))


def open_items(dsn: str, schema: str) -> Contents:
    """Sum up the hub's quarantine: records and their versions."""
    rows, versions = _row(dsn, _of_table(_OPEN_ITEMS, schema, "quarantine_item"))
    return Contents(rows, versions, None)


def state(dsn: str, schema: str, table: str) -> tuple[int, str]:
    """Count the rows and digest all columns of the entity: equal for equal tables."""
    rows, digest = _row(dsn, _of_table(_STATE, schema, table))
    return rows, digest


def traces(dsn: str, schema: str, tables: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Table → its row versions and their digest: equal before and after means that nothing was written."""
    return {table: _row(dsn, _of_table(_TRACE, schema, table)) for table in tables}


def log_position(dsn: str) -> int:
    """Bytes of write-ahead log since the server was made."""
    return int(_row(dsn, _LOG_POSITION)[0])


def server_version(dsn: str) -> str:
    return str(_row(dsn, "SHOW server_version")[0])


def reset_statements(dsn: str) -> None:
    """Begin to count statements. The server must have loaded pg_stat_statements at its start."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")


def costliest_statements(dsn: str, limit: int) -> list[Statement]:
    """List the statements since `reset_statements` that took the server longest."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(_STATEMENTS, [limit]).fetchall()
    return [Statement(" ".join(str(row[0]).split()), *row[1:]) for row in rows]


def _of_table(statement: Any, schema: str, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(schema, table))


def _row(dsn: str, statement: Any) -> tuple[Any, ...]:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has a row
    return tuple(row)
