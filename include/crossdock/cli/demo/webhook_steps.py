"""The steps of the demo with webhooks: three senders' own libraries sign and send, and the hub knows what changed."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.demo.run import DemoRun
from crossdock.cli.demo.sender_libraries import Answer, Delivery, SenderLibraries, Sent
from crossdock.cli.demo.stripe_account import StripeAccount, stripe_account
from crossdock.client.errors import AirflowRefused
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.errors import NotFound
from crossdock.core.ids import prefixed
from crossdock.core.paths import path_of
from crossdock.stack.home import home

_SHOP, _STRIPE = "commercetools", "demo_stripe"
_STREAM = f"{_SHOP}.inventory"
_RECEIVED, _IGNORED, _PAYMENT = (
    "crossdock.webhook.received",
    "crossdock.webhook.ignored",
    "crossdock.payment.reported",
)
_COPIES = 50
_FORM = "application/x-www-form-urlencoded"
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0
_POLL_S = 0.2


def _secret() -> str:
    return secrets.token_hex(16)


def _standard_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


@dataclass(frozen=True)
class _Sender:
    """A sender: its library, the connection with which the hub knows it, and its secret."""

    library: str
    integration: str
    #: The extra of the connection.
    rules: Mapping[str, str]
    new_secret: Callable[[], str]
    secret: str
    #: What it takes for a success.
    status: int = HTTPStatus.ACCEPTED


def _senders() -> dict[str, _Sender]:
    shop = {"dataset": "inventory", "key_path": "sku"}
    # A slash command: the text after `/restocked` is the SKU.
    command = {"dataset": "inventory", "key_path": "text"}
    senders = (
        _Sender("standardwebhooks", _SHOP, {"scheme": "standard", **shop}, _standard_secret, _standard_secret()),
        _Sender("stripe", _STRIPE, {"scheme": "stripe"}, lambda: f"whsec_{_secret()}", f"whsec_{_secret()}"),
        _Sender("slack_sdk", _SHOP, {"scheme": "slack", **command}, _secret, _secret(), HTTPStatus.OK),
    )
    return {sender.library: sender for sender in senders}


class WebhookSteps:
    """The steps with webhooks. The simulated Stripe is removed again by `close`."""

    def __init__(self, run: DemoRun, sandbox: SandboxControl) -> None:
        self._api, self._airflow_url, self._sandbox = run.stack.api(), run.stack.airflow_url, sandbox
        self._hub, self._libraries, self._opened = HubApi(self._api), SenderLibraries(home()), ExitStack()
        self._senders = _senders()
        self._stripe: StripeAccount | None = None

    def close(self) -> None:
        """Remove the simulated Stripe, if a step has connected it."""
        self._opened.close()

    def install(self, bar: Bar) -> str:
        """Install the libraries into a folder of their own; the hub neither needs nor imports them."""
        bar.update("installing the senders' libraries")
        was_missing = self._libraries.install()
        return f"{', '.join(self._libraries.names)}: {'installed from PyPI into' if was_missing else 'already in'} .hub"

    def shop(self, bar: Bar) -> str:
        """Report a change of stock by Standard Webhooks, as a shop does: the record is fetched, without a DAG run."""
        bar.update("a stock level changes at the shop")
        (moved,) = self._sandbox.live(stock_moves=1)["inventory"]
        sent = self._send("standardwebhooks", _changed(moved))
        return f"{_shown(sent)}; {self._event(_RECEIVED, sent)}; {self._fetched(moved)}"

    def payment(self, bar: Bar) -> str:
        """Capture a payment in Stripe's dashboard, past the hub: Stripe's event says so."""
        bar.update(f"connecting {_STRIPE}")
        account = self._account()
        sent = self._send("stripe", account.capture())
        event = self._event(_PAYMENT, sent)
        payment = self._payment_with("captured_minor")
        return f"{_shown(sent)}; {event}; the payment is {payment['state']}: {_money(payment, 'captured_minor')}"

    def command(self, bar: Bar) -> str:
        """Answer Slack's challenge; then somebody in the warehouse types `/restocked SKU`, and the record is fetched."""
        bar.update("a stock level changes at the shop")
        challenge = _secret()
        asked = self._send("slack_sdk", json.dumps({"type": "url_verification", "challenge": challenge}))
        expect(asked.answer.document == {"challenge": challenge}, f"the challenge was answered: {asked.answer.text}")
        (moved,) = self._sandbox.live(stock_moves=1)["inventory"]
        sent = self._send("slack_sdk", _restocked(moved), content_type=_FORM)
        return f"the challenge is answered; {_shown(sent)}; {self._event(_RECEIVED, sent)}; {self._fetched(moved)}"

    def wrong_secret(self, bar: Bar) -> str:
        """Have each library sign with a secret that the hub does not have: nothing is stored, and the answer says why."""
        found: dict[str, str] = {}
        for library, body in self._unused_messages().items():
            bar.update(library)
            sent = self._send(library, body, secret=self._senders[library].new_secret(), status=HTTPStatus.UNAUTHORIZED)
            found[library] = str(sent.answer.document["detail"])
        texts = set(found.values())
        return f"{', '.join(found)}: 401 {' / '.join(sorted(texts))}"

    def unused(self, bar: Bar) -> str:
        """Send what means nothing here, such as a ping, from each: it is accepted, and counted where a person sees it."""
        answers: dict[str, Answer] = {}
        for library, body in self._unused_messages().items():
            bar.update(library)
            sent = self._send(library, body)
            expect(sent.answer.document["ignored"] == 1, f"{library} was answered {sent.answer.text}")
            self._event(_IGNORED, sent)
            answers[library] = sent.answer
        shown = ", ".join(f"{library} {answer.status}" for library, answer in answers.items())
        return f"{shown}; ./hub events status: {self._ignored_today()} {_IGNORED} in the last day"

    def copies(self, bar: Bar) -> str:
        """Send one delivery of each fifty times at once: one event, and one effect."""
        account = self._account()
        (first,), (second,) = (self._sandbox.live(stock_moves=1)["inventory"] for _ in range(2))
        deliveries = (
            ("standardwebhooks", _changed(first), _RECEIVED, "application/json"),
            ("stripe", account.refund(), _PAYMENT, "application/json"),
            ("slack_sdk", _restocked(second), _RECEIVED, _FORM),
        )
        shown = []
        for library, body, event_type, content_type in deliveries:
            bar.update(f"{_COPIES} copies of {library}")
            sent = self._send(library, body, content_type=content_type, copies=_COPIES)
            self._event(event_type, sent)
            shown.append(f"{library} {_counted(sent)}")
        refunded = _money(self._payment_with("refunded_minor"), "refunded_minor")
        self._fetched(first)
        self._fetched(second)
        return f"{'; '.join(shown)}; one event each; refunded once: {refunded}"

    def _send(
        self,
        library: str,
        body: str,
        *,
        secret: str | None = None,
        content_type: str = "application/json",
        copies: int = 1,
        status: int | None = None,
    ) -> Sent:
        """
        Connect the sender, and have its library sign and send; each copy has to be answered with *status*.

        Raises:
            DemoFailed: one was answered otherwise.

        """
        sender = self._senders[library]
        self._connect(sender)
        url = self._airflow_url + path_of("hub", "v1", "webhooks", sender.integration)
        delivery_id = f"demo_{secrets.token_hex(8)}"
        sent = self._libraries.deliver(
            Delivery(library, secret or sender.secret, delivery_id, url, body, content_type, copies)
        )
        expected = status or sender.status
        wrong = [answer for answer in sent.answers if answer.status != expected]
        expect(
            not wrong, f"{library} was answered {wrong[0].status if wrong else ''}: {wrong[0].text if wrong else ''}"
        )
        return sent

    def _connect(self, sender: _Sender) -> None:
        """Give the hub the sender's scheme and secret. One integration has one sender at a time."""
        connection = {
            "connection_id": prefixed(f"{sender.integration}_webhook"),
            "conn_type": "generic",
            "password": sender.secret,
            "extra": json.dumps(sender.rules),
        }
        self._api.put_connection(connection)

    def _account(self) -> StripeAccount:
        if self._stripe is None:
            self._stripe = self._opened.enter_context(stripe_account(self._hub, _STRIPE))
            self._opened.callback(self._disconnect, prefixed(f"{_STRIPE}_webhook"))
        return self._stripe

    def _disconnect(self, connection_id: str) -> None:
        try:
            self._api.delete(path_of("connections", connection_id))
        except AirflowRefused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise

    def _unused_messages(self) -> dict[str, str]:
        return {
            "standardwebhooks": json.dumps({"type": "ping"}),
            "stripe": self._account().unused_event(),
            "slack_sdk": json.dumps(
                {"type": "event_callback", "event_id": f"Ev{_secret()}", "event": {"type": "app_home_opened"}}
            ),
        }

    def _event(self, event_type: str, sent: Sent) -> str:
        """Wait for the event that the hub has of the delivery, and for its subscribers; expect one event."""
        sender_id = sent.answer.document["delivery_id"]

        def found() -> list[dict[str, Any]]:
            events = self._hub.get("/events", type=event_type, latest=True, limit=500).document["events"]
            return [event for event in events if event.get("senderid") == sender_id]

        _wait_until(lambda: bool(found()), f"no event {event_type} of {sender_id} came")
        _wait_until(self._is_delivered, "no worker delivers events: ./hub events status")
        events = found()
        expect(len(events) == 1, f"{len(events)} events of one delivery", "./hub events list --type " + event_type)
        return f"event {events[0]['id']} {event_type}"

    def _is_delivered(self) -> bool:
        found = self._hub.get("/delivery").document["subscribers"]
        return all(subscriber["consumed"] and not subscriber["waiting"] for subscriber in found)

    def _fetched(self, moved: Mapping[str, Any]) -> str:
        """Wait until the hub has the record as the shop has it."""
        look = f"./hub events list --key {moved['sku']}"
        _wait_until(
            lambda: bool(self._rows(moved)), f"the change of {moved['sku']} did not arrive. To look at it: {look}"
        )
        (row,) = self._rows(moved)
        return f"{moved['sku']} fetched: version {row['version']}, {row['available_quantity']} available"

    def _rows(self, moved: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            rows = self._hub.get(path_of("records", _STREAM), key=moved["sku"]).document["records"]
        except NotFound:
            return []
        return [row for row in rows if row["id"] == moved["id"] and row["version"] >= moved["version"]]

    def _payment_with(self, amount: str) -> dict[str, Any]:
        """Wait until the payment has *amount*; expect it once."""
        path = path_of("payments", self._account().payment_id)
        _wait_until(lambda: self._hub.get(path).document["amounts"][amount] > 0, f"the payment has no {amount}")
        payment: dict[str, Any] = self._hub.get(path).document
        expect(
            payment["amounts"][amount] == payment["amount_minor"],
            f"{amount}: {payment['amounts']}",
            f"./hub payments show {payment['payment_id']}",
        )
        return payment

    def _ignored_today(self) -> int:
        volumes = self._hub.get("/delivery").document["volumes"]
        return sum(volume["events"] for volume in volumes if volume["type"] == _IGNORED)


def _changed(moved: Mapping[str, Any]) -> str:
    return json.dumps({"type": "inventory.changed", "sku": moved["sku"]})


def _restocked(moved: Mapping[str, Any]) -> str:
    return urlencode({"command": "/restocked", "text": moved["sku"], "trigger_id": secrets.token_hex(8)})


def _shown(sent: Sent) -> str:
    """Show the signature as its library wrote it, and the answer."""
    name, value = next((name, value) for name, value in sent.headers.items() if "signature" in name.lower())
    return f"{name}: {value[:60]}…; {sent.answer.status}, taken {sent.answer.document['taken']}"


def _counted(sent: Sent) -> str:
    counts = Counter(answer.status for answer in sent.answers)
    text = ", ".join(f"{times} times {status}" for status, times in counts.items())
    busy = sum(answer.attempts > 1 for answer in sent.answers)
    return f"{text} ({busy} at first 503 and sent again)" if busy else text


def _money(payment: Mapping[str, Any], amount: str) -> str:
    return f"{payment['amounts'][amount] / 100:.2f} {payment['currency']}"


def _wait_until(truth: Callable[[], bool], otherwise: str) -> None:
    began = time.monotonic()
    while not truth():
        expect(time.monotonic() - began < _MISSING_AFTER_S, otherwise)
        time.sleep(_POLL_S)
