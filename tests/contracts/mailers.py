"""
Each mailer before a system of its own, for the one suite that all of them pass.

A new mailer is one more class here, and its entry in MAILERS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from crossdock.connectors.sendgrid.client import SendGrid
from crossdock.connectors.smtp.client import Login, Smtp
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem
from crossdock.sandbox.smtp.mail_server import FakeMailServer

#: One attempt may take a second, which the tests of a time-out wait for.
IMPATIENT = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.05)
#: What goes wrong with a mail, and whether it can be known to have been accepted. `tests/connectors/test_quality.py` names
#: the faults that each writing action meets.
FAULTS: dict[str, Any] = {
    "timeout_before": {"timeout": "before"},
    "timeout_after": {"timeout": "after"},
    "reset_before": {"reset": "before"},
    "reset_after": {"reset": "after"},
    "html_502_before": {"bad_gateway": "before"},
    "html_502_after": {"bad_gateway": "after"},
    "wrong_type": {"wrong_type": True},
}


class Bench(Protocol):
    """A mail system, and the ways to reach it."""

    #: The integration's ID, and its kind.
    name: str
    kind: str

    def client(self, limits: Limits = IMPATIENT) -> Any:
        """The connector's client, signed in."""
        ...

    def outbox(self) -> list[Mapping[str, str]]:
        """What was accepted: `to`, `subject`, `text` and `html` of each mail."""
        ...

    def fault(self, *script: Any) -> None:
        """What the next mails meet at the moment of their acceptance."""
        ...

    def busy(self) -> None:
        """Refuse the next mails for now, as often as a call is tried."""
        ...

    def refuse_us(self) -> None:
        """Refuse our account."""
        ...

    def connection(self) -> dict[str, Any]:
        """The Airflow connection, whose host is the system's."""
        ...


class Mailer(Protocol):
    name: str
    kind: str

    def bench(self) -> AbstractContextManager[Bench]: ...


class _SmtpBench:
    name, kind = "our_server", "smtp_relay"

    def __init__(self, server: FakeMailServer) -> None:
        self.server = server

    def client(self, limits: Limits = IMPATIENT) -> Smtp:
        return Smtp(
            self.server.smtp_url, name=self.name, login=Login("sandbox", "sandbox"), limits=limits, allow_plain=True
        )

    def outbox(self) -> list[Mapping[str, str]]:
        return [
            {"to": mail["recipient"], **{name: _text(mail[name]) for name in ("subject", "text", "html")}}
            for mail in self.server.outbox.as_document()["mails"]
        ]

    def fault(self, *script: Any) -> None:
        self.server.faults.put("message", list(script))

    def busy(self) -> None:
        self.server.faults.put("message", [{"status": 451}] * IMPATIENT.attempts)

    def refuse_us(self) -> None:
        self.server.faults.put("login", [{"status": 535}], repeat=True)

    def connection(self) -> dict[str, Any]:
        extra = {"allow_plain": True, "allowed_networks": ["127.0.0.0/8"]}
        return {"host": self.server.smtp_url, "login": "sandbox", "password": "sandbox", "extra": json.dumps(extra)}


def _text(found: str | None) -> str:
    """Lines end with CRLF in a message."""
    return (found or "").replace("\r\n", "\n").strip()


class SmtpMailer:
    name = kind = "smtp_relay"

    @contextmanager
    def bench(self) -> Iterator[_SmtpBench]:
        with FakeMailServer() as server:
            yield _SmtpBench(server)


class _SendGridBench:
    name, kind = "sendgrid_eu", "sendgrid"

    def __init__(self, system: FakeMailSystem) -> None:
        self.system = system

    def client(self, limits: Limits = IMPATIENT) -> SendGrid:
        return SendGrid(self.system.url, self.system.api_key, name=self.name, limits=limits)

    def outbox(self) -> list[Mapping[str, str]]:
        return [
            {
                "to": mail["personalizations"][0]["to"][0]["email"],
                "subject": mail["subject"],
                "text": mail["content"][0]["value"],
                "html": mail["content"][1]["value"] if len(mail["content"]) > 1 else "",
            }
            for mail in self.system.outbox
        ]

    def fault(self, *script: Any) -> None:
        self.system.faults.put("send", list(script))

    def busy(self) -> None:
        self.system.faults.put("send", [{"status": 429}] * IMPATIENT.attempts)

    def refuse_us(self) -> None:
        self.system.faults.put("send", [{"status": 401}], repeat=True)

    def connection(self) -> dict[str, Any]:
        extra = json.dumps({"allowed_networks": ["127.0.0.0/8"]})
        return {"host": self.system.url, "password": self.system.api_key, "extra": extra}


class SendGridMailer:
    name = kind = "sendgrid"

    @contextmanager
    def bench(self) -> Iterator[_SendGridBench]:
        with FakeMailSystem() as system:
            yield _SendGridBench(system)


#: Every mailer. The suite runs for each.
MAILERS: list[Mailer] = [SmtpMailer(), SendGridMailer()]


def register(store: Store, *benches: Bench) -> None:
    """Make each an integration of the hub."""
    documents = [
        {"connection_id": bench.name, "conn_type": bench.kind, **bench.connection(), "password": None}
        for bench in benches
    ]
    integration_service.register(store, documents, actor="cli:up")


class Clients:
    """Opens the clients of benches, by the integration's ID."""

    def __init__(self, *benches: Bench) -> None:
        self._benches = {bench.name: bench for bench in benches}

    @contextmanager
    def __call__(self, integration: Integration, _: Manifest) -> Iterator[Any]:
        yield self._benches[integration.integration_id].client()
