"""The simulated mail server: SMTP on one port, its outbox and its faults over the control API on another."""

import argparse
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Self

from crossdock.sandbox.engine.control import RouteKey
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem
from crossdock.sandbox.smtp.listener import Listener
from crossdock.sandbox.smtp.outbox import Outbox
from crossdock.sandbox.smtp.protocol import STAGES, Account


class FakeMailServer(SimulatedSystem):
    """
    An offline mail server; as a context manager it listens until the block ends.

    A fault script is put on a stage of the protocol. A `status` is the code of its reply, and `reset`, `timeout` and
    `bad_gateway` (HTML instead of a reply) happen before or after the stage's effect. Some recipients are refused:
    `unknown@…` does not exist, the mailbox of `full@…` is full, and mail to `foreign@…` is not relayed.
    """

    fault_routes = STAGES

    def __init__(
        self,
        *,
        port: int = 0,
        smtp_port: int = 0,
        host: str = LOOPBACK,
        user: str = "sandbox",
        password: str = "sandbox",  # noqa: S107 - the sandbox's own; the command takes it from the environment
        tls: ssl.SSLContext | None = None,
        tls_from_start: bool = False,
        max_bytes: int = 10_000_000,
    ) -> None:
        """
        Take both ports.

        Args:
            port: Of the control API; 0 for any free port.
            smtp_port: Of the mail server; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            user: Who may log in; without a login no mail is taken. Empty for a server without logins.
            password: Its password.
            tls: Offers STARTTLS with this certificate; None offers none.
            tls_from_start: Speak TLS from the first byte instead.
            max_bytes: The largest mail.

        Raises:
            OSError: a port is taken.

        """
        super().__init__(port=port, host=host)
        self.outbox = Outbox()
        account = Account(user, password) if user else None
        self._listener = Listener(
            (host, smtp_port),
            self.faults,
            self.outbox,
            account=account,
            tls=tls,
            tls_from_start=tls_from_start,
            max_bytes=max_bytes,
        )
        self.smtp_port = self._listener.port
        self.smtp_url = f"{'smtps' if tls_from_start else 'smtp'}://{LOOPBACK}:{self.smtp_port}"

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:  # noqa: ARG003 - nothing takes long
        parser.add_argument("--smtp-port", type=int, default=0, help="its password comes from SANDBOX_SMTP_PASSWORD")
        options = parser.parse_args(arguments)
        return cls(
            port=options.port,
            smtp_port=options.smtp_port,
            host=options.host,
            password=os.environ.get("SANDBOX_SMTP_PASSWORD", "sandbox"),
        )

    def respond(self, request: Request, route: str, fault: Fault) -> Response:  # noqa: ARG002 - it has no HTTP but control
        raise Problem(404, f"No route {request.method} {request.path}: mail comes to port {self.smtp_port}.", "General")

    def control_routes(self) -> Mapping[RouteKey, Callable[[Request], dict[str, Any]]]:
        return {
            ("GET", ("outbox",)): lambda _request: self.outbox.as_document(),
            ("DELETE", ("outbox",)): lambda _request: self.outbox.clear(),
        }

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "smtp_port": self.smtp_port, "mails": len(self.outbox)}

    def start(self) -> None:
        super().start()
        self._listener.start()

    def stop(self) -> None:
        self._listener.stop()
        super().stop()
