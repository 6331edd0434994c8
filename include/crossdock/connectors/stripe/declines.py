"""
Stripe's refusals: which are decisions about a payment, and after which of them another provider may be asked.

Source: https://docs.stripe.com/declines/codes and https://docs.stripe.com/error-codes. The rule is the advice that Stripe
gives for a code. Where it says "try again", no bank has decided about this customer, and another provider may reach it.
Everywhere else the bank, or the provider's fraud checks, have decided: another provider would ask the same bank, and
after lost, stolen, pick-up and fraud a second try is held against the shop.

| code | another provider | why |
| --- | --- | --- |
| `approve_with_id`, `issuer_not_available`, `processing_error`, `reenter_transaction`, `try_again_later` | yes | nobody decided |
| `do_not_honor`, `generic_decline`, `call_issuer`, `no_action_taken` | no | the bank decided, and gives no reason |
| `insufficient_funds`, `card_velocity_exceeded`, `withdrawal_count_limit_exceeded` | no | the account's, wherever it is asked |
| `expired_card`, `incorrect_cvc`, `incorrect_number`, `authentication_required` | no | the customer has to change something |
| `fraudulent`, `lost_card`, `stolen_card`, `pickup_card`, `restricted_card`, `security_violation`, `merchant_blacklist` | no | fraud |
| `resource_missing` of the parameter `payment_method` (HTTP 400) | yes | a token is of one vault: nobody here has it |
| every other, and every one with the advice `do_not_try_again` | no | unknown: asking again could harm |
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from crossdock.connectors.stripe.records import Failure, PaymentIntent, Refund, Refusal
from crossdock.core.errors import Declined
from crossdock.http.response import HttpResponse, redacted

T = TypeVar("T")

_TRY_OTHER = frozenset(
    {
        "approve_with_id",
        "issuer_not_available",
        "processing_error",
        "reenter_transaction",
        "resource_missing",
        "try_again_later",
    }
)
_DO_NOT_TRY_AGAIN = "do_not_try_again"
_UNEXPECTED_STATE = "payment_intent_unexpected_state"
_EXPIRED = "charge_expired_for_capture"
_MISSING = "resource_missing"
_CARD_ERROR = "card_error"
_PAYMENT_REQUIRED, _BAD_REQUEST = 402, 400
#: States of a payment intent in a success that say that the payment failed.
_NOT_PAID = frozenset({"requires_payment_method", "canceled"})
_NOT_REFUNDED = frozenset({"failed", "canceled"})


def decline_of(response: HttpResponse) -> Declined | None:
    """Read the decision of a bank or of the provider about a payment; None for every other response."""
    failure = _failure_in(response)
    if failure is None or response.status != _PAYMENT_REQUIRED or failure.type != _CARD_ERROR:
        return None
    return _declined(response, failure)


def decline_of_capture(response: HttpResponse) -> Declined | None:
    """Read a decision about a capture: also that the payment was voided or has expired, and so was never captured."""
    return decline_of(response) or _of_the_state(response, "canceled")


def decline_of_void(response: HttpResponse) -> Declined | None:
    """Read a decision about a void: also that the payment was captured, and so was never voided."""
    return decline_of(response) or _of_the_state(response, "succeeded")


def decline_of_authorisation(response: HttpResponse) -> Declined | None:
    """
    Read a decision about an authorisation, as `decline_of`: also that of a payment intent that was not paid.

    So is a payment method that the account does not have: it is wrong for this payment, and says nothing of the account.
    """
    intent = _success(response, PaymentIntent)
    if intent is None or intent.status not in _NOT_PAID:
        return decline_of(response) or _without_method(response)
    return _declined(response, intent.last_payment_error or Failure(code=intent.status))


def decline_of_refund(response: HttpResponse) -> Declined | None:
    """Read a decision about a refund, as `decline_of`: also that of a refund that failed at once."""
    refund = _success(response, Refund)
    if refund is None or refund.status not in _NOT_REFUNDED:
        return decline_of(response)
    return _declined(response, Failure(code=refund.failure_reason or refund.status))


def code_of(failure: Failure) -> str | None:
    """Choose the more precise of the two codes."""
    return failure.decline_code or failure.code


def _without_method(response: HttpResponse) -> Declined | None:
    failure = _failure_in(response)
    if failure is None or response.status != _BAD_REQUEST:
        return None
    is_missing = (failure.code, failure.param) == (_MISSING, "payment_method")
    return _declined(response, failure) if is_missing else None


def _of_the_state(response: HttpResponse, opposite: str) -> Declined | None:
    """
    Read a refusal for the state of the payment, if that state excludes the effect.

    A state that the effect itself brings about says nothing: an earlier request of ours may have brought it about.
    """
    failure = _failure_in(response)
    if failure is None or response.status != _BAD_REQUEST:
        return None
    is_opposite = failure.payment_intent is not None and failure.payment_intent.status == opposite
    is_final = failure.code == _EXPIRED or (failure.code == _UNEXPECTED_STATE and is_opposite)
    return _declined(response, failure) if is_final else None


def _declined(response: HttpResponse, failure: Failure) -> Declined:
    code = code_of(failure)
    message = redacted(failure.message or f"the payment was refused ({code})", response)
    try_other = code in _TRY_OTHER and failure.advice_code != _DO_NOT_TRY_AGAIN
    return Declined(response.system, response.status, f"{response.endpoint}: {message}", code=code, try_other=try_other)


def _failure_in(response: HttpResponse) -> Failure | None:
    try:
        return msgspec.json.decode(response.body, type=Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _success(response: HttpResponse, record_type: type[T]) -> T | None:
    if not 200 <= response.status < 300:  # noqa: PLR2004  the 2xx of HTTP
        return None
    try:
        return msgspec.json.decode(response.body, type=record_type)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
