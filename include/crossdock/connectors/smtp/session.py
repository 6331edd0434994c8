"""
One connection to a mail server, to an address that was checked, within a deadline.

The commands and the quoting of dots are Python's `smtplib`. Its replies are read here: a server may send lines without
end, and one that is not SMTP must not pass for a reply.
"""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import msgspec

from crossdock.connectors.smtp.replies import Reply, Stage, error_of
from crossdock.core.errors import BadRequest, HubError, SystemRefused, SystemUnavailable
from crossdock.http.deadline import Deadline
from crossdock.http.model import Limits
from crossdock.http.ssrf_guard import AllowedNetworks, Resolver, resolve_allowed
from crossdock.http.transport import Tls, connect

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r\n]*))?\r?\n")
#: RFC 5321 4.5.3.1.5 has 512.
_LONGEST_LINE = 4_096
#: Far more than any server's list of extensions.
_MOST_LINES = 200
_SUCCESS = range(200, 300)
_GO_ON = range(300, 400)
_FAILED = 400
_NOT_IMPLEMENTED = 502


class NoReply(OSError):
    """The connection ended, or what came is not a reply of SMTP."""


class Security(StrEnum):
    """How the connection is encrypted."""

    #: From the first byte: `smtps://`.
    TLS = "tls"
    #: After the greeting; a server that does not offer it is not used.
    STARTTLS = "starttls"
    #: Not at all. For a server in a network of our own.
    NONE = "none"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where the mail server is, and how it is reached."""

    system: str
    host: str
    port: int
    security: Security
    limits: Limits
    tls: Tls
    #: Besides public addresses.
    allowed: AllowedNetworks
    #: None uses the operating system's resolver. Tests pass their own.
    resolve: Resolver | None = None


class Session:
    """
    A connection that has greeted and is encrypted; as a context manager it says goodbye and closes.

    Raises:
        SystemUnavailable: the server was not reached, does not offer TLS, or is busy.
        AddressRefused: the host resolves to an address that the connection may not call.

    """

    def __init__(self, server: Server, deadline: Deadline) -> None:
        self._server, self._deadline = server, deadline
        self._smtp = _Smtp(server, deadline)

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._smtp.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # How it ends says nothing of the mail.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            if error is None:
                self._smtp.docmd("QUIT")
            self._smtp.close()

    @property
    def tls_version(self) -> str | None:
        """The version of TLS; None for a connection without it."""
        sock = self._smtp.sock
        return sock.version() if isinstance(sock, ssl.SSLSocket) else None

    @property
    def extensions(self) -> frozenset[str]:
        """What the server offers, by keyword in lower case."""
        return frozenset(self._smtp.esmtp_features)

    @property
    def max_bytes(self) -> int | None:
        """The largest message that the server takes; None if it does not say."""
        size = self._smtp.esmtp_features.get("size", "")
        return int(size) if size.isascii() and size.isdecimal() and int(size) else None

    def login(self, user: str, password: str) -> None:
        """
        Log in, once: a second try with another method might lock the account.

        Raises:
            SystemRefused: the server does not accept the login, or offers none that we know.

        """
        methods = self._smtp.esmtp_features.get("auth", "").upper().split()
        secrets = (password, _base64(password), _base64(f"\0{user}\0{password}"))
        if "PLAIN" in methods:
            reply = self._command(f"AUTH PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}")
        elif "LOGIN" in methods:
            reply = self._command("AUTH LOGIN")
            for word in (user, password):
                if reply.code in _GO_ON:
                    reply = self._command(_base64(word))
        else:
            raise SystemRefused(
                self._server.system,
                _NOT_IMPLEMENTED,
                "the server offers no login with PLAIN or LOGIN",
                protocol="SMTP",
                try_other=True,
            )
        self._require(_SUCCESS, Stage.LOGIN, reply, secrets)

    def begin(self, sender: str, recipients: Sequence[str], size_bytes: int) -> list[HubError]:
        """
        Name sender and recipients, and begin the message; return why some recipients do not get it.

        Raises:
            SystemUnavailable: the server does not take it now, for any of them.
            SystemRefused: it does not take it at all; `replies` says which kind.

        """
        size = f" SIZE={size_bytes}" if "size" in self.extensions else ""
        self._require(_SUCCESS, Stage.SENDER, self._command(f"MAIL FROM:<{sender}>{size}"))
        refused = [error for recipient in recipients if (error := self._refusal_of(recipient))]
        if len(refused) == len(recipients):
            raise next((error for error in refused if isinstance(error, SystemUnavailable)), refused[0])
        self._require(_GO_ON, Stage.DATA, self._command("DATA"))
        return refused

    def write(self, content: bytes) -> None:
        """Send the message without its end: the server has accepted nothing yet."""
        self._smtp.send(_with_dots_quoted(content))

    def finish(self) -> Reply:
        """
        Send the dot that ends the message, and read what became of it.

        Raises:
            NoReply, OSError: nobody knows whether the server has accepted it.
            SystemUnavailable, SystemRefused: it says that it has not.

        """
        self._smtp.send(b".\r\n")
        reply = _reply(*self._smtp.getreply())
        self._require(_SUCCESS, Stage.MESSAGE, reply)
        return reply

    def check_alive(self) -> None:
        """Ask for a reply without any effect."""
        self._require(_SUCCESS, Stage.HELLO, self._command("NOOP"))

    def _open(self) -> None:
        smtp, server = self._smtp, self._server
        self._require(_SUCCESS, Stage.GREETING, _reply(*smtp.connect(server.host, server.port)))
        self._greet()
        if server.security is not Security.STARTTLS:
            return
        if "starttls" not in self.extensions:
            raise SystemUnavailable(
                server.system, f"{server.host} offers no TLS (STARTTLS). Nothing was sent", status=_NOT_IMPLEMENTED
            )
        self._require(_SUCCESS, Stage.TLS, self._command("STARTTLS"))
        smtp.encrypt()
        self._greet()

    def _greet(self) -> None:
        """Say EHLO under our own address: a name would have to be looked up, and says what the machine is called."""
        self._smtp.local_hostname = _literal(self._smtp.sock)
        self._require(_SUCCESS, Stage.HELLO, _reply(*self._smtp.ehlo()))

    def _command(self, line: str) -> Reply:
        if not (line.isascii() and line.isprintable()):
            raise BadRequest("A command to a mail server must be one line of ASCII")
        return _reply(*self._smtp.docmd(line))

    def _refusal_of(self, recipient: str) -> HubError | None:
        try:
            self._require(_SUCCESS, Stage.RECIPIENT, self._command(f"RCPT TO:<{recipient}>"))
        except (SystemUnavailable, SystemRefused) as error:
            return error
        return None

    def _require(self, codes: range, stage: Stage, reply: Reply, secrets: tuple[str, ...] = ()) -> None:
        if reply.code in codes:
            return
        if reply.code < _FAILED:
            raise NoReply(f"{reply.code} is no answer to {stage}")
        raise error_of(self._server.system, stage, reply, secrets=secrets)


class _Smtp(smtplib.SMTP):
    """`smtplib` on a guarded socket."""

    sock: Any

    def __init__(self, server: Server, deadline: Deadline) -> None:
        self._server, self._deadline = server, deadline
        self._context = server.tls.context(server.system) if server.security is not Security.NONE else None
        # Without a name, smtplib would look up that of this machine.
        super().__init__(local_hostname="localhost", timeout=server.limits.timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:  # noqa: ARG002  the deadline says how long
        """Connect to a checked address: the name is not resolved a second time."""
        server = self._server
        addresses = resolve_allowed(
            server.system, host, port, server.allowed, encrypted=self._context is not None, resolve=server.resolve
        )
        sock = connect(addresses, port, min(server.limits.connect_timeout_s, self._deadline.left_s))
        self._deadline.attach(sock)
        sock.settimeout(self._deadline.left_s)
        return self._secured(sock) if server.security is Security.TLS else sock

    def encrypt(self) -> None:
        """Go on over TLS, and forget what the server said in clear text."""
        self.sock = self._secured(self.sock)
        self.file = None
        self.ehlo_resp, self.esmtp_features, self.does_esmtp = None, {}, False

    def getreply(self) -> tuple[int, bytes]:
        """
        Read a whole reply.

        Raises:
            NoReply: what comes is none, or has no end.

        """
        if self.file is None:
            self.file = self.sock.makefile("rb")
        lines: list[bytes] = []
        for _ in range(_MOST_LINES):
            line = self.file.readline(_LONGEST_LINE)
            found = _LINE.fullmatch(line)
            if found is None:
                raise NoReply("the server closed the connection" if not line else "what came is no reply of SMTP")
            lines.append(found[3] or b"")
            if found[2] != b"-":
                return int(found[1]), b"\n".join(lines)
        raise NoReply("the reply has no end")

    def ehlo(self, name: str = "") -> tuple[int, bytes]:
        """Say EHLO, and read the extensions."""
        self.putcmd("ehlo", name or self.local_hostname)
        code, text = self.getreply()
        self.ehlo_resp = text
        self.esmtp_features = _extensions(text.decode("utf-8", "replace")) if code in _SUCCESS else {}
        self.does_esmtp = code in _SUCCESS
        return code, text

    def _secured(self, plain: socket.socket) -> ssl.SSLSocket:
        assert self._context is not None  # noqa: S101  only called where the connection is encrypted
        secure = self._context.wrap_socket(plain, server_hostname=self._server.host, do_handshake_on_connect=False)
        # Before the handshake: a server that drags it out is ended, too.
        self._deadline.attach(secure)
        secure.settimeout(self._deadline.left_s)
        secure.do_handshake()
        return secure


def _reply(code: int, text: bytes) -> Reply:
    return Reply(code, text.decode("utf-8", "replace"))


def _extensions(text: str) -> dict[str, str]:
    """Read the extensions that follow the first line of a reply to EHLO; `AUTH=LOGIN` is an old form of `AUTH LOGIN`."""
    found: dict[str, str] = {}
    for line in text.split("\n")[1:]:
        word, _, rest = line.replace("=", " ", 1).strip().partition(" ")
        found[word.lower()] = f"{found.get(word.lower(), '')} {rest}".strip()
    return found


def _with_dots_quoted(content: bytes) -> bytes:
    """Double each dot at the start of a line: one that stands alone would end the message (RFC 5321 4.5.2)."""
    quoted = re.sub(rb"(?m)^\.", b"..", content)
    return quoted if quoted.endswith(b"\r\n") else quoted + b"\r\n"


def _literal(sock: socket.socket) -> str:
    """Write our own address as RFC 5321 4.1.3 has it."""
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
