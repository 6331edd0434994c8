"""The connection test of SendGrid. It sends no mail."""

from __future__ import annotations

from crossdock.connectors.sendgrid.client import SendGrid
from crossdock.core.errors import SystemRefused
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.integrations.connection_test import Skipped

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)
_NEEDED = "mail.send"


class SendGridConnectionTest:
    """
    Test one account: the API key and what it may do.

    Raises:
        BadRequest: the connection has no host or no API key.

    """

    def __init__(self, connection: Connection) -> None:
        self._client = SendGrid.of(connection, limits=_QUICK)
        self.url = connection.url
        self._scopes: list[str] = []

    def credentials(self) -> str:
        self._scopes = self._client.scopes()
        return "SendGrid accepts the API key"

    def scope(self) -> str:
        if _NEEDED not in self._scopes:
            raise SystemRefused(self._client.name, 403, f"the API key has no permission {_NEEDED}. Grant it Mail Send")
        return f"may use {_NEEDED}"

    def sample(self) -> str:
        raise Skipped("a mail system has nothing to read: send a test mail")
