"""The entry points of declared systems, as their manifest names them: by the integration, whose ID is the file's name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.signing import base_url_of, destination, needed_credentials, signer_of
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.connectors.declarative.streams import valid_declaration
from crossdock.core.ids import unprefixed
from crossdock.http.client import HttpClient
from crossdock.http.config import SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.integrations.actions.model import Action

if TYPE_CHECKING:
    from crossdock.connectors.declarative.actions import DeclaredClient


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


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> DeclaredClient:
    """
    Create the client for the actions of *integration*: with the credentials, address and limits of its syncs.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: as in `source_of`.

    """
    from crossdock.connectors.declarative.actions import DeclaredClient  # noqa: PLC0415  only where actions are called

    declaration = valid_declaration(integration)
    config = client_config_of(connection, share, declared=declaration.limits.policy)
    base_url = base_url_of(declaration, connection)
    auth = signer_of(declaration, connection, base_url, config)
    return DeclaredClient(HttpClient(integration, base_url, auth=auth, config=config))


def actions_of(integration: str) -> Mapping[str, tuple[Action, Any]]:
    """
    Make the actions that the file of *integration* declares: each with what carries it out.

    Raises:
        NotFound: there is no such declaration.
        InvalidDeclaration: it never was valid.

    """
    path = files.paths().get(integration)
    if path is None:
        raise files.not_found(integration)
    stat = path.stat()
    made = _made(path, stat.st_mtime_ns, stat.st_size)
    if isinstance(made, InvalidDeclaration):
        raise InvalidDeclaration(made.path, made.mistakes)
    return made


@lru_cache(maxsize=256)
def _made(path: Path, _changed_at_ns: int, _size: int) -> Mapping[str, tuple[Action, Any]] | InvalidDeclaration:
    """Make them once for each state of the file: whoever validates a workflow, or makes its steps, asks often."""
    from crossdock.connectors.declarative import actions  # noqa: PLC0415  as above

    try:
        return actions.actions_of(valid_declaration(path.stem))
    except InvalidDeclaration as error:
        return error
