"""Payment gateways for tests: a server over real sockets that keeps keys, and the integrations of the hub that call it."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Self

import msgspec
import pytest

from crossdock.commerce.payments import accounts, service
from crossdock.commerce.payments.model import ANY_GATEWAY, Leg, Payment, PaymentRequest
from crossdock.commerce.payments.service import Payments, Request
from crossdock.core.errors import Declined
from crossdock.db.database import Store
from crossdock.http.client import HttpClient
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse
from crossdock.integrations import manifests as manifests_module
from crossdock.integrations import repository
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import Action, Document, Ended
from crossdock.integrations.actions.ports import WriteAction, WriteRequest
from crossdock.integrations.actions.service import OnDone
from crossdock.integrations.attempts.service import OnBegin
from crossdock.integrations.manifests import Manifest, capability_contract
from crossdock.integrations.model import Integration
from crossdock.sandbox.engine import messages
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Response, json_response
from crossdock.sandbox.engine.system import Report, SimulatedSystem

CONTRACT = "crossdock.commerce.payments:gateway.json"
#: A gateway that hangs is waited for.
LIMITS = Limits(timeout_s=2.0, connect_timeout_s=1.0, attempts=2, longest_wait_s=0.05)
A_DAY = {"window_s": 86_400, "replays": "all", "key_max_length": 64, "scope": "account"}
OTTO = "airflow:otto"


class GatewayServer(SimulatedSystem):
    """
    Authorises, captures, voids and refunds, once for each key, and replays its answers.

    The token of the payment method says what happens: `pm_declined`, `pm_blocked_here` (another gateway may take it),
    `pm_asks` (the customer has to act), `pm_asks_unnamed` (too, and the payment has no reference here before), `pm_part` (one
    minor unit of it), `pm_dollars` (the amount, but in USD); all others are authorised.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._lock = threading.Lock()
        self._answers: dict[str, Response] = {}
        #: (action, body) of each effect.
        self.effects: list[tuple[str, dict[str, Any]]] = []
        #: What `find_payment` says instead of what was asked for.
        self.found_otherwise: dict[str, Any] = {}

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        raise NotImplementedError

    def respond(self, request: messages.Request, route: str, fault: Fault) -> Response:  # noqa: ARG002
        with self._lock:
            if request.method == "GET":
                return self._found(request.path.rpartition("/")[2])
            # Without a key, each request is one of its own.
            key = request.headers.get("idempotency-key") or f"request {len(self.requests)}"
            if key not in self._answers:
                self._answers[key] = self._carry_out(request.path.strip("/"), json.loads(request.body))
            return self._answers[key]

    def done(self, action: str) -> list[dict[str, Any]]:
        return [body for name, body in self.effects if name == action]

    def _carry_out(self, action: str, body: dict[str, Any]) -> Response:
        method = body.get("payment_method", "")
        if method in ("pm_declined", "pm_blocked_here"):
            return json_response(402, {"declined": "no_funds", "try_other": method == "pm_blocked_here"})
        if action == "finish" and body["details"].get("result") == "refused":
            return json_response(402, {"declined": "not_authenticated", "try_other": False})
        self.effects.append((action, body))
        ref = f"{self.name}_{action}_{len(self.effects)}"
        output: dict[str, Any] = {"operation_ref": ref, "state": "done"}
        if action in ("authorise", "finish"):
            asks = method.startswith("pm_asks")
            state, url = ("requires_action", "https://bank.test/3ds") if asks else ("authorised", None)
            output |= {"payment_ref": f"pay_{ref}", "state": state, "next_action_url": url}
        if method == "pm_asks_unnamed":
            output |= {"payment_ref": None, "operation_ref": None}
        if action == "finish":
            named = body.get("payment_ref") or f"pay_{ref}"
            output |= {"payment_ref": named, "amount_minor": None, "currency": None}
            output |= {"reference": body["details"].get("of")}
        if "amount_minor" in body:
            amount_minor = 1 if method == "pm_part" else body["amount_minor"]
            output |= {"amount_minor": amount_minor, "currency": "USD" if method == "pm_dollars" else body["currency"]}
        return json_response(200, output)

    def _found(self, reference: str) -> Response:
        for number, (action, body) in enumerate(self.effects, 1):
            if action == "authorise" and body["reference"] == reference:
                stated = {name: body[name] for name in ("amount_minor", "currency")} | self.found_otherwise
                amounts = {"authorised_minor": stated["amount_minor"], "captured_minor": 0, "refunded_minor": 0}
                ref = f"pay_{self.name}_{action}_{number}"
                return json_response(
                    200, {"found": True, "payment_ref": ref, "state": "authorised", **stated, **amounts}
                )
        nothing = {"authorised_minor": 0, "captured_minor": 0, "refunded_minor": 0}
        unknown = dict.fromkeys(("payment_ref", "state", "amount_minor", "currency"))
        return json_response(200, {"found": False, **unknown, **nothing})


@dataclass(frozen=True)
class _Client:
    http: HttpClient


def _decline_of(response: HttpResponse) -> Declined | None:
    if response.status != 402:
        return None
    said = json.loads(response.body)
    return Declined("acme", 402, "declined", code=said["declined"], try_other=said["try_other"])


def _output_of(response: HttpResponse) -> Document:
    found: Document = json.loads(response.body)
    return found


def _write(action: str) -> WriteAction:
    return WriteAction(
        request=lambda _, given: WriteRequest("POST", f"/{action}", dict(given)),
        output_of=_output_of,
        decline_of=_decline_of,
    )


def _find_payment(client: _Client, given: Document) -> Document:
    return client.http.get(f"/payments/{given['reference']}", {}, _output_of)


def _manifest(kind: str, *, keys: bool, needs: Sequence[str]) -> Manifest:
    declared: dict[str, dict[str, Any]] = deepcopy(capability_contract(CONTRACT)["actions"])
    declared["authorise"]["input"]["required"] += needs
    write: dict[str, Any] = (
        {"idempotency": A_DAY, "unknown": "replay"} if keys else {"idempotency": "none", "unknown": "person"}
    )
    return Manifest(
        kind=kind,
        title=kind,
        description="A payment gateway.",
        settings={"properties": {}},
        credentials={"properties": {}, "required": []},
        provides={"payment_gateway": CONTRACT},
        actions=msgspec.convert(
            {
                name: {"run": f"{kind}_actions:{name}", **document, **(write if document["kind"] == "write" else {})}
                for name, document in declared.items()
            },
            dict[str, Action],
        ),
    )


@dataclass
class Gateways:
    """Two gateways or more as integrations of the hub, and the use cases of payments that ask them."""

    store: Store
    servers: Mapping[str, GatewayServer]
    #: The gateway and the action of each call.
    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def payments(self) -> Payments:
        return Payments(self.store, self.perform)

    def perform(
        self,
        integration: str,
        action: str,
        given: Document,
        key: str,
        on_begin: OnBegin,
        *,
        on_done: OnDone | None = None,
    ) -> Ended:
        self.calls.append((integration, action))
        return actions.perform(
            self.store,
            self.open_client,
            integration,
            action,
            given,
            key=key,
            actor=OTTO,
            on_begin=on_begin,
            on_done=on_done,
        )

    def in_thread(self, store: Store) -> Gateways:
        """The same gateways with a database connection of its own."""
        return Gateways(store, self.servers, self.calls)

    def request(
        self, reference: str = "order-4711", method: str = "pm_visa", amount_minor: int = 10_000
    ) -> PaymentRequest:
        return PaymentRequest(
            reference=reference, amount_minor=amount_minor, currency="EUR", payment_methods={ANY_GATEWAY: method}
        )

    def authorise(self, reference: str = "order-4711", method: str = "pm_visa", amount_minor: int = 10_000) -> Payment:
        return service.authorise(self.payments, self.request(reference, method, amount_minor), actor=OTTO)

    def capture(self, payment: Payment, amount_minor: int | None = None, request_key: str = "c1") -> Leg:
        return service.capture(self.payments, Request(payment.payment_id, request_key, OTTO, amount_minor))

    def refund(self, payment: Payment, amount_minor: int | None = None, request_key: str = "r1") -> Leg:
        return service.refund(self.payments, Request(payment.payment_id, request_key, OTTO, amount_minor))

    def void(self, payment: Payment, request_key: str = "v1") -> Leg:
        return service.void(self.payments, Request(payment.payment_id, request_key, OTTO))

    def finish(self, payment: Payment, request_key: str = "f1", **details: str) -> Leg:
        return service.finish(self.payments, Request(payment.payment_id, request_key, OTTO, details=details))

    def fault(self, gateway: str, *script: Any, repeat: bool = False) -> None:
        self.servers[gateway].faults.put("*", list(script), repeat=repeat)

    def effects(self, action: str = "authorise") -> int:
        return sum(len(server.done(action)) for server in self.servers.values())

    @contextmanager
    def open_client(self, integration: Integration, _: Manifest) -> Iterator[_Client]:
        server = self.servers[integration.integration_id]
        yield _Client(HttpClient(integration.integration_id, server.url, limits=LIMITS))


@contextmanager
def connected(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    names: Sequence[str] = ("alpha", "beta"),
    *,
    keys: bool = True,
    needs: Sequence[str] = (),
) -> Iterator[Gateways]:
    """Open a server for each of *names*, and add it to the hub as a gateway of its own kind, which *needs* more fields."""
    connector = ModuleType("gateway_actions")
    for action in ("authorise", "finish", "capture", "void", "refund"):
        setattr(connector, action, _write(action))
    connector.find_payment = _find_payment  # type: ignore[attr-defined]
    for name in names:
        monkeypatch.setitem(sys.modules, f"{name}_actions", connector)
    kinds = {name: _manifest(name, keys=keys, needs=needs) for name in names}
    monkeypatch.setattr(manifests_module, "manifests", lambda: kinds)
    monkeypatch.setattr(service, "manifests", lambda: kinds)
    monkeypatch.setattr(accounts, "manifests", lambda: kinds)
    for name in names:
        _register(store, name)
    servers = {name: GatewayServer(name) for name in names}
    for server in servers.values():
        server.__enter__()
    try:
        yield Gateways(store, servers)
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)


def add_again(store: Store, name: str) -> None:
    """Remove a gateway and add it again, as somebody does who has the key of another account."""
    with store.transaction() as work:
        repository.remove(work, name)
    _register(store, name)


def _register(store: Store, name: str) -> None:
    with store.transaction() as work:
        repository.add(
            work,
            integration_id=name,
            kind=name,
            name=name,
            settings={},
            connection_id=name,
            actor="cli:up",
            with_credentials=False,
            tested=False,
        )
