"""Create the source of a declared system from its Airflow connection."""

from __future__ import annotations

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.errors import NotFound
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
        raise NotFound(f"There is no declaration {name}.yaml in dags/integrations, and no connector of that name")
    # A system without authentication needs no connection.
    connection = airflow_connection.find(connection_id or name) or Connection(connection_id=name, conn_type="declared")
    return DeclaredSource(files.read(path), connection, share)
