"""The entry points of declared systems, as their manifest names them: by the integration, whose ID is the file's name."""

from __future__ import annotations

from crossdock.connectors.declarative.signing import destination, needed_credentials
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.connectors.declarative.streams import valid_declaration
from crossdock.core.ids import unprefixed
from crossdock.http.config import SafeguardsFactory
from crossdock.http.connection import Connection


def source_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> DeclaredSource:
    """
    Create the source of the declared system *integration*, by its last valid version if its file has a mistake.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the declaration never was valid, or its connection lacks a value that it needs.

    """
    return DeclaredSource(valid_declaration(integration), connection, share)


def destination_of(connection: Connection) -> str:
    """
    Describe where the credentials of *connection* are sent.

    Raises:
        HubError: as in `source_of`.

    """
    return destination(valid_declaration(unprefixed(connection.connection_id)), connection)


def needs_of(integration: str) -> tuple[str, ...]:
    """
    Name the credentials that the declared system *integration* needs.

    Raises:
        NotFound: there is no such declaration.
        InvalidDeclaration: it never was valid.

    """
    return needed_credentials(valid_declaration(integration))
