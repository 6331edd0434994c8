"""The connection test of a mail server. It sends no mail."""

from __future__ import annotations

from crossdock.connectors.smtp.client import Smtp
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.integrations.connection_test import Skipped

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=8.0, connect_timeout_s=4.0, attempts=1)


class SmtpConnectionTest:
    """
    Test one mail server: encryption and login.

    Raises:
        BadRequest: the connection has no host.

    """

    def __init__(self, connection: Connection) -> None:
        self._server = Smtp.of(connection, limits=_QUICK)
        self._has_login = bool(connection.login)
        self.url = self._server.url

    def tls(self) -> str:
        if not self._server.is_encrypted:
            raise Skipped("allow_plain: the connection has no TLS")
        with self._server.session(login=False) as session:
            return f"{session.tls_version}, certified for {self._server.host}"

    def credentials(self) -> str:
        if not self._has_login:
            raise Skipped("the connection has no login")
        with self._server.session():
            return "the server accepts the login"

    def scope(self) -> str:
        raise Skipped("a mail server shows only with a mail which senders it accepts: send a test mail")

    def sample(self) -> str:
        with self._server.session() as session:
            session.check_alive()
            size = f"{session.max_bytes:,} bytes" if session.max_bytes else "any size that it does not say"
            return f"takes mails of {size}"
