"""The connection test of a declared system."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.signing import base_url_of
from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.core.errors import HubError, SystemRefused
from crossdock.core.ids import unprefixed
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.integrations.connection_test import Skipped
from crossdock.sync.source import Axis, Range

_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)


class DeclaredConnectionTest:
    """
    Test the system whose declaration has the connection's ID, with the requests that a sync makes.

    Raises:
        NotFound: there is no such declaration.
        BadRequest: the connection lacks a value that the declaration needs.

    """

    def __init__(self, connection: Connection) -> None:
        declaration = files.find(unprefixed(connection.connection_id))
        self.url = base_url_of(declaration, connection)
        self._source = DeclaredSource(declaration, connection, limits=_QUICK)
        self._is_signed = declaration.auth.kind != "none"
        self._has_deltas = declaration.read.changed_since is not None
        self._records = 0
        #: Why the list could not be read: the check that it concerns reports it.
        self._failure: HubError | None = None

    def credentials(self) -> str:
        self._source.sign_in()
        try:
            self._ask_as_a_sync()
        except HubError as error:
            if _status_of(error) == HTTPStatus.UNAUTHORIZED:
                raise
            self._failure = error
        if not self._is_signed:
            raise Skipped("the declaration has no authentication")
        if self._failure is not None and not isinstance(self._failure, SystemRefused):
            raise Skipped("no answer says whether the system accepts them")
        return "the system accepts the credentials"

    def scope(self) -> str:
        if self._failure is not None:
            is_refused = _status_of(self._failure) == HTTPStatus.FORBIDDEN
            raise self._failure if is_refused else Skipped("the list was not read")
        return "the declared list may be read"

    def sample(self) -> str:
        if self._failure is not None:
            raise self._failure
        return f"read {self._records:,} of its records" if self._records else "the list has no records yet"

    def _ask_as_a_sync(self) -> None:
        """Ask for the system's clock, a first page of the declared size, and what changed: what a sync asks for."""
        self._source.describe("", None)
        self._records = self._source.page("", Range(range_no=0, axis=Axis.ID), None).records
        if self._has_deltas:
            now = datetime.now(UTC).isoformat()
            self._source.page("", Range(range_no=0, axis=Axis.TIME, low=now), None)


def _status_of(error: HubError | None) -> int | None:
    return error.status if isinstance(error, SystemRefused) else None
