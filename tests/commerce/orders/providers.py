"""Orders with real connectors on simulated providers: a CRM, a gateway and a mail server, and what their books say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from crossdock.app.orders import Calls, order_flows
from crossdock.commerce.orders.steps import OrderStepName
from crossdock.connectors.hubspot.client import HubSpot
from crossdock.connectors.smtp.client import Login, Smtp
from crossdock.connectors.stripe import Stripe
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.integrations import service as integration_service
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.engine.system import SimulatedSystem
from crossdock.sandbox.hubspot.crm import FakeCrm
from crossdock.sandbox.smtp.mail_server import FakeMailServer
from crossdock.sandbox.stripe.provider import FakeStripe
from tests.commerce.orders.placing import OrderHub

LIMITS = Limits(timeout_s=1.5, connect_timeout_s=1.0, attempts=2, longest_wait_s=0.05)
TOTAL_MINOR = 2_500
#: "Not now", over HTTP and over SMTP.
_BUSY, _MAIL_BUSY = 503, 451


@dataclass(frozen=True)
class Books:
    """What the providers' own books say about all orders together, in minor units."""

    #: What the customers have paid in the end.
    charged: int
    #: What is authorised and neither captured nor released.
    blocked: int
    authorisations: int
    captures: int
    refunds: int
    mails: int


@dataclass
class Providers:
    """The systems that an order calls."""

    stripe: FakeStripe
    crm: FakeCrm
    mail: FakeMailServer

    def called_by(self, step: str) -> SimulatedSystem:
        """The system that a step calls."""
        if step == OrderStepName.CHECK_CUSTOMER:
            return self.crm
        if step == OrderStepName.SEND_CONFIRMATION:
            return self.mail
        return self.stripe

    def fault(self, step: str, fault: Any) -> None:
        """Have one whole call of the step's system end so, with all its attempts; None: it can do nothing at the moment."""
        system = self.called_by(step)
        is_mail = system is self.mail
        busy = {"status": _MAIL_BUSY if is_mail else _BUSY}
        system.faults.put("message" if is_mail else "*", [fault or busy] * LIMITS.attempts)

    def books(self) -> Books:
        moves = [(move["kind"], move["amount"]) for move in self.stripe.state.ledger]

        def total(kind: str) -> int:
            return sum(amount for found, amount in moves if found == kind)

        def count(kind: str) -> int:
            return sum(found == kind for found, _ in moves)

        return Books(
            charged=total("captured") - total("refunded"),
            blocked=total("authorised") - total("captured") - total("released"),
            authorisations=count("authorised"),
            captures=count("captured"),
            refunds=count("refunded"),
            mails=len(self.mail.outbox),
        )

    def charged_by_payment(self) -> list[int]:
        """What each payment took in the end, in the order of their captures."""
        sums: dict[str, int] = {}
        for move in self.stripe.state.ledger:
            sign = {"captured": 1, "refunded": -1}.get(move["kind"], 0)
            sums[move["payment_intent"]] = sums.get(move["payment_intent"], 0) + sign * move["amount"]
        return list(sums.values())

    @contextmanager
    def open_client(self, integration: Integration, _: Manifest) -> Iterator[Any]:
        name = integration.integration_id
        client: Any
        match integration.kind:
            case "stripe":
                client = Stripe(self.stripe.key, base_url=self.stripe.url, name=name, limits=LIMITS)
            case "hubspot":
                client = HubSpot(self.crm.url, self.crm.token, name=name, limits=LIMITS)
            case _:
                login = Login("sandbox", "sandbox")
                client = Smtp(self.mail.smtp_url, name=name, login=login, limits=LIMITS, allow_plain=True)
        yield client


@contextmanager
def provided(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OrderHub, Providers]]:
    """Run the providers, connect them, and have ten mugs."""
    monkeypatch.setenv("HUB_MAIL_FROM", "The Shop <orders@shop.example>")
    settings.cache_clear()
    with ExitStack() as opened:
        opened.callback(settings.cache_clear)
        systems = (FakeStripe(), FakeCrm(), FakeMailServer())
        for system in systems:
            opened.enter_context(system)
        providers = Providers(*systems)
        documents = [
            {"connection_id": "stripe", "conn_type": "stripe", "host": providers.stripe.url},
            {"connection_id": "crm", "conn_type": "hubspot", "host": providers.crm.url},
            {"connection_id": "our_server", "conn_type": "smtp_relay", "host": providers.mail.smtp_url},
        ]
        integration_service.register(store, documents, actor="cli:up")
        hub = OrderHub(store, None, order_flows(lambda: Calls(store, providers.open_client)))  # type: ignore[arg-type]
        hub.stock("mug", 10)
        yield hub, providers
