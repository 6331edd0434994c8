"""Create the source of a declared system from its Airflow connection."""

from __future__ import annotations

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.errors import NotFound
from crossdock.core.ids import prefixed
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection
from crossdock.integrations import airflow_connection


def source_of(name: str, connection_id: str | None = None, share: SafeguardsFactory | None = None) -> DeclaredSource:
    """
    Create the source of the declared system *name*; *share* makes its shared safeguards. Call it inside a task.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the declaration is not valid, or its connection lacks a value that it needs.

    """
    path = files.paths().get(name)
    if path is None:
        raise NotFound(
            f"The declaration {name}.yaml does not exist in {files.folder()}, and no connector has that name"
        )
    # A system without authentication needs no connection.
    connection_id = connection_id or prefixed(name)
    connection = airflow_connection.find(connection_id) or Connection(connection_id=connection_id, conn_type="declared")
    return DeclaredSource(files.read(path), connection, share)
