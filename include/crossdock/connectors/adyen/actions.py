"""
Adyen as a payment gateway: authorise with a stored payment method, finish what the customer has to act on, capture, void,
refund.

Adyen replays the answer of an idempotency key, so a lost answer is had again by the same request. No payment can be read:
once the key is forgotten, only a webhook or a person knows. Captures, voids and refunds are answered `received`, and a
webhook says what became of them; the `pspReference` of the answer is the `operation_ref` here and there.
Source: the vendor's OpenAPI of Checkout v71, and its pages on API idempotency, result codes and tokenization.
"""

from __future__ import annotations

from typing import Any

import msgspec

from crossdock.connectors.adyen.client import Adyen
from crossdock.connectors.adyen.currencies import adyen_value, iso_amount_minor
from crossdock.connectors.adyen.refusals import DECISIONS, SETTLED_TYPES, may_try_other
from crossdock.core.errors import Declined
from crossdock.core.paths import path_of
from crossdock.http.response import HttpResponse, redacted
from crossdock.integrations.actions.model import Document, InputInvalid
from crossdock.integrations.actions.ports import WriteAction, WriteRequest
from crossdock.integrations.model import FieldError

_SERVER_ERROR = 500
#: `resultCode` → the state of an authorisation.
_STATES = {
    "Authorised": "authorised",
    "PartiallyAuthorised": "authorised",
    "RedirectShopper": "requires_action",
    "ChallengeShopper": "requires_action",
    "IdentifyShopper": "requires_action",
    "Pending": "pending",
    "Received": "pending",
    "PresentToShopper": "pending",
}


class _Amount(msgspec.Struct, frozen=True):
    value: int
    currency: str


class _CustomerAction(msgspec.Struct, frozen=True):
    url: str | None = None


class _Payment(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a payment, without what it says about the card: the answer of an action is stored for its repetition."""

    result_code: str
    psp_reference: str | None = None
    merchant_reference: str | None = None
    amount: _Amount | None = None
    action: _CustomerAction | None = None
    refusal_reason: str | None = None
    refusal_reason_code: str | None = None


class _Modification(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a capture, void or refund: Adyen has it, and has done nothing yet."""

    psp_reference: str
    status: str
    amount: _Amount | None = None


class _Sent(msgspec.Struct, frozen=True):
    """What a payment asked for, from the request itself: many answers do not repeat it."""

    #: None in what finishes a payment.
    amount: _Amount | None = None


class _ServiceError(msgspec.Struct, frozen=True, rename="camel"):
    error_type: str = ""
    error_code: str | None = None
    message: str = ""


# Made once, here: the API server's threads run actions (core/decoding.py).
_decode_payment = msgspec.json.Decoder(_Payment).decode
_decode_modification = msgspec.json.Decoder(_Modification).decode
_decode_sent = msgspec.json.Decoder(_Sent).decode
_decode_error = msgspec.json.Decoder(_ServiceError).decode


def _amount(action: str, given: Document) -> dict[str, Any]:
    """Build Adyen's amount; one that its units cannot express is an error of the input, found before anything is sent."""
    try:
        value = adyen_value(given["amount_minor"], given["currency"])
    except ValueError as error:
        raise InputInvalid(action, [FieldError("/amount_minor", f"cannot be sent to Adyen: {error}")]) from error
    return {"value": value, "currency": given["currency"]}


def _payment(adyen: Adyen, given: Document) -> WriteRequest:
    """Build a payment by a customer who is there, with a method that Adyen stored, to be captured by us."""
    return_url = given.get("return_url") or adyen.return_url
    problems = []
    if "customer_reference" not in given:
        problems.append(FieldError("/customer_reference", "is required: Adyen stores payment methods by customer"))
    if not return_url:
        problems.append(FieldError("/return_url", "is required, as the integration has no return_url of its own"))
    if problems:
        raise InputInvalid("authorise", problems)
    body = {
        "merchantAccount": adyen.merchant_account,
        "amount": _amount("authorise", given),
        "reference": given["reference"],
        "paymentMethod": {"type": "scheme", "storedPaymentMethodId": given["payment_method"]},
        "shopperReference": given["customer_reference"],
        "shopperInteraction": "ContAuth",
        "recurringProcessingModel": "CardOnFile",
        "returnUrl": return_url,
        # Without it the account's own delay decides, which may be none: the money would move with the authorisation.
        "additionalData": {"manualCapture": "true"},
    }
    return WriteRequest("POST", adyen.path("payments"), body)


def _authorised(response: HttpResponse) -> Document:
    payment = response.decoded(_decode_payment)
    if payment.result_code not in _STATES:
        raise response.invalid(f"its resultCode {payment.result_code!r} is none of a payment's")
    sent = _decode_sent(response.request.body or b"")
    if payment.result_code == "PartiallyAuthorised" and payment.amount is None:
        raise response.invalid("authorises a part and does not say how much")
    amount = payment.amount or sent.amount
    if payment.psp_reference is None and _STATES[payment.result_code] == "authorised":
        raise response.invalid("has no pspReference")
    return {
        # Where the customer has to act first, Adyen may name the payment only later; the webhook brings our reference, too.
        "payment_ref": payment.psp_reference,
        "operation_ref": payment.psp_reference,
        "state": _STATES[payment.result_code],
        **(_iso(response, amount) if amount else {"amount_minor": None, "currency": None}),
        "next_action_url": payment.action.url if payment.action else None,
    }


def _finished(response: HttpResponse) -> Document:
    """Read the answer with the reference: the request names no payment, and what a browser brings may be of another one."""
    return {**_authorised(response), "reference": response.decoded(_decode_payment).merchant_reference}


def _modified(response: HttpResponse) -> Document:
    modification = response.decoded(_decode_modification)
    if modification.status != "received":
        raise response.invalid(f"its status is {modification.status!r}, not 'received'")
    return {"operation_ref": modification.psp_reference, "state": "pending"}


def _modified_amount(response: HttpResponse) -> Document:
    amount = response.decoded(_decode_modification).amount
    if amount is None:
        raise response.invalid("has no amount")
    return {**_modified(response), **_iso(response, amount)}


def _iso(response: HttpResponse, amount: _Amount) -> dict[str, Any]:
    try:
        return {"amount_minor": iso_amount_minor(amount.value, amount.currency), "currency": amount.currency}
    except ValueError as error:
        raise response.invalid(f"has an amount that ISO 4217 does not know: {error}") from error


def _decline_of(response: HttpResponse) -> Declined | None:
    """Read a decision against a payment: an answer with 200 that authorises nothing, or an error that is about the account."""
    try:
        if response.status >= _SERVER_ERROR:
            return _settled(response, _decode_error(response.body))
        payment = _decode_payment(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if payment.result_code not in DECISIONS:
        return None
    code = payment.refusal_reason_code
    reason = redacted(payment.refusal_reason or "no reason was given", response)
    return Declined(
        response.system,
        response.status,
        f"{response.endpoint}: {payment.result_code}: {reason}",
        code=code,
        try_other=may_try_other(payment.result_code, code),
    )


def _settled(response: HttpResponse, error: _ServiceError) -> Declined | None:
    """Read an error of the account that comes as a 500, such as a method that is not configured: another gateway may have it."""
    if error.error_type not in SETTLED_TYPES:
        return None
    message = f"{response.endpoint}: {redacted(error.message, response)}"
    return Declined(response.system, response.status, message, code=error.error_code, try_other=True)


def _modification(adyen: Adyen, given: Document, resource: str, amount: dict[str, Any]) -> WriteRequest:
    path = adyen.path("payments") + path_of(given["payment_ref"], resource)
    return WriteRequest(
        "POST", path, {"merchantAccount": adyen.merchant_account, "reference": given["reference"], **amount}
    )


def _details(adyen: Adyen, given: Document) -> WriteRequest:
    if not given["details"]:
        raise InputInvalid(
            "finish", [FieldError("/input/details", "is empty: Adyen needs what the customer brought back")]
        )
    return WriteRequest("POST", adyen.path("payments/details"), {"details": dict(given["details"])})


AUTHORISE = WriteAction(request=_payment, output_of=_authorised, decline_of=_decline_of)

FINISH = WriteAction(request=_details, output_of=_finished, decline_of=_decline_of)

CAPTURE = WriteAction(
    request=lambda adyen, given: _modification(adyen, given, "captures", {"amount": _amount("capture", given)}),
    output_of=_modified_amount,
    decline_of=_decline_of,
)

VOID = WriteAction(
    request=lambda adyen, given: _modification(adyen, given, "cancels", {}),
    output_of=_modified,
    decline_of=_decline_of,
)

REFUND = WriteAction(
    request=lambda adyen, given: _modification(adyen, given, "refunds", {"amount": _amount("refund", given)}),
    output_of=_modified_amount,
    decline_of=_decline_of,
)
