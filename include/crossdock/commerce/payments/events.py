"""Facts about payments: what a provider says happened to money, from its answers and from its events."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from crossdock.events.event_type import EventType


class FactKind(StrEnum):
    """What happened. A failure may come after the success that it takes back, and either may come first: see `kinds`."""

    AUTHORISATION_PENDING = "authorisation_pending"
    REQUIRES_ACTION = "requires_action"
    AUTHORISED = "authorised"
    AUTHORISATION_FAILED = "authorisation_failed"
    CAPTURE_PENDING = "capture_pending"
    CAPTURED = "captured"
    CAPTURE_FAILED = "capture_failed"
    #: The provider repeated a capture that had failed, by itself.
    RECAPTURED = "recaptured"
    VOID_PENDING = "void_pending"
    VOIDED = "voided"
    VOID_FAILED = "void_failed"
    REFUND_PENDING = "refund_pending"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    #: Voided if nothing was captured, or else refunded.
    REVERSED = "reversed"
    DISPUTE_OPENED = "dispute_opened"
    #: The money was taken back by the customer's bank.
    CHARGED_BACK = "charged_back"
    #: The dispute was won: the money came back.
    CHARGEBACK_REVERSED = "chargeback_reversed"
    #: It is decided, or was an inquiry only.
    DISPUTE_CLOSED = "dispute_closed"


#: More than any payment has, in the smallest units of any currency; a database holds it.
LARGEST_MINOR = 10**15


class PaymentFact(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that a provider said about one operation on one payment.

    The same fact has the same `operation_ref` and `kind`, whether an answer or an event brought it, and however often.
    """

    #: The integration that said it.
    gateway: str
    #: The provider's reference of the payment, and of the operation on it: the authorisation, a capture, a refund.
    payment_ref: str
    operation_ref: str
    kind: FactKind
    occurred_at: datetime
    #: In minor units by ISO 4217. None where the provider does not say it, as many failures: the operation's other facts do.
    amount_minor: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_MINOR)] | None = None
    currency: str | None = None
    #: Our own reference of the operation; None where the provider does not bring it back.
    reference: str | None = None
    #: The provider's own word for the reason of a failure.
    code: str | None = None
    #: Until when a dispute can be answered; None where the provider does not say it.
    due_at: datetime | None = None


PAYMENT_REPORTED = EventType("crossdock.payment.reported", PaymentFact, key="payment_ref")
