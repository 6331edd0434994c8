"""The client of one mail server. It sends messages, whoever wrote them: actions, and whatever else has one to send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple
from urllib.parse import urlsplit

from crossdock.connectors.smtp.replies import Reply
from crossdock.connectors.smtp.session import Security, Server, Session
from crossdock.core.errors import BadRequest, HubError, OutcomeUnknown, SystemRefused, SystemUnavailable
from crossdock.http.call_guard import CallGuard
from crossdock.http.config import ClientConfig, SafeguardsFactory, client_config_of
from crossdock.http.connection import Connection
from crossdock.http.deadline import Deadline
from crossdock.http.model import Limits
from crossdock.http.retries import RetryBudget, with_retries
from crossdock.http.ssrf_guard import AllowedNetworks

KIND = "smtp_relay"
_PORTS = {"smtp": 587, "smtps": 465}
#: 7 bits: every server takes that, whatever it offers.
_POLICY = SMTP.clone(cte_type="7bit", max_line_length=78)
_TOO_LARGE = 552


class Login(NamedTuple):
    user: str
    password: str


class Accepted(NamedTuple):
    """A mail that the server has accepted for one recipient or more."""

    reply: Reply
    #: Why the other recipients do not get it.
    refused: list[HubError]


class Smtp:
    """
    One mail server. Safe for threads: each message has a connection of its own.

    Args:
        url: `smtp://mail.example.com:587` (STARTTLS) or `smtps://mail.example.com:465` (TLS from the first byte).
        name: The integration's ID, for errors and metrics.
        login: None for a server that asks for none.
        config: How it is called.
        limits: Replace those of *config*.
        allow_plain: Send without TLS over `smtp://`. Only to addresses that *config* allows.

    Raises:
        BadRequest: the URL is not valid, or a file of certificates is missing.

    """

    def __init__(
        self,
        url: str,
        *,
        name: str = KIND,
        login: Login | None = None,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
        allow_plain: bool = False,
    ) -> None:
        config = config or ClientConfig()
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise BadRequest(f"The host of the {name} connection is not a URL like smtp://mail.example.com:587")
        self.name, self.url, self.limits = name, url, limits or config.limits
        self._login = login
        self._server = Server(
            system=name,
            host=parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            security=_security(parts.scheme, allow_plain=allow_plain),
            limits=self.limits,
            tls=config.tls,
            allowed=config.allowed_networks or AllowedNetworks.for_host(parts.hostname),
            resolve=config.resolve,
        )
        config.tls.check(name)
        self._guard = CallGuard(config.safeguards)
        self._budget = config.budget or RetryBudget()

    @classmethod
    def of(
        cls,
        connection: Connection,
        share: SafeguardsFactory | None = None,
        *,
        name: str = KIND,
        limits: Limits | None = None,
    ) -> Smtp:
        """
        Connect to the mail server of an Airflow connection.

        The host is its URL; login and password are optional. The extra may have `allow_plain` (true), and what every
        connection may have (`client_config_of`).

        Raises:
            BadRequest: a value is missing or not valid; the message says which.

        """
        connection.require(host=connection.url)
        if bool(connection.login) != bool(connection.password):
            raise BadRequest(f"The connection {connection.connection_id!r} needs both login and password, or neither")
        return cls(
            connection.url,
            name=name,
            login=Login(connection.login, connection.password) if connection.login and connection.password else None,
            config=client_config_of(connection, share),
            limits=limits,
            allow_plain=connection.extra.get("allow_plain") is True,
        )

    @property
    def host(self) -> str:
        return self._server.host

    @property
    def is_encrypted(self) -> bool:
        return self._server.security is not Security.NONE

    def send(self, message: EmailMessage, *, sender: str, recipient: str) -> Reply:
        """Send *message* to one *recipient* and return the server's reply. Raises as `send_to`."""
        return self.send_to(message, sender=sender, recipients=[recipient]).reply

    def send_to(self, message: EmailMessage, *, sender: str, recipients: Sequence[str]) -> Accepted:
        """
        Send *message* once, to all *recipients* that the server takes. What certainly was not accepted is tried again.

        Args:
            message: With its Message-ID.
            sender: Where the server reports what it cannot deliver; an address in ASCII.
            recipients: Addresses in ASCII, at least one.

        Raises:
            OutcomeUnknown: the server may have accepted it: its end was sent, and no reply came.
            SystemUnavailable: it was not accepted. Sending it again later may help.
            SystemRefused, Declined: the server refused it, or every recipient; `replies` says which.
            AddressRefused: the host resolves to an address that the connection may not call.

        """
        content = message.as_bytes(policy=_POLICY)
        in_doubt: list[bool] = []
        try:
            return with_retries(
                lambda is_retry: self._attempt(content, sender, recipients, in_doubt, is_retry=is_retry),
                self.limits,
                self._budget,
                lambda: not in_doubt,
            )
        except Exception as error:
            # Any error: one of another kind would be taken for a reason to try again.
            if not in_doubt:
                raise
            cause = error.what if isinstance(error, SystemUnavailable) else str(error)
            raise OutcomeUnknown(self.name, "the mail", cause) from error

    @contextmanager
    def session(self, *, login: bool = True) -> Iterator[Session]:
        """
        Open a connection, log in unless *login* is false, and close it at the end.

        Raises:
            SystemUnavailable, SystemRefused, AddressRefused: as `send`.

        """
        with (
            Deadline(self.limits.timeout_s) as deadline,
            self._translate_errors(deadline),
            Session(self._server, deadline) as session,
        ):
            if login and self._login:
                session.login(*self._login)
            yield session

    def _attempt(
        self, content: bytes, sender: str, recipients: Sequence[str], in_doubt: list[bool], *, is_retry: bool
    ) -> Accepted:
        with self._guard.attempt(is_retry=is_retry) as attempt:
            self._guard.acquire(attempt, self.limits.longest_wait_s)
            with self.session() as session:
                if session.max_bytes and len(content) > session.max_bytes:
                    raise SystemRefused(
                        self.name,
                        _TOO_LARGE,
                        f"the mail has {len(content):,} bytes, and the server takes {session.max_bytes:,}",
                        protocol="SMTP",
                        try_other=True,
                    )
                refused = session.begin(sender, recipients, len(content))
                session.write(content)
                in_doubt.append(True)
                try:
                    return Accepted(session.finish(), refused)
                except (SystemUnavailable, SystemRefused):
                    # The server says that it has not accepted it.
                    in_doubt.clear()
                    raise

    @contextmanager
    def _translate_errors(self, deadline: Deadline) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"it took longer than {self.limits.timeout_s:g} s" if deadline.passed else _reason(error)
            raise SystemUnavailable(
                self.name, f"no answer from {self._server.host}:{self._server.port}: {why}"
            ) from error


def client_of(integration: str, connection: Connection, share: SafeguardsFactory | None) -> Smtp:
    """
    Create the client of *integration*.

    Raises:
        BadRequest: as `Smtp.of`.

    """
    return Smtp.of(connection, share, name=integration)


def _security(scheme: str, *, allow_plain: bool) -> Security:
    if scheme == "smtps":
        return Security.TLS
    return Security.NONE if allow_plain else Security.STARTTLS


def _reason(error: OSError) -> str:
    # The text of an error of TLS names the library's source file.
    return getattr(error, "verify_message", None) or error.strerror or str(error) or type(error).__name__
