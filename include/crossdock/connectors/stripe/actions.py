"""
Actions on Stripe: the payment gateway, and the reads by which it finds out what became of a lost answer.

The provider keeps the first answer of an idempotency key for 24 hours and gives it again, also an HTTP 500, which says
nothing of the effect. So the key resolves most lost answers, and the rest are looked up: an authorisation in the list of
payments by our reference, a capture and a void in the payment, a refund in the payment's refunds. Lists and objects are up to
date at once; the vendor's search is not, and is never used. What is not found stays unknown, for a person, except that a
payment can be captured or voided only once: such a request may be sent again.

Operations: the reference of an authorisation and of a void is that of the payment intent (`pi_…`), that of a capture is
the charge's (`ch_…`), and that of a refund its own (`re_…`). The events have the same (`webhooks`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from crossdock.connectors.stripe.amounts import AmountNotPossible, minor_amount, stripe_amount
from crossdock.connectors.stripe.client import Stripe
from crossdock.connectors.stripe.declines import (
    decline_of_authorisation,
    decline_of_capture,
    decline_of_refund,
    decline_of_void,
)
from crossdock.connectors.stripe.records import (
    CAPTURE_REFERENCE,
    CUSTOMER_REFERENCE,
    REFERENCE,
    Charge,
    PaymentIntent,
    Refund,
    decoded,
    money_of,
)
from crossdock.core.errors import SourceInvalid, SystemRefused
from crossdock.core.paths import path_of
from crossdock.http.response import HttpResponse
from crossdock.integrations.actions.model import Document, InputInvalid
from crossdock.integrations.actions.ports import Effect, ReadBack, Sighting, WriteAction, WriteRequest
from crossdock.integrations.model import FieldError

#: How far back a lost authorisation is looked up: the day in which its key is valid, and one more. What is older is left to
#: a person, since a busy shop has a hundred pages of payments a week.
_LOOK_BACK = timedelta(days=2)
#: State of a payment intent → what it is to the hub.
_STATES = {
    "requires_capture": "authorised",
    "requires_action": "requires_action",
    "processing": "pending",
    "requires_confirmation": "pending",
    "succeeded": "captured",
    "canceled": "voided",
    "requires_payment_method": "declined",
}
_AUTHORISATION_STATES = frozenset({"authorised", "requires_action", "pending"})
#: What holds money, or may still.
_LIVE = frozenset({"captured", "authorised", "requires_action", "pending"})
_REFUND_STATES = {"succeeded": "done", "pending": "pending", "requires_action": "pending"}


def find_payment(account: Stripe, given: Document) -> Document:
    """
    Find the payment with our reference among those since an instant.

    Of several, the one that holds money counts.

    Raises:
        SystemRefused: two of them hold money. Only a person can tell which is right.

    """
    since = datetime.fromisoformat(given["since"])
    found = [
        intent
        for intent in account.intents(int(since.timestamp()))
        if intent.metadata.get(REFERENCE) == given["reference"]
    ]
    live = [intent for intent in found if _state(intent) in _LIVE]
    if len(live) > 1:
        which = ", ".join(intent.id for intent in live)
        raise SystemRefused(
            account.name, HTTPStatus.CONFLICT, f"several payments have the reference {given['reference']}: {which}"
        )
    if not found:
        nothing = {"authorised_minor": 0, "captured_minor": 0, "refunded_minor": 0}
        return {"found": False, "payment_ref": None, "state": None, "amount_minor": None, "currency": None, **nothing}
    intent = (live or found)[0]
    return {
        "found": True,
        "payment_ref": intent.id,
        "state": _state(intent),
        "amount_minor": _minor(account, intent.amount, intent.currency),
        "currency": intent.currency.upper(),
        **_amounts(account, intent),
    }


def finish(account: Stripe, given: Document) -> Document:
    """
    Read what came of the customer's action: the provider's own page or script has confirmed the payment already.

    Raises:
        Declined: the customer failed, or the payment was declined afterwards.

    """
    if "payment_ref" not in given:
        raise InputInvalid("finish", [FieldError("/input/payment_ref", "is required: the payment intent's ID")])
    return account.http.get(_intent_path(given), {}, _finished)


def _finished(response: HttpResponse) -> Document:
    if declined := decline_of_authorisation(response):
        raise declined
    return _authorised(response)


def get_payment(account: Stripe, given: Document) -> Document:
    """Read one payment by the provider's reference, as it is now."""
    query = {"expand[]": "latest_charge"}
    intent = account.http.get(_intent_path(given), query, lambda response: decoded(response, PaymentIntent))
    return {
        "payment_ref": intent.id,
        "state": _state(intent),
        "currency": intent.currency.upper(),
        "capture_ref": intent.charge_id if _state(intent) == "captured" else None,
        "capture_reference": intent.metadata.get(CAPTURE_REFERENCE),
        **_amounts(account, intent),
    }


def get_refunds(account: Stripe, given: Document) -> Document:
    """Read the refunds of one payment."""
    return {"refunds": [_refund_document(account, refund) for refund in account.refunds(given["payment_ref"])]}


def _authorise(_account: Stripe, given: Document) -> WriteRequest:
    form = {
        "amount": _amount(given, "authorise"),
        "currency": given["currency"].lower(),
        "payment_method": given["payment_method"],
        "confirm": "true",
        "capture_method": "manual",
        # Without these the provider would ask for a URL to come back to even where no customer is sent away.
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "always" if "return_url" in given else "never",
        f"metadata[{REFERENCE}]": given["reference"],
    }
    if "return_url" in given:
        form["return_url"] = given["return_url"]
    if "customer_reference" in given:
        form[f"metadata[{CUSTOMER_REFERENCE}]"] = given["customer_reference"]
    return WriteRequest("POST", "/v1/payment_intents", form, form=True)


def _capture(_account: Stripe, given: Document) -> WriteRequest:
    form = {"amount_to_capture": _amount(given, "capture"), f"metadata[{CAPTURE_REFERENCE}]": given["reference"]}
    return WriteRequest("POST", f"{_intent_path(given)}/capture", form, form=True)


def _void(_account: Stripe, given: Document) -> WriteRequest:
    return WriteRequest("POST", f"{_intent_path(given)}/cancel", {}, form=True)


def _refund(_account: Stripe, given: Document) -> WriteRequest:
    form = {
        "payment_intent": given["payment_ref"],
        "amount": _amount(given, "refund"),
        f"metadata[{REFERENCE}]": given["reference"],
    }
    return WriteRequest("POST", "/v1/refunds", form, form=True)


def _authorised(response: HttpResponse) -> Document:
    intent = decoded(response, PaymentIntent)
    state = _known_state(response, intent, _AUTHORISATION_STATES)
    return {
        "payment_ref": intent.id,
        "operation_ref": intent.id,
        "state": state,
        "amount_minor": money_of(response, intent.amount, intent.currency),
        "currency": intent.currency.upper(),
        "next_action_url": intent.next_action_url,
    }


def _captured(response: HttpResponse) -> Document:
    intent = decoded(response, PaymentIntent)
    state = _known_state(response, intent, frozenset({"captured", "pending"}))
    if intent.charge_id is None:
        raise response.invalid("has no charge")
    return {
        "operation_ref": intent.charge_id,
        "state": "done" if state == "captured" else "pending",
        "amount_minor": money_of(response, intent.amount_received, intent.currency),
        "currency": intent.currency.upper(),
    }


def _voided(response: HttpResponse) -> Document:
    intent = decoded(response, PaymentIntent)
    _known_state(response, intent, frozenset({"voided"}))
    return {"operation_ref": intent.id, "state": "done"}


def _refunded(response: HttpResponse) -> Document:
    refund = decoded(response, Refund)
    if refund.status not in _REFUND_STATES:
        raise response.invalid(f"is a refund in the state {refund.status}")
    return {
        "operation_ref": refund.id,
        "state": _REFUND_STATES[refund.status],
        "amount_minor": money_of(response, refund.amount, refund.currency),
        "currency": refund.currency.upper(),
    }


def _judge_authorisation(given: Document, found: Document) -> Sighting:
    """Only what is authorised as asked is certain: where the customer has to act, a list does not say."""
    asked = ("authorised", given["amount_minor"], given["currency"])
    if (found["state"], found["authorised_minor"], found["currency"]) != asked:
        return Sighting(Effect.UNCLEAR)
    output = {
        "payment_ref": found["payment_ref"],
        "operation_ref": found["payment_ref"],
        "state": "authorised",
        "amount_minor": given["amount_minor"],
        "currency": given["currency"],
        "next_action_url": None,
    }
    return Sighting(Effect.VISIBLE, output)


def _judge_capture(given: Document, payment: Document) -> Sighting:
    if payment["state"] == "authorised":
        return Sighting(Effect.ABSENT)
    asked = {
        "capture_reference": given["reference"],
        "captured_minor": given["amount_minor"],
        "currency": given["currency"],
    }
    if payment["state"] != "captured" or any(payment[name] != value for name, value in asked.items()):
        return Sighting(Effect.UNCLEAR)
    output = {
        "operation_ref": payment["capture_ref"],
        "state": "done",
        "amount_minor": given["amount_minor"],
        "currency": given["currency"],
    }
    return Sighting(Effect.VISIBLE, output)


def _judge_void(_given: Document, payment: Document) -> Sighting:
    match payment["state"]:
        case "voided":
            return Sighting(Effect.VISIBLE, {"operation_ref": payment["payment_ref"], "state": "done"})
        case "authorised" | "requires_action":
            return Sighting(Effect.ABSENT)
    return Sighting(Effect.UNCLEAR)


def _judge_refund(given: Document, found: Document) -> Sighting:
    # A payment can be refunded often: a refund that is not there may still come.
    ours = [
        refund
        for refund in found["refunds"]
        if all(refund[name] == given[name] for name in ("reference", "amount_minor", "currency"))
    ]
    if len(ours) != 1 or ours[0]["state"] == "failed":
        return Sighting(Effect.UNCLEAR)
    return Sighting(Effect.VISIBLE, {name: value for name, value in ours[0].items() if name != "reference"})


def _look_up(given: Document) -> Document:
    since = datetime.now(UTC) - _LOOK_BACK
    return {"reference": given["reference"], "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}


def _the_payment(given: Document) -> Document:
    return {"payment_ref": given["payment_ref"]}


AUTHORISE = WriteAction(
    request=_authorise,
    output_of=_authorised,
    decline_of=decline_of_authorisation,
    read_back=ReadBack(input_of=_look_up, judge=_judge_authorisation),
)
CAPTURE = WriteAction(
    request=_capture,
    output_of=_captured,
    decline_of=decline_of_capture,
    read_back=ReadBack(input_of=_the_payment, judge=_judge_capture),
)
VOID = WriteAction(
    request=_void,
    output_of=_voided,
    decline_of=decline_of_void,
    read_back=ReadBack(input_of=_the_payment, judge=_judge_void),
)
REFUND = WriteAction(
    request=_refund,
    output_of=_refunded,
    decline_of=decline_of_refund,
    read_back=ReadBack(input_of=_the_payment, judge=_judge_refund),
)


def _intent_path(given: Document) -> str:
    return path_of("v1", "payment_intents", given["payment_ref"])


def _amount(given: Document, action: str) -> str:
    try:
        return str(stripe_amount(given["amount_minor"], given["currency"]))
    except AmountNotPossible as error:
        raise InputInvalid(action, [FieldError("/input/amount_minor", str(error))]) from error


def _state(intent: PaymentIntent) -> str:
    # A state that was added since: nothing is known of it, and an event or a person will say.
    return _STATES.get(intent.status, "pending")


def _known_state(response: HttpResponse, intent: PaymentIntent, expected: Iterable[str]) -> str:
    state = _STATES.get(intent.status)
    if state is None or state not in expected:
        raise response.invalid(f"is a payment intent in the state {intent.status}")
    return state


def _minor(account: Stripe, amount: int, currency: str) -> int:
    try:
        return minor_amount(amount, currency.upper())
    except AmountNotPossible as error:
        raise SourceInvalid(account.name, "a payment", HTTPStatus.OK, str(error)) from error


def _amounts(account: Stripe, intent: PaymentIntent) -> dict[str, Any]:
    charge = intent.latest_charge
    refunded = charge.refunded if isinstance(charge, Charge) and _state(intent) == "captured" else 0
    stated = {"authorised": intent.amount_capturable, "captured": intent.amount_received, "refunded": refunded}
    return {f"{name}_minor": _minor(account, amount, intent.currency) for name, amount in stated.items()}


def _refund_document(account: Stripe, refund: Refund) -> Document:
    return {
        "operation_ref": refund.id,
        "state": _REFUND_STATES.get(refund.status or "", "failed"),
        "amount_minor": _minor(account, refund.amount, refund.currency),
        "currency": refund.currency.upper(),
        "reference": refund.metadata.get(REFERENCE),
    }
