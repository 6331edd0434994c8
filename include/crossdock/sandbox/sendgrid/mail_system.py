"""The simulated mail system: takes mails as SendGrid's v3 API does, and shows what it took over the control API."""

import argparse
import hmac
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Self

from crossdock.sandbox.engine.control import RouteKey
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.problems import Problem, invalid_input
from crossdock.sandbox.engine.system import LOOPBACK, Report, SimulatedSystem
from crossdock.sandbox.sendgrid.mails import MailInvalid, mail_of
from crossdock.sandbox.sendgrid.webhooks import WebhookSender, events_of

_SEND, _SCOPES = ("v3", "mail", "send"), ("v3", "scopes")
_MAX_BYTES = 30 * 1024 * 1024


class MailProblem(Problem):
    """A refusal in the vendor's form."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(status, message, "error")
        self.body = {"errors": [{"message": message, "field": field}]}


class FakeMailSystem(SimulatedSystem):
    """
    An offline mail system; as a context manager it listens until the block ends.

    Its events say what becomes of each mail: mail to `bounce@…` bounces, mail to `dropped@…` is not tried, that to
    `deferred@…` is delivered late, and `spam@…` takes it for spam.
    """

    fault_routes = ("send", "scopes")

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = LOOPBACK,
        api_key: str = "sandbox",
        scopes: tuple[str, ...] = ("mail.send", "alerts.read"),
        senders: tuple[str, ...] = (),
        webhook_url: str | None = None,
    ) -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            api_key: The key that every request carries.
            scopes: What the key may do.
            senders: The verified senders; empty for any.
            webhook_url: Where events are sent; None for nowhere.

        Raises:
            OSError: the port is taken.

        """
        self.api_key, self._scopes, self._senders = api_key, scopes, senders
        self._mails: list[dict[str, Any]] = []
        self.webhooks = WebhookSender(webhook_url)
        self._lock = threading.Lock()
        super().__init__(port=port, host=host)

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:  # noqa: ARG003 - nothing takes long
        parser.add_argument("--webhook-url", help="where events are sent; its API key comes from SANDBOX_SENDGRID_KEY")
        options = parser.parse_args(arguments)
        return cls(
            port=options.port,
            host=options.host,
            api_key=os.environ.get("SANDBOX_SENDGRID_KEY", "sandbox"),
            webhook_url=options.webhook_url,
        )

    @property
    def outbox(self) -> list[dict[str, Any]]:
        """The mails that were accepted, each as the request had it, with the `message_id` of its answer."""
        with self._lock:
            return list(self._mails)

    def start(self) -> None:
        self.webhooks.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self.webhooks.stop()

    def route_of(self, request: Request) -> str:
        return {_SEND: "send", _SCOPES: "scopes"}.get(tuple(request.parts), super().route_of(request))

    def problem_of(self, status: int) -> Problem:
        return MailProblem(status, f"A fault script set the status {status}.")

    def respond(self, request: Request, route: str, fault: Fault) -> Response:  # noqa: ARG002 - no faults of its own
        self._check_key(request)
        match request.method, route:
            case "POST", "send":
                return self._take(request)
            case "GET", "scopes":
                return json_response(200, {"scopes": list(self._scopes)})
            case _, "send" | "scopes":
                raise MailProblem(405, "method not allowed")
        raise MailProblem(404, "not found")

    def control_routes(self) -> Mapping[RouteKey, Callable[[Request], dict[str, Any]]]:
        return {
            ("GET", ("outbox",)): lambda _request: {"mails": self.outbox},
            ("DELETE", ("outbox",)): lambda _request: self._clear(),
            ("GET", ("webhook",)): lambda _request: self._webhook(),
            ("PUT", ("webhook",)): self._send_to,
            ("POST", ("events",)): lambda _request: self._send_again(),
        }

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "mails": len(self.outbox)}

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.api_key}".encode()):
            raise MailProblem(401, "The provided authorization grant is invalid, expired, or revoked")

    def _take(self, request: Request) -> Response:
        if "mail.send" not in self._scopes:
            raise MailProblem(403, "access forbidden")
        if len(request.body) > _MAX_BYTES:
            raise MailProblem(413, "The mail is larger than 30 MB")
        try:
            mail = mail_of(request.body)
        except MailInvalid as error:
            raise MailProblem(400, error.message, error.field) from error
        sender = mail["from"]["email"]
        if self._senders and sender not in self._senders:
            raise MailProblem(403, "The from address does not match a verified Sender Identity.", "from")
        message_id = uuid.uuid4().hex[:22]
        accepted = {**mail, "message_id": message_id}
        with self._lock:
            self._mails.append(accepted)
        self.webhooks.send(events_of(accepted))
        return Response(202, b"", headers={"X-Message-Id": message_id})

    def _webhook(self) -> dict[str, Any]:
        return {"url": self.webhooks.url, "public_key": self.webhooks.public_key}

    def _send_to(self, request: Request) -> dict[str, Any]:
        """Send events to another URL from now on: `{"url": …}`; null for nowhere."""
        document = request.json()
        url = document.get("url") if isinstance(document, dict) else ""
        if url is not None and not (isinstance(url, str) and url.startswith(("http://", "https://"))):
            raise invalid_input("'url' must be an http or https URL, or null.")
        self.webhooks.url = url
        return self._webhook()

    def _send_again(self) -> dict[str, Any]:
        """Send the events of all accepted mails."""
        mails = self.outbox
        for mail in mails:
            self.webhooks.send(events_of(mail))
        return {"mails": len(mails)}

    def _clear(self) -> dict[str, Any]:
        with self._lock:
            self._mails.clear()
        return {"mails": []}
