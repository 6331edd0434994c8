"""
Adyen's standard webhooks: each item says what became of one operation on one payment.

`pspReference` names the operation and `originalReference` the payment; for an authorisation both are its `pspReference`.
So an item and the answer of the action are one fact. A dispute has a reference of its own; a second chargeback is an
operation of its own (`<pspReference>.2`), because the first has been reversed by then.
An event's ID and all that decides about money come from the signed fields alone: the same item is the same event, however
often it comes and with whatever other items. `eventDate` and `reason` are not signed.
Items of another merchant account mean nothing here: one URL may get those of a whole company account. Neither do reports
(`REPORT_AVAILABLE`) and all codes that are not in the table; such items are counted as ignored.
Adyen may repeat a capture that failed by itself, and says so in the reason, which is not signed. That can undo a failure of
the same capture, and nothing else: its amount counts once.
Source: the vendor's OpenAPI of webhooks v1, and its pages on captures and why they fail, reversals, refunds and disputes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from crossdock.commerce.payments.events import PAYMENT_REPORTED, FactKind, PaymentFact
from crossdock.connectors.adyen.currencies import iso_amount_minor
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, IsEvent, Webhook

#: `eventCode` → what it means if it succeeded, and if it did not; None if that is no fact about money.
_KINDS: dict[str, tuple[FactKind, FactKind | None]] = {
    "AUTHORISATION": (FactKind.AUTHORISED, FactKind.AUTHORISATION_FAILED),
    "CAPTURE": (FactKind.CAPTURED, FactKind.CAPTURE_FAILED),
    "CAPTURE_FAILED": (FactKind.CAPTURE_FAILED, None),
    "CANCELLATION": (FactKind.VOIDED, FactKind.VOID_FAILED),
    "TECHNICAL_CANCEL": (FactKind.VOIDED, FactKind.VOID_FAILED),
    # The authorisation is over, and so is what was not captured of it.
    "EXPIRE": (FactKind.VOIDED, None),
    "CANCEL_OR_REFUND": (FactKind.REVERSED, None),
    # Another amount of the same payment: the largest counts. Where it was refused, the old one stays.
    "AUTHORISATION_ADJUSTMENT": (FactKind.AUTHORISED, None),
    "REFUND": (FactKind.REFUNDED, FactKind.REFUND_FAILED),
    "REFUND_FAILED": (FactKind.REFUND_FAILED, None),
    "REFUNDED_REVERSED": (FactKind.REFUND_FAILED, None),
    "NOTIFICATION_OF_CHARGEBACK": (FactKind.DISPUTE_OPENED, None),
    "CHARGEBACK": (FactKind.CHARGED_BACK, None),
    "SECOND_CHARGEBACK": (FactKind.CHARGED_BACK, None),
    "CHARGEBACK_REVERSED": (FactKind.CHARGEBACK_REVERSED, None),
}
_FAILURES = frozenset(
    {FactKind.AUTHORISATION_FAILED, FactKind.CAPTURE_FAILED, FactKind.VOID_FAILED, FactKind.REFUND_FAILED}
)
#: Reasons of a capture that Adyen has repeated by itself.
_RECAPTURED = frozenset({"transaction recaptured", "transaction auto-recaptured"})
_OUR_TYPE = "payment"


class Amount(msgspec.Struct, frozen=True):
    value: int
    currency: str


class AdditionalData(msgspec.Struct, frozen=True, rename="camel"):
    #: Of a dispute: until when the shop can defend itself. It is not signed, and only shown.
    defense_period_ends_at: str | None = None


class Item(msgspec.Struct, frozen=True, rename="camel"):
    """One `NotificationRequestItem`. What it says about card and customer is not read."""

    psp_reference: str
    event_code: str
    event_date: Annotated[datetime, msgspec.Meta(tz=True)]
    success: str
    original_reference: str = ""
    merchant_reference: str = ""
    amount: Amount | None = None
    reason: str | None = None
    merchant_account_code: str | None = None
    additional_data: AdditionalData | None = None

    @property
    def is_recapture(self) -> bool:
        done = (self.event_code, self.success) == ("CAPTURE", "true")
        return done and (self.reason or "").lower() in _RECAPTURED

    @property
    def event_id(self) -> str:
        again = ":recaptured" if self.is_recapture else ""
        return f"{self.psp_reference}:{self.event_code}:{self.success}{again}"

    @property
    def kind(self) -> FactKind | None:
        """What it reports; None if that is nothing about the money of a payment."""
        if self.is_recapture:
            return FactKind.RECAPTURED
        done, failed = _KINDS.get(self.event_code, (None, None))
        return done if self.success == "true" else failed


class _Wrapped(msgspec.Struct, frozen=True):
    item: Item = msgspec.field(name="NotificationRequestItem")


class _Notification(msgspec.Struct, frozen=True, rename="camel"):
    notification_items: list[_Wrapped]


prepare(_Notification)


def _types_of(delivery: Delivery) -> Sequence[str]:
    items = _items(delivery)
    known = [_OUR_TYPE] if any(_means(item, delivery) for item in items) else []
    return [*known, *(item.event_code for item in items)]


def _facts(delivery: Delivery) -> Sequence[NewEvent]:
    return list(_events(delivery))


def _ignored_types(delivery: Delivery) -> Sequence[str]:
    return [item.event_code for item in _items(delivery) if not _means(item, delivery)]


def _events(delivery: Delivery) -> Iterator[NewEvent]:
    for item in _items(delivery):
        if item.kind is not None and _means(item, delivery):
            fact = _fact(delivery.integration, item, item.kind)
            yield PAYMENT_REPORTED.event(
                fact,
                source=f"/integrations/{delivery.integration}",
                subject=f"payment/{fact.payment_ref}",
                time=item.event_date,
                event_id=item.event_id,
            )


def _means(item: Item, delivery: Delivery) -> bool:
    """Check whether *item* is a fact about money of the integration's own merchant account."""
    ours, theirs = delivery.settings.get("merchant_account"), item.merchant_account_code
    return item.kind is not None and (ours == theirs or None in (ours, theirs))


def _fact(gateway: str, item: Item, kind: FactKind) -> PaymentFact:
    second = ".2" if item.event_code == "SECOND_CHARGEBACK" else ""
    amount = item.amount
    return PaymentFact(
        gateway=gateway,
        payment_ref=item.original_reference or item.psp_reference,
        operation_ref=f"{item.psp_reference}{second}",
        kind=kind,
        occurred_at=item.event_date,
        amount_minor=_amount_minor(amount) if amount else None,
        currency=amount.currency if amount else None,
        reference=item.merchant_reference or None,
        # The reason of a success has the end of the card's number.
        code=(item.reason or None) if kind in _FAILURES else None,
        due_at=_due_at(item),
    )


def _due_at(item: Item) -> datetime | None:
    text = item.additional_data.defense_period_ends_at if item.additional_data else None
    try:
        due = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return due if due is None or due.tzinfo else due.replace(tzinfo=UTC)


def _amount_minor(amount: Amount) -> int:
    try:
        return iso_amount_minor(amount.value, amount.currency)
    except ValueError as error:
        raise BadRequest(f"The body has an amount that ISO 4217 does not know: {error}") from error


def _items(delivery: Delivery) -> list[Item]:
    try:
        return [wrapped.item for wrapped in _read(delivery.document).notification_items]
    except msgspec.ValidationError as error:
        raise BadRequest(f"The body is not a notification of Adyen: {error}") from error


def _read(document: Any) -> _Notification:
    return msgspec.convert(document, _Notification)


WEBHOOK = Webhook(
    types_of=_types_of, meanings={_OUR_TYPE: IsEvent((PAYMENT_REPORTED.name,), _facts)}, ignored_types=_ignored_types
)
