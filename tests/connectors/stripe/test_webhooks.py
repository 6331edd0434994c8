"""Stripe's events, from the sandbox over a real socket: signed, and the same facts as the answers of the actions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from typing import Any

import jsonschema
import msgspec
import pytest

from crossdock.app.event_types import event_types
from crossdock.commerce.payments.amounts import PaymentState, amounts_of, open_dispute_until, state_of
from crossdock.commerce.payments.events import FactKind, PaymentFact
from crossdock.connectors.stripe.webhooks import WEBHOOK
from crossdock.core.errors import BadRequest
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, IsEvent
from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.signatures import verify
from tests.connectors.stripe.cases import CASES, REFERENCE
from tests.connectors.stripe.payments import GATEWAY, Payments
from tests.connectors.stripe.test_actions import output_of

SECRET = "whsec_test"
RULES = WebhookRules(scheme="stripe")


class Receiver(ThreadingHTTPServer):
    """Takes webhooks, refuses the first *refusals* of them, and keeps what it took."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[list[tuple[str, str]], bytes]] = []
        self.refusals = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hooks"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        is_refused, self.server.refusals = self.server.refusals > 0, self.server.refusals - 1
        if not is_refused:
            self.server.taken.append((list(self.headers.items()), body))
        self.send_response(503 if is_refused else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver(payments: Payments) -> Iterator[Receiver]:
    """The provider sends its events here, from now on."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        payments.provider.webhooks.url, payments.provider.webhooks.secret = server.url, SECRET
        yield server
        server.shutdown()
        thread.join()


def events_of(receiver: Receiver, payments: Payments) -> Iterator[NewEvent]:
    """Wait for all of the provider's events, verify each one, and read what it means."""
    sent = payments.provider.webhooks
    while len(receiver.taken) < len(payments.provider.state.events) or not sent._documents.empty():
        threading.Event().wait(0.02)
    for headers, body in receiver.taken:
        delivery_id = verify(RULES, [SECRET], headers, body, now_s=time.time()).id
        yield from meant(json.loads(body), delivery_id)


def meant(document: dict[str, Any], delivery_id: str = "evt_1") -> list[NewEvent]:
    delivery = Delivery(GATEWAY, delivery_id, datetime.now(UTC), document)
    (kind,) = WEBHOOK.types_of(delivery)
    meaning = WEBHOOK.meanings.get(kind)
    return list(meaning.events(delivery)) if isinstance(meaning, IsEvent) else []


def facts_of(receiver: Receiver, payments: Payments) -> list[PaymentFact]:
    return [msgspec.json.decode(event.data, type=PaymentFact) for event in events_of(receiver, payments)]


def told(facts: list[PaymentFact]) -> set[tuple[str, str]]:
    return {(fact.kind.value, fact.operation_ref) for fact in facts}


class TestAnAnswerAndItsEventAreOneFact:
    def test_from_the_authorisation_to_the_refund(self, payments: Payments, receiver: Receiver) -> None:
        """Same kind and same operation, so that the amounts are the same, whichever came."""
        authorised = output_of(payments.perform())
        money = {"payment_ref": authorised["payment_ref"], "currency": "EUR"}
        captured = output_of(
            payments.perform("capture", money | {"reference": "capture-1", "amount_minor": 1999}, key="c")
        )
        refunded = output_of(
            payments.perform("refund", money | {"reference": "return-1", "amount_minor": 500}, key="r")
        )

        facts = facts_of(receiver, payments)

        assert told(facts) == {
            ("authorised", authorised["operation_ref"]),
            ("captured", captured["operation_ref"]),
            ("refunded", refunded["operation_ref"]),
        }
        assert {fact.payment_ref for fact in facts} == {authorised["payment_ref"]}
        assert {fact.gateway for fact in facts} == {GATEWAY}
        references = {fact.kind.value: fact.reference for fact in facts if fact.reference}
        assert references == {"authorised": REFERENCE, "captured": "capture-1", "refunded": "return-1"}
        amounts = amounts_of(facts)
        assert (amounts.authorised_minor, amounts.captured_minor, amounts.refunded_minor) == (1999, 1999, 500)

    def test_of_a_void(self, payments: Payments, receiver: Receiver) -> None:
        authorised = output_of(payments.perform())
        void = CASES["void"].given(authorised["payment_ref"])
        voided = output_of(payments.perform("void", void, key="void-1"))

        facts = facts_of(receiver, payments)

        assert told(facts) == {("authorised", authorised["operation_ref"]), ("voided", voided["operation_ref"])}
        assert amounts_of(facts).capturable_minor == 0

    def test_of_a_part_the_rest_is_released(self, payments: Payments, receiver: Receiver) -> None:
        """It can be captured no more, although the authorisation was of more."""
        authorised = output_of(payments.perform())
        given = {"payment_ref": authorised["payment_ref"], "reference": REFERENCE, "currency": "EUR"}
        output_of(payments.perform("capture", given | {"amount_minor": 500}, key="c"))

        amounts = amounts_of(facts_of(receiver, payments))

        assert (amounts.authorised_minor, amounts.captured_minor, amounts.capturable_minor) == (1999, 500, 0)
        assert amounts.refundable_minor == 500

    def test_of_a_customer_who_has_to_act(self, payments: Payments, receiver: Receiver) -> None:
        three_d_secure = payments.given | {"payment_method": "pm_card_threeDSecure2Required"}
        asked = output_of(payments.perform(given=three_d_secure))
        payments.provider.state.authenticate(asked["payment_ref"], succeeds=False)

        facts = facts_of(receiver, payments)

        assert told(facts) == {
            ("requires_action", asked["operation_ref"]),
            ("authorisation_failed", asked["operation_ref"]),
        }
        assert facts[-1].code == "payment_intent_authentication_failure"
        assert amounts_of(facts).authorised_minor == 0

    def test_of_a_customer_who_fails_and_then_pays_with_another_card(
        self, payments: Payments, receiver: Receiver
    ) -> None:
        """The same intent: it is authorised in the end, and is not to be paid a second time."""
        three_d_secure = payments.given | {"payment_method": "pm_card_threeDSecure2Required"}
        asked = output_of(payments.perform(given=three_d_secure))
        payments.provider.state.authenticate(asked["payment_ref"], succeeds=False)
        intent = payments.provider.state.intents[asked["payment_ref"]]
        intent["payment_method"] = "pm_card_visa"
        payments.provider.state.confirm(intent, {})

        facts = facts_of(receiver, payments)

        assert {fact.kind.value for fact in facts} == {"requires_action", "authorisation_failed", "authorised"}
        assert {state_of(order) for order in permutations(facts)} == {PaymentState.AUTHORISED}

    def test_of_a_decline_with_the_providers_word(self, payments: Payments, receiver: Receiver) -> None:
        payments.perform(given=payments.given | {"payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds"})

        (fact,) = facts_of(receiver, payments)

        assert (fact.kind, fact.code, fact.reference) == (
            FactKind.AUTHORISATION_FAILED,
            "insufficient_funds",
            REFERENCE,
        )

    @pytest.mark.parametrize(
        ("method", "kinds", "refunded_minor"),
        [
            ("pm_card_pendingRefund", {"refund_pending", "refunded"}, 500),
            ("pm_card_refundFail", {"refunded", "refund_failed"}, 0),
        ],
    )
    def test_of_a_refund_that_ends_later(
        self, payments: Payments, receiver: Receiver, method: str, kinds: set[str], refunded_minor: int
    ) -> None:
        """A refund that failed after it was done takes itself back."""
        authorised = output_of(payments.perform(given=payments.given | {"payment_method": method}))
        money = {"payment_ref": authorised["payment_ref"], "reference": REFERENCE, "currency": "EUR"}
        payments.perform("capture", money | {"amount_minor": 1999}, key="c")
        refunded = output_of(payments.perform("refund", money | {"amount_minor": 500}, key="r"))
        payments.provider.state.end_refund(refunded["operation_ref"])

        facts = facts_of(receiver, payments)

        assert {fact.kind for fact in facts if fact.operation_ref == refunded["operation_ref"]} == kinds
        assert amounts_of(facts).refunded_minor == refunded_minor

    @pytest.mark.parametrize(("won", "charged_back"), [(True, 0), (False, 1999)])
    def test_of_a_dispute(self, payments: Payments, receiver: Receiver, won: bool, charged_back: int) -> None:
        given = payments.given | {"payment_method": "pm_card_createDispute"}
        authorised = output_of(payments.perform(given=given))
        payments.perform("capture", CASES["capture"].given(authorised["payment_ref"]), key="c")
        (dispute_id,) = payments.provider.state.disputes
        payments.provider.state.close_dispute(dispute_id, won=won)

        facts = facts_of(receiver, payments)

        of_dispute = {fact.kind.value for fact in facts if fact.operation_ref == dispute_id}
        reversed_or_not = ["chargeback_reversed"] if won else []
        assert of_dispute == {"dispute_opened", "charged_back", "dispute_closed", *reversed_or_not}
        assert all(fact.due_at for fact in facts if fact.kind is FactKind.DISPUTE_OPENED)
        assert amounts_of(facts).charged_back_minor == charged_back

    def test_an_inquiry_moves_no_money(self, payments: Payments, receiver: Receiver) -> None:
        given = payments.given | {"payment_method": "pm_card_createDisputeInquiry"}
        authorised = output_of(payments.perform(given=given))
        payments.perform("capture", CASES["capture"].given(authorised["payment_ref"]), key="c")
        (dispute_id,) = payments.provider.state.disputes
        payments.provider.state.close_dispute(dispute_id, won=False)

        facts = facts_of(receiver, payments)

        of_dispute = {fact.kind.value for fact in facts if fact.operation_ref == dispute_id}
        assert of_dispute == {"dispute_opened", "dispute_closed"}
        assert open_dispute_until(facts) is None
        assert amounts_of(facts).charged_back_minor == 0


def test_a_webhook_that_was_not_taken_comes_again_as_the_same_event(payments: Payments, receiver: Receiver) -> None:
    """The ID is the provider's, so the store keeps it once."""
    receiver.refusals = 1
    payments.perform()
    first = [event.event_id for event in events_of(receiver, payments)]

    for event in payments.provider.state.events.values():
        payments.provider.webhooks.send(event)
    while len(receiver.taken) < 2 * len(payments.provider.state.events):
        threading.Event().wait(0.02)

    again = [event.event_id for event in events_of(receiver, payments)]
    assert set(again) == set(first)
    assert len(again) == 2 * len(first)


def test_a_webhook_signed_with_another_secret_is_refused(payments: Payments, receiver: Receiver) -> None:
    payments.provider.webhooks.secret = "whsec_other"
    payments.perform()

    with pytest.raises(WebhookRefused):
        list(events_of(receiver, payments))


def test_each_event_has_a_type_that_was_declared_and_data_that_match_its_schema(
    payments: Payments, receiver: Receiver
) -> None:
    payments.perform()

    events = list(events_of(receiver, payments))

    assert events
    for event in events:
        jsonschema.validate(json.loads(event.data), event_types().schema(event.type, event.schema_version))
        assert event.partition_key == json.loads(event.data)["payment_ref"]


def stripe_event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "evt_9", "type": kind, "created": 1_790_000_000, "data": {"object": fields}}


CHARGE = {"id": "ch_1", "amount": 1000, "amount_captured": 1000, "amount_refunded": 300, "currency": "eur"}
REFUND = {"id": "re_1", "amount": 300, "currency": "eur", "status": "succeeded", "payment_intent": "pi_1"}


class TestWhatIsNoFact:
    @pytest.mark.parametrize(
        "document",
        [
            stripe_event("charge.captured", **CHARGE),
            stripe_event("refund.created", **REFUND | {"payment_intent": None}),
            stripe_event("refund.updated", **REFUND | {"status": "under_review"}),
            stripe_event("charge.refunded", **CHARGE, payment_intent="pi_1"),
            stripe_event("customer.created", id="cus_1"),
        ],
        ids=["no intent", "no intent of a refund", "unknown state", "no refunds", "unknown type"],
    )
    def test_it_is_no_fact(self, document: dict[str, Any]) -> None:
        """Not made by the hub, or said by another event."""
        assert meant(document) == []

    def test_a_refunded_charge_of_an_older_version_has_its_refunds(self) -> None:
        refunds = {"data": [REFUND, REFUND | {"id": "re_2"}], "has_more": False}
        events = meant(stripe_event("charge.refunded", **CHARGE, payment_intent="pi_1", refunds=refunds))

        assert [json.loads(event.data)["operation_ref"] for event in events] == ["re_1", "re_2"]
        assert [event.event_id for event in events] == ["evt_9", "evt_9:2"]

    @pytest.mark.parametrize(
        "document",
        [
            {"id": "evt_1", "type": "refund.created", "created": 1},
            stripe_event("refund.created", id="re_1"),
            stripe_event("refund.created", **REFUND | {"currency": "doubloons"}),
            stripe_event("refund.created", **REFUND | {"amount": "300"}),
            stripe_event("refund.created", **REFUND | {"amount": -300}),
            stripe_event("refund.created", **REFUND | {"amount": 10**30}),
            stripe_event("refund.created", **REFUND) | {"created": 10**18},
            stripe_event("refund.created", **REFUND) | {"created": -(10**15)},
            [],
        ],
    )
    def test_what_lacks_its_fields_or_cannot_be_true_is_refused(self, document: Any) -> None:
        """Stored half, it would be a wrong amount; what no table holds would be a dead letter, or the hub's own error."""
        with pytest.raises(BadRequest):
            meant(document)

    def test_an_amount_is_in_our_units(self) -> None:
        (event,) = meant(stripe_event("refund.created", **REFUND | {"currency": "isk", "amount": 500}))

        assert json.loads(event.data)["amount_minor"] == 5

    def test_an_authorisation_that_expired_is_voided_and_not_given_back(self) -> None:
        """The provider books its end as a refund, although no money had been taken."""
        (event,) = meant(stripe_event("refund.created", **REFUND | {"reason": "expired_uncaptured_charge"}))

        fact = json.loads(event.data)
        assert (fact["kind"], fact["operation_ref"]) == ("voided", "pi_1")
