"""Adyen's webhooks: an item and the answer of the action are one fact, and the same item is the same event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import jsonschema
import msgspec
import pytest

from crossdock.app.event_types import event_types
from crossdock.commerce.payments.amounts import amounts_of
from crossdock.commerce.payments.events import PAYMENT_REPORTED, FactKind, PaymentFact
from crossdock.connectors.adyen.webhooks import WEBHOOK
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.events.webhooks_in.ports import Delivery, IsEvent
from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.service import Receiver, Request, receive
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.adyen.webhooks import notification
from tests.connectors.adyen.payments_of_a_shop import GATEWAY, World, payment
from tests.events.webhooks_in.test_webhooks import WebhookClient, served
from tests.events.worlds import eventually
from tests.shop import query

prepare(PaymentFact)


def receiver_of(adyen: FakeAdyen) -> Receiver:
    settings = {"merchant_account": adyen.merchant_account}
    return Receiver(GATEWAY, WebhookRules(scheme="adyen"), (adyen.outbox.hmac_key,), WEBHOOK, settings)


class Inbox:
    """The hub's webhook, and the platform's items in any order and grouping."""

    def __init__(self, world: World) -> None:
        self.world, self.store = world, world.store

    @property
    def items(self) -> list[dict[str, Any]]:
        return [sending.item for sending in self.world.adyen.outbox.sendings]

    def receive(self, *items: dict[str, Any]) -> str:
        return receive(self.store, receiver_of(self.world.adyen), Request([], notification(list(items)))).delivery_id

    def receive_all(self) -> None:
        for item in self.items:
            self.receive(item)

    def facts(self) -> list[dict[str, Any]]:
        found = query(self.store, "SELECT data FROM event WHERE type = 'crossdock.payment.reported' ORDER BY event_id")
        return [data for (data,) in found]

    def told(self) -> set[tuple[str, str, str]]:
        return {(fact["payment_ref"], fact["operation_ref"], fact["kind"]) for fact in self.facts()}


@pytest.fixture
def inbox(world: World) -> Inbox:
    return Inbox(world)


AMOUNT = {"amount_minor": 1999, "currency": "EUR"}


def test_each_outcome_has_the_references_of_the_answer_and_its_kind(world: World, inbox: Inbox) -> None:
    """Otherwise an answer and its webhook would be two captures."""
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    given = {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}
    captured = world.done("capture", given, key="k-2")["operation_ref"]
    refunded = world.done("refund", given | {"amount_minor": 500}, key="k-3")["operation_ref"]
    failed = world.done("void", {"payment_ref": paid, "reference": "order-4711-2"}, key="k-4")["operation_ref"]
    other = world.done("authorise", payment(reference="order-4712"), key="k-5")["payment_ref"]
    voided = world.done("void", {"payment_ref": other, "reference": "order-4712-1"}, key="k-6")["operation_ref"]
    world.perform("authorise", payment("stored_refused_balance", reference="order-4713"), key="k-7")
    inbox.receive_all()

    refused = inbox.items[-1]["pspReference"]
    assert inbox.told() == {
        (paid, paid, FactKind.AUTHORISED),
        (paid, captured, FactKind.CAPTURED),
        (paid, refunded, FactKind.REFUNDED),
        (paid, failed, FactKind.VOID_FAILED),
        (other, other, FactKind.AUTHORISED),
        (other, voided, FactKind.VOIDED),
        (refused, refused, FactKind.AUTHORISATION_FAILED),
    }
    by_kind = {fact["kind"]: fact for fact in inbox.facts()}
    assert (by_kind["captured"]["amount_minor"], by_kind["captured"]["currency"]) == (1999, "EUR")
    assert by_kind["captured"]["reference"] == "order-4711-1"
    assert by_kind["authorisation_failed"]["code"] == "Not enough balance"


def test_the_reason_of_a_success_is_not_kept(world: World, inbox: Inbox) -> None:
    """It has the last digits of the card and its expiry."""
    world.done("authorise", payment())
    inbox.receive_all()

    assert inbox.items[0]["reason"] == "041622:1111:03/2030"
    assert "1111" not in str(inbox.facts())


@pytest.mark.parametrize(
    ("method", "taken_back"),
    [("stored_capture_fails", "captured_minor"), ("stored_refund_fails", "refunded_minor")],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_failure_after_the_success_takes_it_back_in_any_order(
    world: World, inbox: Inbox, method: str, taken_back: str, *, reverse: bool
) -> None:
    paid = world.done("authorise", payment(method), key="k-1")["payment_ref"]
    given = {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}
    world.done("capture", given, key="k-2")
    if method == "stored_refund_fails":
        world.done("refund", given, key="k-3")
    for item in reversed(inbox.items) if reverse else inbox.items:
        inbox.receive(item)

    (known,) = world.adyen.state.payments.values()
    amounts = amounts_of_inbox(inbox)
    assert getattr(amounts, taken_back) == 0
    assert (amounts.captured_minor, amounts.refunded_minor) == (known.captured, known.refunded)


def amounts_of_inbox(inbox: Inbox) -> Any:
    return amounts_of(msgspec.convert(fact, PaymentFact) for fact in inbox.facts())


def test_a_dispute_takes_the_money_gives_it_back_and_takes_it_again(world: World, inbox: Inbox) -> None:
    """A second chargeback is an operation of its own: the first was reversed, and must not hide it."""
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    world.done("capture", {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}, key="k-2")
    state, charged_back = world.adyen.state, []
    dispute = state.dispute(paid, "NOTIFICATION_OF_CHARGEBACK", None)
    for stage in ("CHARGEBACK", "CHARGEBACK_REVERSED", "SECOND_CHARGEBACK"):
        state.dispute(paid, stage, dispute)
        inbox.receive_all()
        charged_back.append(amounts_of_inbox(inbox).charged_back_minor)

    assert charged_back == [1999, 0, 1999]
    assert (paid, dispute, FactKind.DISPUTE_OPENED) in inbox.told()


def test_a_capture_that_the_platform_repeats_by_itself_is_captured_again(world: World, inbox: Inbox) -> None:
    """Its item differs from the first one in the reason alone: as the same event, the money would be missing here."""
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    given = {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}
    captured = world.done("capture", given, key="k-2")["operation_ref"]
    seen = []
    for step in (lambda: None, world.adyen.state.fail_later, world.adyen.state.recapture):
        step(*([captured] if seen else []))
        inbox.receive_all()
        seen.append(amounts_of_inbox(inbox).captured_minor)

    assert seen == [1999, 0, 1999]
    for order in permutations([msgspec.convert(fact, PaymentFact) for fact in inbox.facts()]):
        assert amounts_of(order).captured_minor == 1999


def test_a_forged_reason_of_a_capture_adds_no_money(world: World, inbox: Inbox) -> None:
    """It is not signed."""
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    world.done("capture", {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}, key="k-2")
    inbox.receive_all()
    inbox.receive({**inbox.items[-1], "reason": "Transaction Recaptured"})

    assert amounts_of_inbox(inbox).captured_minor == 1999


@pytest.mark.parametrize(
    ("code", "captured", "expected"),
    [
        ("TECHNICAL_CANCEL", False, (0, 0)),
        ("EXPIRE", False, (0, 0)),
        ("CANCEL_OR_REFUND", False, (0, 0)),
        ("CANCEL_OR_REFUND", True, (0, 1999)),
    ],
)
def test_the_end_of_a_payment_that_was_not_asked_for_here(
    world: World, inbox: Inbox, code: str, expected: tuple[int, int], *, captured: bool
) -> None:
    """By another program or in the platform's own pages: what is gone can neither be captured nor given back."""
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    if captured:
        world.done("capture", {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}, key="k-2")
    world.adyen.outbox.add(notice(code, "REVERSAL12345678", paid))
    inbox.receive_all()

    for order in permutations([msgspec.convert(fact, PaymentFact) for fact in inbox.facts()]):
        amounts = amounts_of(order)
        assert (amounts.capturable_minor, amounts.refunded_minor) == expected
        assert amounts.refundable_minor == 0


def test_another_amount_of_an_authorisation_is_of_the_same_payment(world: World, inbox: Inbox) -> None:
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    world.adyen.outbox.add(notice("AUTHORISATION_ADJUSTMENT", "ADJUSTMENT123456", paid, 2500))
    inbox.receive_all()

    amounts = amounts_of_inbox(inbox)
    assert (amounts.authorised_minor, amounts.live_authorisations) == (2500, 1)


def test_items_of_another_merchant_account_are_kept_as_ignored(world: World, inbox: Inbox) -> None:
    """One URL may get those of a whole company account. Refused, they would come again for a month."""
    world.adyen.outbox.merchant_account = "AnotherECOM"
    world.adyen.outbox.add(notice("AUTHORISATION", "THEIRS1234567890", ""))
    world.adyen.outbox.merchant_account = world.adyen.merchant_account
    world.done("authorise", payment())
    theirs, ours = inbox.items
    inbox.receive(theirs)
    inbox.receive(theirs, ours)

    assert [fact["payment_ref"] for fact in inbox.facts()] == [ours["pspReference"]]
    assert query(world.store, "SELECT subject FROM event WHERE type = 'crossdock.webhook.ignored'") == [
        # Alone, and beside an item that means something.
        ("message/AUTHORISATION",),
        ("message/AUTHORISATION",),
    ]


def test_a_dispute_has_its_deadline(world: World, inbox: Inbox) -> None:
    world.adyen.outbox.add(notice("NOTIFICATION_OF_CHARGEBACK", "DISPUTE123456789", "PAYMENT123456789"))
    item = inbox.items[0]
    item["additionalData"]["defensePeriodEndsAt"] = "2026-12-24T10:00:00+01:00"
    inbox.receive(item)
    item["additionalData"]["defensePeriodEndsAt"] = "some day"
    inbox.receive({**item, "eventCode": "NOTIFICATION_OF_CHARGEBACK"})

    (fact,) = inbox.facts()
    assert fact["due_at"] == "2026-12-24T10:00:00+01:00"


def notice(code: str, psp_reference: str, original: str, value: int = 1999) -> dict[str, Any]:
    """What the outbox makes an item of."""
    return {
        "eventCode": code,
        "pspReference": psp_reference,
        "originalReference": original,
        "merchantReference": "order-4711",
        "amount": {"currency": "EUR", "value": value},
        "success": "true",
    }


def test_an_item_is_one_event_however_often_and_with_whatever_others_it_comes(world: World, inbox: Inbox) -> None:
    """The platform repeats for up to 30 days what it thinks was lost, and may batch it otherwise."""
    paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
    world.done("capture", {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}, key="k-2")
    authorised, captured = inbox.items

    first = inbox.receive(authorised)
    assert first == inbox.receive(authorised) == f"{paid}:AUTHORISATION:true"
    inbox.receive(authorised, captured)
    inbox.receive(captured, authorised)
    inbox.receive(captured)

    assert len(inbox.facts()) == 2
    assert query(world.store, "SELECT count(*) FROM event") == [(2,)]


def test_an_unsigned_change_of_an_item_makes_no_second_event(world: World, inbox: Inbox) -> None:
    """The date and the reason are not signed, so they must not name an event."""
    world.done("authorise", payment())
    (item,) = inbox.items
    inbox.receive(item)
    inbox.receive({**item, "eventDate": "2027-01-01T00:00:00+01:00", "reason": "other"})

    assert len(inbox.facts()) == 1


def test_one_forged_item_refuses_the_whole_delivery(world: World, inbox: Inbox) -> None:
    world.done("authorise", payment())
    (item,) = inbox.items

    with pytest.raises(WebhookRefused):
        inbox.receive(item, {**item, "amount": {"value": 1, "currency": "EUR"}})
    assert inbox.facts() == []


def test_an_item_that_says_nothing_about_money_is_kept_as_ignored(world: World, inbox: Inbox) -> None:
    """Refused, it would come again for a month; a report is no payment."""
    world.adyen.outbox.add(
        {
            "eventCode": "REPORT_AVAILABLE",
            "pspReference": "settlement_1.csv",
            "merchantReference": "",
            "amount": {"currency": "EUR", "value": 0},
            "success": "true",
        }
    )
    inbox.receive_all()

    assert query(world.store, "SELECT type, subject FROM event") == [
        ("crossdock.webhook.ignored", "message/REPORT_AVAILABLE")
    ]


def test_the_facts_have_the_form_of_their_event_type(world: World, inbox: Inbox) -> None:
    world.done("authorise", payment())
    inbox.receive_all()

    (fact,) = inbox.facts()
    jsonschema.validate(fact, event_types().schema(PAYMENT_REPORTED.name, 1))
    assert query(world.store, "SELECT source, subject, partition_key FROM event") == [
        (f"/integrations/{GATEWAY}", f"payment/{fact['payment_ref']}", fact["payment_ref"])
    ]


def test_a_failure_without_an_amount_says_none() -> None:
    item = {
        "pspReference": "QFQTPCQ8HXSKGK82",
        "originalReference": "9913140798220028",
        "eventCode": "CAPTURE_FAILED",
        "eventDate": "2026-11-29T12:00:00+01:00",
        "success": "true",
        "reason": "Capture Failed",
    }
    fact = fact_of(item)

    assert (fact["kind"], fact["amount_minor"], fact["currency"]) == ("capture_failed", None, None)
    assert fact["code"] == "Capture Failed"


def test_the_platforms_units_become_those_of_iso_4217() -> None:
    assert fact_of(authorisation({"value": 50_000, "currency": "CLP"}))["amount_minor"] == 500
    with pytest.raises(BadRequest, match="ISO 4217"):
        fact_of(authorisation({"value": 50_001, "currency": "CLP"}))


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"notificationItems": [{}]}, {"notificationItems": [{"NotificationRequestItem": {}}]}],
)
def test_what_is_no_notification_is_a_bad_request(document: Any) -> None:
    with pytest.raises(BadRequest, match="not a notification"):
        WEBHOOK.types_of(delivery_of(document))


def test_an_event_date_without_a_zone_is_refused() -> None:
    """It would be ambiguous by hours."""
    with pytest.raises(BadRequest):
        fact_of({**authorisation({"value": 1, "currency": "EUR"}), "eventDate": "2026-11-29T12:00:00"})


@pytest.mark.parametrize(
    "changed",
    [
        {"eventDate": "0001-01-01T00:00:00+14:00"},
        {"amount": {"value": -1, "currency": "EUR"}},
        {"amount": {"value": 10**30, "currency": "EUR"}},
    ],
    ids=str,
)
def test_what_cannot_be_true_is_a_bad_request(changed: dict[str, Any]) -> None:
    """What no table holds would be a dead letter, or the hub's own error."""
    with pytest.raises(BadRequest):
        fact_of(authorisation({"value": 1, "currency": "EUR"}) | changed)


def authorisation(amount: dict[str, Any]) -> dict[str, Any]:
    return {
        "pspReference": "QFQTPCQ8HXSKGK82",
        "eventCode": "AUTHORISATION",
        "eventDate": "2026-11-29T12:00:00+01:00",
        "success": "true",
        "amount": amount,
    }


def delivery_of(document: Any) -> Any:
    return Delivery(GATEWAY, "d-1", datetime.now(UTC), document)


def fact_of(item: dict[str, Any]) -> dict[str, Any]:
    """The only fact of a notification."""
    meaning = WEBHOOK.meanings["payment"]
    assert isinstance(meaning, IsEvent)
    (event,) = meaning.events(delivery_of({"notificationItems": [{"NotificationRequestItem": item}]}))
    fact: dict[str, Any] = json.loads(event.data)
    return fact


class HubOfAdyen(WebhookClient):
    """The real route, with the keys that the connection of the platform would hold."""

    def __init__(self, dsn: str, adyen: FakeAdyen) -> None:
        super().__init__(dsn)
        self.receiver = receiver_of(adyen)

    def _find(self, integration: str) -> Receiver:
        assert integration == GATEWAY
        return self.receiver


@pytest.fixture
def hub(hub_dsn: str, adyen: FakeAdyen) -> Iterator[HubOfAdyen]:
    with served(HubOfAdyen(hub_dsn, adyen)) as opened:
        yield opened


class TestOverASocket:
    def test_an_outcome_reaches_the_hub_and_202_is_accepted(self, world: World, inbox: Inbox, hub: HubOfAdyen) -> None:
        """A status is all that the vendor's document of webhooks asks for; the body is the hub's own."""
        world.adyen.outbox.settings.url = f"http://127.0.0.1:{hub.port}/v1/webhooks/{GATEWAY}"
        world.done("authorise", payment())

        eventually(lambda: [sending.status for sending in world.adyen.outbox.sendings], ["sent"])
        assert [fact["kind"] for fact in inbox.facts()] == ["authorised"]

    def test_what_was_held_comes_later_in_another_order_together_and_again(
        self, world: World, inbox: Inbox, hub: HubOfAdyen
    ) -> None:
        paid = world.done("authorise", payment(), key="k-1")["payment_ref"]
        world.done("capture", {"payment_ref": paid, "reference": "order-4711-1", **AMOUNT}, key="k-2")
        outbox = world.adyen.outbox
        outbox.settings.url = f"http://127.0.0.1:{hub.port}/v1/webhooks/{GATEWAY}"
        assert [sending.status for sending in outbox.sendings] == ["held", "held"]

        assert outbox.release(newest_first=True, together=True) == 2
        assert outbox.release(again=True) == 2

        assert {sending.status for sending in outbox.sendings} == {"sent"}
        assert len(inbox.facts()) == 2

    def test_an_item_with_another_key_is_refused_and_leaves_nothing(
        self, world: World, inbox: Inbox, hub: HubOfAdyen
    ) -> None:
        world.adyen.outbox.hmac_key = "77" * 32
        world.done("authorise", payment())
        world.adyen.outbox.settings.url = f"http://127.0.0.1:{hub.port}/v1/webhooks/{GATEWAY}"

        world.adyen.outbox.release()

        assert [(sending.status, sending.tries) for sending in world.adyen.outbox.sendings] == [("refused", 3)]
        assert inbox.facts() == []
