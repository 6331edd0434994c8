"""The entry points of declared systems, as their manifest names them: by the integration, whose ID is the file's name."""

from __future__ import annotations

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.signing import destination, needed_credentials
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.ids import unprefixed
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection


def source_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> DeclaredSource:
    """
    Create the source of the declared system *integration*.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the declaration is not valid, or its connection lacks a value that it needs.

    """
    return DeclaredSource(files.find(integration), connection, share)


def destination_of(connection: Connection) -> str:
    """
    Describe where the credentials of *connection* are sent.

    Raises:
        HubError: as in `source_of`.

    """
    return destination(files.find(unprefixed(connection.connection_id)), connection)


def needs_of(integration: str) -> tuple[str, ...]:
    """
    Name the credentials that the declared system *integration* needs.

    Raises:
        NotFound: there is no such declaration.
        InvalidDeclaration: it is not valid.

    """
    return needed_credentials(files.find(integration))
