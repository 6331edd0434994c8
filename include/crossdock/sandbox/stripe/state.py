"""What the provider has: its objects, its events, and the ledger of what money moved."""

import random
import string
import threading
import time
from collections.abc import Callable

from crossdock.sandbox.stripe.documents import Json, new_charge, new_dispute, new_event, new_intent, new_refund
from crossdock.sandbox.stripe.payment_methods import PAYMENT_METHODS, PaymentMethod
from crossdock.sandbox.stripe.problems import StripeProblem, card_error, invalid, missing, wrong_state

_ALPHABET = string.ascii_letters + string.digits
_CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")


class ProviderState:
    """The objects of the provider by kind and ID, oldest first. Hold `lock` while reading or changing them."""

    def __init__(self, seed: int, url: str, on_event: Callable[[Json], None]) -> None:
        self.lock = threading.RLock()
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.events: dict[str, Json] = {}
        #: Each movement of money, once, in the order in which it happened.
        self.ledger: list[Json] = []
        self._random = random.Random(seed)
        self._url, self._on_event = url, on_event

    def create_intent(self, form: Json) -> Json:
        """Make a payment intent."""
        intent_id = self._new_id("pi")
        intent = new_intent(intent_id, self._text(25), _now(), form)
        self.intents[intent_id] = intent
        self.tell("payment_intent.created", intent)
        return intent

    def confirm(self, intent: Json, form: Json) -> None:
        """
        Try to pay with the intent's payment method: it is authorised, declined, or waits for the customer.

        Raises:
            StripeProblem: the payment was declined.

        """
        card = method_of(intent)
        if card.authenticates:
            intent["status"], intent["next_action"] = "requires_action", self._next_action(intent, form)
            self.tell("payment_intent.requires_action", intent)
            return
        self._authorise(intent, card)

    def authenticate(self, intent_id: str, *, succeeds: bool) -> Json:
        """
        Let the customer of an intent end the authentication.

        Raises:
            StripeProblem: there is no such intent, or it waits for nobody.

        """
        intent = self.intent(intent_id)
        if intent["status"] != "requires_action":
            raise wrong_state(f"The intent is {intent['status']}.", "payment_intent_unexpected_state")
        intent["next_action"] = None
        if succeeds:
            self._authorise(intent, method_of(intent))
        else:
            error = {
                "type": "card_error",
                "code": "payment_intent_authentication_failure",
                "message": "The provided PaymentMethod has failed authentication.",
            }
            intent.update(status="requires_payment_method", last_payment_error=error, payment_method=None)
            self.tell("payment_intent.payment_failed", intent)
        return intent

    def capture(self, intent: Json, amount: int, metadata: Json) -> None:
        """
        Take *amount* of an authorised intent, and release the rest.

        Raises:
            StripeProblem: nothing is authorised, or less than *amount*.

        """
        self._require_state(intent, ("requires_capture",), "captured")
        if amount > intent["amount_capturable"]:
            raise wrong_state(
                f"The amount to capture may be {intent['amount_capturable']} at most.",
                "amount_too_large",
                param="amount_to_capture",
            )
        charge = self.charges[intent["latest_charge"]]
        released = intent["amount"] - amount
        intent["metadata"].update(metadata)
        intent.update(status="succeeded", amount_capturable=0, amount_received=amount)
        # The vendor counts what it releases as refunded.
        charge.update(captured=True, amount_captured=amount, amount_refunded=released)
        charge["balance_transaction"] = self._new_id("txn")
        self._move("captured", charge["id"], charge, amount, intent["metadata"])
        if released:
            self._move("released", charge["id"], charge, released, intent["metadata"])
        self.tell("charge.captured", charge)
        self.tell("payment_intent.succeeded", intent)
        self._dispute(charge)

    def cancel(self, intent: Json, reason: str | None) -> None:
        """
        Release what an intent has reserved, and end it.

        Raises:
            StripeProblem: it is captured or canceled already.

        """
        self._require_state(intent, _CANCELABLE, "canceled")
        if intent["status"] == "requires_capture":
            charge = self.charges[intent["latest_charge"]]
            charge.update(refunded=True, amount_refunded=charge["amount"])
            self._move("released", charge["id"], charge, charge["amount"], intent["metadata"])
        intent.update(status="canceled", amount_capturable=0, canceled_at=_now(), cancellation_reason=reason)
        intent["next_action"] = None
        self.tell("payment_intent.canceled", intent)

    def refund(self, charge: Json, amount: int | None, form: Json) -> Json:
        """
        Give back *amount* of a captured charge, or all that is left.

        Raises:
            StripeProblem: nothing is captured, or less than *amount* is left.

        """
        left = refundable(charge)
        if charge["disputed"] and self._charged_back(charge):
            raise wrong_state(f"Charge {charge['id']} has been charged back.", "charge_disputed")
        if left == 0:
            raise wrong_state(f"Charge {charge['id']} has already been refunded.", "charge_already_refunded")
        amount = left if amount is None else amount
        if amount > left:
            raise wrong_state(
                f"Refund amount is greater than unrefunded amount ({left}).", "amount_too_large", param="amount"
            )
        status = PAYMENT_METHODS[charge["payment_method"]].refund[0]
        refund = new_refund(self._new_id("re"), _now(), charge, amount, status=status, form=form)
        self.refunds[refund["id"]] = refund
        charge["amount_refunded"] += amount
        charge["refunded"] = refundable(charge) == 0
        self._move("refunded", refund["id"], charge, amount, refund["metadata"])
        self.tell("refund.created", refund)
        self.tell("charge.refunded", charge)
        return refund

    def end_refund(self, refund_id: str) -> Json:
        """Bring a refund to the end that its test payment method has."""
        refund = self._found(self.refunds, "refund", refund_id)
        charge = self.charges[refund["charge"]]
        refund["status"] = PAYMENT_METHODS[charge["payment_method"]].refund[1]
        if refund["status"] == "failed":
            refund["failure_reason"] = "expired_or_canceled_card"
            charge["amount_refunded"] -= refund["amount"]
            charge["refunded"] = False
            self._move("refund_failed", refund_id, charge, refund["amount"], refund["metadata"])
            self.tell("refund.failed", refund)
        self.tell("refund.updated", refund)
        return refund

    def close_dispute(self, dispute_id: str, *, won: bool) -> Json:
        """Decide a dispute; a won one brings the money back."""
        dispute = self._found(self.disputes, "dispute", dispute_id)
        is_inquiry = dispute["status"].startswith("warning")
        dispute["status"] = "warning_closed" if is_inquiry else "won" if won else "lost"
        charge = self.charges[dispute["charge"]]
        if won and not is_inquiry:
            self._move("reinstated", dispute_id, charge, dispute["amount"], charge["metadata"])
            self.tell("charge.dispute.funds_reinstated", dispute)
        self.tell("charge.dispute.closed", dispute)
        return dispute

    def intent(self, intent_id: str, param: str | None = None) -> Json:
        """
        Find a payment intent, by the ID in the path, or that of the parameter *param*.

        Raises:
            StripeProblem: there is none.

        """
        return self._found(self.intents, "payment_intent", intent_id, param)

    def charge(self, charge_id: str, param: str) -> Json:
        """Find a charge, as `intent`."""
        return self._found(self.charges, "charge", charge_id, param)

    def tell(self, kind: str, about: Json) -> None:
        """Keep an event and pass it on."""
        copied = {**about, "metadata": dict(about["metadata"])}
        event = new_event(self._new_id("evt"), _now(), kind, copied, None)
        self.events[event["id"]] = event
        self._on_event(event)

    def _authorise(self, intent: Json, card: PaymentMethod) -> None:
        charge = new_charge(self._new_id("ch"), _now(), intent, card)
        self.charges[charge["id"]] = charge
        intent["latest_charge"] = charge["id"]
        if card.error:
            raise self._declined(intent, charge, card)
        if intent["capture_method"] == "manual":
            intent.update(status="requires_capture", amount_capturable=intent["amount"])
            self._move("authorised", charge["id"], charge, intent["amount"], intent["metadata"])
            self.tell("charge.succeeded", charge)
            self.tell("payment_intent.amount_capturable_updated", intent)
            return
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        self.capture(intent, intent["amount"], {})

    def _declined(self, intent: Json, charge: Json, card: PaymentMethod) -> StripeProblem:
        """End a payment as declined; the intent stays, and may be paid otherwise."""
        problem = card_error(
            card.message,
            str(card.error),
            decline_code=card.decline,
            charge=charge["id"],
        )
        intent.update(
            status="requires_payment_method", last_payment_error=dict(problem.body["error"]), payment_method=None
        )
        problem.body["error"]["payment_intent"] = {**intent}
        self.tell("charge.failed", charge)
        self.tell("payment_intent.payment_failed", intent)
        return problem

    def _dispute(self, charge: Json) -> None:
        """Open the dispute that the test payment method has."""
        card = PAYMENT_METHODS[charge["payment_method"]]
        if card.dispute is None:
            return
        dispute = new_dispute(self._new_id("dp"), _now(), charge, card)
        self.disputes[dispute["id"]] = dispute
        charge["disputed"] = True
        self.tell("charge.dispute.created", dispute)
        if not card.inquiry:
            self._move("charged_back", dispute["id"], charge, dispute["amount"], charge["metadata"])
            self.tell("charge.dispute.funds_withdrawn", dispute)

    def _charged_back(self, charge: Json) -> bool:
        closed = ("won", "warning_closed", "warning_needs_response")
        return any(d["charge"] == charge["id"] and d["status"] not in closed for d in self.disputes.values())

    def _next_action(self, intent: Json, form: Json) -> Json:
        if not form.get("return_url"):
            return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
        redirect = {"return_url": form["return_url"], "url": f"{self._url}/3d_secure/{intent['id']}"}
        return {"type": "redirect_to_url", "redirect_to_url": redirect}

    def _move(self, kind: str, operation: str, charge: Json, amount: int, metadata: Json) -> None:
        self.ledger.append(
            {
                "kind": kind,
                "operation": operation,
                "payment_intent": charge["payment_intent"],
                "amount": amount,
                "currency": charge["currency"],
                "metadata": dict(metadata),
            }
        )

    @staticmethod
    def _require_state(intent: Json, states: tuple[str, ...], what: str) -> None:
        if intent["status"] in states:
            return
        raise wrong_state(
            f"This PaymentIntent could not be {what} because it has a status of {intent['status']}.",
            "payment_intent_unexpected_state",
            payment_intent={**intent},
        )

    @staticmethod
    def _found(objects: dict[str, Json], what: str, object_id: str, param: str | None = None) -> Json:
        if object_id not in objects:
            raise missing(what, object_id[:80], param or "id", in_path=param is None)
        return objects[object_id]

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self._text(24)}"

    def _text(self, length: int) -> str:
        return "".join(self._random.choices(_ALPHABET, k=length))


def refundable(charge: Json) -> int:
    """Compute what is captured and not given back: what was released is no part of it."""
    released = charge["amount"] - charge["amount_captured"]
    return int(charge["amount_captured"] - max(charge["amount_refunded"] - released, 0)) if charge["captured"] else 0


def method_of(intent: Json) -> PaymentMethod:
    """
    Find the test payment method of an intent.

    Raises:
        StripeProblem: it has none, or one that the sandbox does not know.

    """
    name = intent["payment_method"]
    if name is None:
        raise invalid("You cannot confirm this PaymentIntent: it's missing a payment method.", param="payment_method")
    return PAYMENT_METHODS[name]


def _now() -> int:
    return int(time.time())
