"""
Empty hub databases for tests. One that a test has used is emptied and used again, since making one takes PostgreSQL 700
files and, on a busy machine, half a second.
"""

from __future__ import annotations

import itertools
from typing import Any

import psycopg
from psycopg import sql

from crossdock.stack.postgres import PostgresServer

#: Emptying leaves dead rows in the catalogs; after so many tests a database is made anew.
_USES = 100

#: False if a session did not end within a second.
_END_SESSIONS = b"""
SELECT bool_and(pg_terminate_backend(pid, 1000)) IS NOT FALSE FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

#: What a test may have changed besides rows. A table's file and its statistics change when it is emptied.
_STRUCTURE = b"""
SELECT concat_ws('|',
    (SELECT sum(hashtext(concat_ws(' ', oid, relname, relkind, relnatts, relchecks, relhastriggers, relispartition, reloptions,
                                        relacl, relpartbound)))
       FROM pg_class WHERE oid >= 16384 AND relpersistence <> 't'),
    (SELECT sum(hashtext(concat_ws(' ', oid, xmin))) FROM pg_namespace),
    (SELECT sum(hashtext(concat_ws(' ', oid, xmin))) FROM pg_proc WHERE oid >= 16384),
    (SELECT sum(hashtext(concat_ws(' ', oid, xmin))) FROM pg_constraint),
    (SELECT sum(hashtext(concat_ws(' ', oid, xmin))) FROM pg_trigger),
    (SELECT sum(hashtext(concat_ws(' ', oid, xmin))) FROM pg_attrdef),
    (SELECT sum(hashtext(concat_ws(' ', indexrelid, indisvalid))) FROM pg_index WHERE indexrelid >= 16384),
    (SELECT sum(hashtext(concat_ws(' ', attrelid, attnum, xmin))) FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0),
    (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
    (SELECT count(*) FROM pg_db_role_setting),
    (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()),
    (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()))
"""

_TABLES = b"""
SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'hub'::regnamespace ORDER BY oid
"""
_SEQUENCES = b"""
SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND relnamespace = 'hub'::regnamespace ORDER BY oid
"""
#: Rows that were rolled back take space, too.
_USED = b"""
SELECT oid::regclass::text FROM pg_class
 WHERE relkind = 'r' AND relnamespace = 'hub'::regnamespace AND pg_relation_size(oid) > 0
"""

Rows = list[tuple[Any, ...]]


class HubDatabases:
    """The databases of one server. Not for several threads."""

    def __init__(self, server: PostgresServer, prefix: str = "hub") -> None:
        """Take copies of the database `hub_template` of *server*, which is migrated."""
        self._server = server
        self._prefix = prefix
        self._numbers = itertools.count()
        #: An empty one that waits for its next use, and how often it was used.
        self._kept: tuple[str, int] | None = None
        with psycopg.connect(server.dsn("hub_template")) as template:
            self._template = _Template(template)

    def take(self) -> tuple[str, int]:
        """Give the name of an empty hub database, and how often it was used; nobody else has it."""
        kept, self._kept = self._kept, None
        if kept is None:
            return self._make(self._name()), 0
        # A process that a test has left behind does not find the database of the next one.
        name = self._name()
        self._run("ALTER DATABASE {} RENAME TO {}", kept[0], name)
        return name, kept[1]

    def give_back(self, name: str, uses: int) -> None:
        """Empty a database for its next use; drop it if its structure was changed."""
        if uses + 1 < _USES and self._kept is None and self._is_emptied(name):
            self._kept = name, uses + 1
        else:
            self._drop(name)

    def renew(self, name: str) -> None:
        """Empty a database that keeps its name, or make it anew if its structure was changed."""
        if not self._is_emptied(name):
            self._drop(name)
            self._make(name)

    def _is_emptied(self, name: str) -> bool:
        try:
            with psycopg.connect(self._server.dsn(name), autocommit=True) as connection:
                is_alone = connection.execute(_END_SESSIONS).fetchone() == (True,)
                return is_alone and self._template.restore(connection)
        except psycopg.Error:
            return False

    def _make(self, name: str) -> str:
        self._run("CREATE DATABASE {} TEMPLATE hub_template STRATEGY file_copy", name)
        return name

    def _drop(self, name: str) -> None:
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _name(self) -> str:
        return f"{self._prefix}_{next(self._numbers)}"

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]


class _Template:
    """What an empty hub database holds."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._structure = connection.execute(_STRUCTURE).fetchone()
        tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
        read = {table: _rows(connection, table) for table in tables}
        self._rows = {table: rows for table, rows in read.items() if rows}
        self._sequences = {
            name: connection.execute(_state_of(name)).fetchone()
            for (name,) in connection.execute(_SEQUENCES).fetchall()
        }

    def restore(self, connection: psycopg.Connection) -> bool:
        """Empty a copy of the template that was used; return False, and change nothing, if its structure was changed."""
        if connection.execute(_STRUCTURE).fetchone() != self._structure:
            return False
        used = {table for (table,) in connection.execute(_USED).fetchall()}
        changed = {table for table in used if table not in self._rows or _rows(connection, table) != self._rows[table]}
        changed |= self._rows.keys() - used
        with connection.transaction():
            # Without triggers: some keep rows from being deleted.
            connection.execute("SET LOCAL session_replication_role = replica")
            if changed:
                connection.execute(f"TRUNCATE {', '.join(sorted(changed))} CASCADE")  # type: ignore[arg-type]
            for table, rows in self._rows.items():
                if _rows(connection, table) != rows:
                    _put_back(connection, table, rows)
            for name, state in self._sequences.items():
                connection.execute("SELECT setval(%s::regclass, %s, %s)", [name, *(state or ())])
        return True


def airflow_connection(dsn: str) -> dict[str, Any]:
    """The hub's database as a connection of Airflow, as `AIRFLOW_CONN_HUB_DB` has it."""
    place = psycopg.conninfo.conninfo_to_dict(dsn)
    return {
        "conn_type": "postgres",
        "host": place["host"],
        "port": int(str(place["port"])),
        "login": place["user"],
        "password": place["password"],
        "schema": place["dbname"],
    }


def _rows(connection: psycopg.Connection, table: str) -> Rows:
    """Read all rows of *table*, each as text."""
    return connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1").fetchall()  # type: ignore[arg-type]


def _put_back(connection: psycopg.Connection, table: str, rows: Rows) -> None:
    for row in rows:
        connection.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT (%s::{table}).*", row)  # type: ignore[arg-type]


def _state_of(sequence: str) -> Any:
    return f"SELECT last_value, is_called FROM {sequence}"
