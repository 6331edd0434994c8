"""Stripe's objects: the fields that we read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, TypeVar

import msgspec

from crossdock.connectors.stripe.amounts import AmountNotPossible, minor_amount
from crossdock.core.decoding import prepare
from crossdock.http.response import HttpResponse

T = TypeVar("T")

#: Our own reference of a payment or a refund, in the metadata of Stripe's object.
REFERENCE = "crossdock_reference"
#: Our own reference of a capture, which has no metadata of its own: in those of the payment intent.
CAPTURE_REFERENCE = "crossdock_capture_reference"
CUSTOMER_REFERENCE = "crossdock_customer_reference"

Metadata = Mapping[str, str]


class IntentState(msgspec.Struct, frozen=True):
    status: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why something failed: `error` of a refusal, or `last_payment_error` of a payment intent."""

    type: str = ""
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    #: The parameter that is wrong.
    param: str | None = None
    #: What the card network advises: `do_not_try_again`, `try_again_later`, `confirm_card_data`.
    advice_code: str | None = None
    #: The payment as it is, where its state is the reason.
    payment_intent: IntentState | None = None


class Refusal(msgspec.Struct, frozen=True):
    error: Failure


class RedirectToUrl(msgspec.Struct, frozen=True):
    url: str | None = None


class NextAction(msgspec.Struct, frozen=True):
    type: str
    redirect_to_url: RedirectToUrl | None = None


class Refund(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str | None = None
    payment_intent: str | None = None
    metadata: Metadata = {}
    failure_reason: str | None = None
    reason: str | None = None

    @property
    def is_release(self) -> bool:
        """Whether nothing was captured: the provider books the end of an authorisation as a refund."""
        return self.reason == "expired_uncaptured_charge"


class RefundList(msgspec.Struct, frozen=True):
    data: list[Refund] = []
    has_more: bool = False


class Charge(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    amount_captured: int = 0
    amount_refunded: int = 0
    payment_intent: str | None = None
    metadata: Metadata = {}
    #: Only in the API versions before 2022-11-15.
    refunds: RefundList | None = None

    @property
    def refunded(self) -> int:
        """What was refunded. Stripe counts the part that was released by a partial capture as refunded, too."""
        released = self.amount - self.amount_captured
        return max(self.amount_refunded - released, 0)


class PaymentIntent(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str
    amount_capturable: int = 0
    amount_received: int = 0
    #: Its ID, or the charge itself where the request asked for it.
    latest_charge: str | Charge | None = None
    metadata: Metadata = {}
    next_action: NextAction | None = None
    last_payment_error: Failure | None = None

    @property
    def charge_id(self) -> str | None:
        return self.latest_charge.id if isinstance(self.latest_charge, Charge) else self.latest_charge

    @property
    def next_action_url(self) -> str | None:
        """Where the customer has to act; None if nowhere, or in the vendor's own script."""
        action = self.next_action
        return action.redirect_to_url.url if action and action.redirect_to_url else None


class IntentList(msgspec.Struct, frozen=True):
    data: list[PaymentIntent]
    has_more: bool


class EvidenceDetails(msgspec.Struct, frozen=True):
    #: Seconds since 1970; the calendar ends with the year 9999.
    due_by: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)] | None = None


class Dispute(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str
    charge: str
    payment_intent: str | None = None
    reason: str | None = None
    evidence_details: EvidenceDetails = EvidenceDetails()


prepare(Refusal, PaymentIntent, IntentList, Refund, RefundList, Charge, Dispute)


def decoded(response: HttpResponse, record_type: type[T]) -> T:
    """
    Decode a response.

    Raises:
        SourceInvalid: it is not what the vendor documents.

    """
    decode: Callable[[bytes], T] = partial(msgspec.json.decode, type=record_type)
    return response.decoded(decode)


def money_of(response: HttpResponse, amount: int, currency: str) -> int:
    """
    Convert an amount of a response to minor units.

    Raises:
        SourceInvalid: it cannot be that amount.

    """
    try:
        return minor_amount(amount, currency.upper())
    except AmountNotPossible as error:
        raise response.invalid(str(error)) from error
