"""
Stripe's events: what each says about a payment.

Each is the same fact as the answer of the action that it confirms: same kind, same reference of the operation.

| what happened | Stripe's object that gives `operation_ref` |
| --- | --- |
| authorised, waits for the customer, pending, declined; voided | the payment intent, `pi_…` |
| captured | the charge of the intent, `ch_…` |
| refunded, pending, failed | the refund, `re_…` |
| dispute opened, charged back, reversed, closed | the dispute, `dp_…` |

The intent of a partial capture releases the rest, so its event is two facts. An authorisation that expires is booked as a
refund: it is voided. A `charge.refunded` has no refunds in the API
versions since 2022-11-15, and then says nothing that `refund.created` does not. A declined intent has failed for now:
the customer may pay it with another method yet, and then it is authorised. What does not belong to a payment intent was not made by the hub, and is no fact.
Source: https://docs.stripe.com/api/events/types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from crossdock.commerce.payments.events import PAYMENT_REPORTED, FactKind, PaymentFact
from crossdock.connectors.stripe.amounts import minor_amount
from crossdock.connectors.stripe.declines import code_of
from crossdock.connectors.stripe.records import (
    CAPTURE_REFERENCE,
    REFERENCE,
    Charge,
    Dispute,
    PaymentIntent,
    Refund,
)
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, IsEvent, Webhook

T = TypeVar("T")


class Subject(msgspec.Struct, frozen=True):
    #: The object as it was then.
    object: dict[str, Any]


class StripeEvent(msgspec.Struct, frozen=True):
    id: str
    type: str
    #: Seconds; the calendar ends with the year 9999.
    created: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
    data: Subject


prepare(StripeEvent)


class _Said(NamedTuple):
    """What an event says of one operation, in Stripe's units."""

    kind: FactKind
    payment_ref: str
    operation_ref: str
    amount: int | None = None
    currency: str | None = None
    reference: str | None = None
    code: str | None = None
    #: Seconds since 1970.
    due_by: int | None = None


#: What is said by one event's object.
_Reader = Callable[[dict[str, Any]], Sequence[_Said]]

_REFUND_KINDS = {
    "succeeded": FactKind.REFUNDED,
    "pending": FactKind.REFUND_PENDING,
    "requires_action": FactKind.REFUND_PENDING,
    "failed": FactKind.REFUND_FAILED,
    "canceled": FactKind.REFUND_FAILED,
}
#: An inquiry that was closed (`warning_closed`) moved no money. What is closed needs no answer any more.
_CLOSED = {"won": FactKind.CHARGEBACK_REVERSED, "lost": FactKind.CHARGED_BACK}


def _of_intent(kind: FactKind) -> _Reader:
    def read(document: dict[str, Any]) -> Sequence[_Said]:
        intent = _read(document, PaymentIntent)
        failure = intent.last_payment_error if kind is FactKind.AUTHORISATION_FAILED else None
        code = code_of(failure) if failure else None
        reference = intent.metadata.get(REFERENCE)
        return [_Said(kind, intent.id, intent.id, intent.amount, intent.currency, reference, code)]

    return read


def _of_capture(document: dict[str, Any]) -> Sequence[_Said]:
    intent = _read(document, PaymentIntent)
    if intent.charge_id is None:
        return []
    captured = _Said(
        FactKind.CAPTURED,
        intent.id,
        intent.charge_id,
        intent.amount_received,
        intent.currency,
        intent.metadata.get(CAPTURE_REFERENCE),
    )
    released = intent.amount - intent.amount_received
    if released <= 0:
        return [captured]
    return [captured, _Said(FactKind.VOIDED, intent.id, intent.id, released, intent.currency)]


def _of_captured_charge(document: dict[str, Any]) -> Sequence[_Said]:
    charge = _read(document, Charge)
    if charge.payment_intent is None:
        return []
    reference = charge.metadata.get(CAPTURE_REFERENCE)
    said = (charge.payment_intent, charge.id, charge.amount_captured, charge.currency, reference)
    return [_Said(FactKind.CAPTURED, *said)]


def _of_refund(document: dict[str, Any]) -> Sequence[_Said]:
    return _said_of(_read(document, Refund))


def _of_refunded_charge(document: dict[str, Any]) -> Sequence[_Said]:
    refunds = _read(document, Charge).refunds
    return [said for refund in (refunds.data if refunds else ()) for said in _said_of(refund)]


def _said_of(refund: Refund) -> Sequence[_Said]:
    kind = _REFUND_KINDS.get(refund.status or "")
    if kind is None or refund.payment_intent is None:
        return []
    if refund.is_release:
        return [_Said(FactKind.VOIDED, refund.payment_intent, refund.payment_intent, refund.amount, refund.currency)]
    reference = refund.metadata.get(REFERENCE)
    return [
        _Said(kind, refund.payment_intent, refund.id, refund.amount, refund.currency, reference, refund.failure_reason)
    ]


def _of_dispute(kind: FactKind) -> _Reader:
    return lambda document: _said_of_dispute(_read(document, Dispute), kind)


def _of_closed_dispute(document: dict[str, Any]) -> Sequence[_Said]:
    dispute = _read(document, Dispute)
    decided = _CLOSED.get(dispute.status)
    return [
        *(_said_of_dispute(dispute, decided) if decided else ()),
        *_said_of_dispute(dispute, FactKind.DISPUTE_CLOSED),
    ]


def _said_of_dispute(dispute: Dispute, kind: FactKind) -> Sequence[_Said]:
    if dispute.payment_intent is None:
        return []
    said = (kind, dispute.payment_intent, dispute.id, dispute.amount, dispute.currency)
    return [_Said(*said, code=dispute.reason, due_by=dispute.evidence_details.due_by)]


def _meaning(read: _Reader) -> IsEvent:
    def events(delivery: Delivery) -> Sequence[NewEvent]:
        event = _read(delivery.document, StripeEvent)
        said = read(event.data.object)
        return [_event(delivery, event, each, number) for number, each in enumerate(said, start=1)]

    return IsEvent((PAYMENT_REPORTED.name,), events)


def _event(delivery: Delivery, event: StripeEvent, said: _Said, number: int) -> NewEvent:
    currency = said.currency.upper() if said.currency else None
    occurred_at = datetime.fromtimestamp(event.created, UTC)
    fact = PaymentFact(
        gateway=delivery.integration,
        payment_ref=said.payment_ref,
        operation_ref=said.operation_ref,
        kind=said.kind,
        occurred_at=occurred_at,
        amount_minor=minor_amount(said.amount, currency) if said.amount is not None and currency else None,
        currency=currency,
        reference=said.reference,
        code=said.code,
        due_at=datetime.fromtimestamp(said.due_by, UTC) if said.due_by is not None else None,
    )
    return PAYMENT_REPORTED.event(
        fact,
        source=f"/integrations/{delivery.integration}",
        subject=f"payment/{said.payment_ref}",
        time=occurred_at,
        event_id=event.id if number == 1 else f"{event.id}:{number}",
    )


def _read(document: Any, record_type: type[T]) -> T:
    try:
        return msgspec.convert(document, record_type)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The body is not an event of Stripe: {error}") from error


WEBHOOK = Webhook(
    types_of=lambda delivery: [_read(delivery.document, StripeEvent).type],
    message_id=lambda delivery: _read(delivery.document, StripeEvent).id,
    meanings={
        name: _meaning(read)
        for name, read in {
            "payment_intent.processing": _of_intent(FactKind.AUTHORISATION_PENDING),
            "payment_intent.requires_action": _of_intent(FactKind.REQUIRES_ACTION),
            "payment_intent.amount_capturable_updated": _of_intent(FactKind.AUTHORISED),
            "payment_intent.payment_failed": _of_intent(FactKind.AUTHORISATION_FAILED),
            "payment_intent.canceled": _of_intent(FactKind.VOIDED),
            "payment_intent.succeeded": _of_capture,
            "charge.captured": _of_captured_charge,
            "charge.refunded": _of_refunded_charge,
            "charge.refund.updated": _of_refund,
            "refund.created": _of_refund,
            "refund.updated": _of_refund,
            "refund.failed": _of_refund,
            "charge.dispute.created": _of_dispute(FactKind.DISPUTE_OPENED),
            "charge.dispute.closed": _of_closed_dispute,
            "charge.dispute.funds_withdrawn": _of_dispute(FactKind.CHARGED_BACK),
            "charge.dispute.funds_reinstated": _of_dispute(FactKind.CHARGEBACK_REVERSED),
        }.items()
    },
)
