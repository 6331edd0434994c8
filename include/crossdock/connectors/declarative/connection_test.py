"""The connection test of a declared system."""

from __future__ import annotations

from http import HTTPStatus

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.signing import base_url_of
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.errors import SystemRefused
from crossdock.core.ids import unprefixed
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.sync.source import Axis, FetchedPage, Range

_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)


class DeclaredConnectionTest:
    """
    Test the system whose declaration has the connection's ID.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the connection lacks a value that the declaration needs.

    """

    def __init__(self, connection: Connection) -> None:
        declaration = files.find(unprefixed(connection.connection_id))
        self.url = base_url_of(declaration, connection)
        self._source = DeclaredSource(declaration, connection, limits=_QUICK)
        self._page: FetchedPage | None = None
        self._scope_refusal: SystemRefused | None = None

    def credentials(self) -> str:
        self._source.sign_in()
        try:
            self._page = self._source.page("", Range(range_no=0, axis=Axis.ID), None, limit=1)
        except SystemRefused as refused:
            if refused.status != HTTPStatus.FORBIDDEN:
                raise
            # The system accepts the credentials but refuses the read: the check `scope` reports it.
            self._scope_refusal = refused
            return "the system accepts the client"
        return "the system accepted the credentials"

    def scope(self) -> str:
        if self._scope_refusal is not None:
            raise self._scope_refusal
        return "the declared list may be read"

    def sample(self) -> str:
        if self._page is None or not self._page.records:
            return "the list has no records yet"
        return f"read {self._page.records:,} of its records"
