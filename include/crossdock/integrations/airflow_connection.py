"""Read Airflow connections. Nothing else in the hub does."""

from __future__ import annotations

from crossdock.core.errors import NotFound
from crossdock.db import airflow_lookup
from crossdock.http.connection import Connection


def find(connection_id: str) -> Connection | None:
    """
    Find the connection with its secrets, wherever Airflow keeps it: environment, secrets backend, its own database.

    None if it does not exist. Works in a task and in the api-server only: Airflow cannot answer in other processes.

    Raises:
        ConnectionUnreadable: Airflow does not answer, so that nobody knows whether it exists.

    """
    found = airflow_lookup.find(connection_id)
    if found is None:
        return None
    return Connection(
        connection_id=connection_id,
        conn_type=str(found.conn_type),
        host=found.host,
        port=found.port,
        schema=found.schema,
        login=found.login,
        password=found.password,
        extra=found.extra_dejson,
    )


def read(connection_id: str) -> Connection:
    """
    Find the connection, or fail.

    Raises:
        NotFound: Airflow has no connection of that ID.
        ConnectionUnreadable: as `find`.

    """
    connection = find(connection_id)
    if connection is None:
        raise NotFound(f"Airflow has no connection {connection_id!r}: create it under Admin → Connections")
    return connection
