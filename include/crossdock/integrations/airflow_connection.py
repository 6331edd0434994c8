"""One Airflow connection as the hub's word for it. The only reader there is."""

from __future__ import annotations

from crossdock.core.errors import NotFound
from crossdock.http.connection import Connection


def find(connection_id: str) -> Connection | None:
    """
    The connection with its secrets, from wherever Airflow finds it: environment, secrets backend, its own database.

    None where there is none. In a task or in the api-server; elsewhere Airflow has nobody to ask.
    """
    from airflow.sdk import BaseHook  # noqa: PLC0415  seconds to import
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    try:
        found = BaseHook.get_connection(connection_id)
    except AirflowNotFoundException:
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
    The same.

    Raises:
        NotFound: Airflow has none of that id.

    """
    connection = find(connection_id)
    if connection is None:
        raise NotFound(f"Airflow has no connection {connection_id!r}: make it under Admin → Connections")
    return connection
