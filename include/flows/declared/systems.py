"""A declared system behind its Airflow connection."""

from __future__ import annotations

from include.connectors import airflow_connection
from include.connectors.conditions import Share
from include.connectors.declared import files
from include.connectors.declared.source import DeclaredSource
from include.model.errors import NotFound
from include.model.integration import Connection


def source_of(name: str, connection_id: str | None = None, share: Share | None = None) -> DeclaredSource:
    """
    What reads the declared system *name*, under what its workers *share*. Call it inside a task.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the declaration is wrong, or its connection lacks what it needs.

    """
    path = files.paths().get(name)
    if path is None:
        raise NotFound(f"There is no declaration {name}.yaml in dags/integrations, and no connector of that name")
    # A system that asks nobody who they are needs no connection.
    connection = airflow_connection.find(connection_id or name) or Connection(connection_id=name, conn_type="declared")
    return DeclaredSource(files.read(path), connection, share)
