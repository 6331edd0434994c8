"""Create the source of a declared system from its Airflow connection."""

from __future__ import annotations

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.errors import NotFound
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection


def source_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> DeclaredSource:
    """
    Create the source of the declared system *integration*.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the declaration is not valid, or its connection lacks a value that it needs.

    """
    path = files.paths().get(integration)
    if path is None:
        raise NotFound(f"The declaration {integration}.yaml does not exist in {files.folder()}")
    return DeclaredSource(files.read(path), connection, share)
