"""What really happened: the payments, the operations on them, and a ledger that only grows."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crossdock.sandbox.adyen.problems import AdyenProblem
from crossdock.sandbox.adyen.stored_methods import StoredMethod
from crossdock.sandbox.engine.clock import Clock

Json = dict[str, Any]

_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"
_NO_BALANCE = "Insufficient balance on payment"


@dataclass
class Payment:
    psp_reference: str
    reference: str
    value: int
    currency: str
    method: StoredMethod
    #: `authorised`, `waiting` for the customer or the bank, `refused` or `cancelled`.
    state: str
    captured: int = 0
    refunded: int = 0
    charged_back: int = 0


@dataclass
class Operation:
    """A capture, a cancel or a refund; it ends at once, and its outcome is reported by a webhook."""

    psp_reference: str
    kind: str
    payment: Payment
    reference: str
    value: int
    succeeded: bool = False
    failed_later: bool = False


#: Receives each notification: event code, psp reference, payment, success, and what differs from the payment.
Notify = Callable[[Json], None]


@dataclass
class State:
    """All payments. Thread-safe: each change holds the lock."""

    notify: Notify
    seed: int = 1
    lock: threading.RLock = field(default_factory=threading.RLock)
    clock: Clock = field(default_factory=Clock)
    payments: dict[str, Payment] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    ledger: list[Json] = field(default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def new_reference(self) -> str:
        """Draw a psp reference: 16 characters, as the vendor's."""
        with self.lock:
            return "".join(self._random.choices(_ALPHABET, k=16))

    def pay(self, reference: str, value: int, currency: str, method: StoredMethod) -> Payment:
        """Process a payment as its method says."""
        outcomes = {"Authorised": "authorised", "Refused": "refused", "Error": "refused", "Cancelled": "refused"}
        with self.lock:
            state = outcomes.get(method.result_code, "waiting")
            payment = Payment(self.new_reference(), reference, value, currency, method, state)
            self.payments[payment.psp_reference] = payment
            if state != "waiting":
                self._report_authorisation(payment)
            return payment

    def finish(self, psp_reference: str, *, success: bool) -> Payment:
        """End a payment that waits for the customer or the bank."""
        with self.lock:
            payment = self.find(psp_reference)
            if payment.state != "waiting":
                raise AdyenProblem(422, "000", f"The payment {psp_reference} waits for nothing: it is {payment.state}")
            payment.state = "authorised" if success else "refused"
            self._report_authorisation(payment)
            return payment

    def modify(self, kind: str, psp_reference: str, reference: str, value: int | None) -> Operation:
        """Accept a capture, cancel or refund, and carry it out as far as the payment allows."""
        with self.lock:
            payment = self.find(psp_reference)
            amount = payment.value if value is None else value
            operation = Operation(self.new_reference(), kind, payment, reference, amount)
            self.operations[operation.psp_reference] = operation
            reason = _CARRY_OUT[kind](payment, amount)
            operation.succeeded = reason is None
            if operation.succeeded:
                self._enter(_DONE[kind], payment, operation.psp_reference, amount, reference)
            self._report(_EVENTS[kind], operation, success=operation.succeeded, reason=reason or "")
            if (kind == "captures" and payment.method.capture_fails) or (
                kind == "refunds" and payment.method.refund_fails
            ):
                self.fail_later(operation.psp_reference)
            return operation

    def recapture(self, psp_reference: str) -> Operation:
        """Repeat a capture that failed, as the platform does by itself after a technical problem."""
        with self.lock:
            operation = self.operations.get(psp_reference)
            if operation is None or operation.kind != "captures" or not operation.failed_later:
                raise AdyenProblem(422, "167", f"{psp_reference} is no capture that failed")
            operation.failed_later = False
            operation.payment.captured += operation.value
            self._enter("captured", operation.payment, psp_reference, operation.value, operation.reference)
            self._report("CAPTURE", operation, success=True, reason="Transaction Recaptured")
            return operation

    def fail_later(self, psp_reference: str) -> Operation:
        """Take back a capture or refund that had succeeded, as a scheme does days later."""
        with self.lock:
            operation = self.operations.get(psp_reference)
            if operation is None or operation.kind == "cancels" or not operation.succeeded or operation.failed_later:
                raise AdyenProblem(422, "167", f"{psp_reference} is no capture or refund that succeeded")
            operation.failed_later = True
            if operation.kind == "captures":
                operation.payment.captured -= operation.value
            else:
                operation.payment.refunded -= operation.value
            event = _FAILED[operation.kind]
            self._enter(event.lower(), operation.payment, psp_reference, operation.value, operation.reference)
            self._report(event, operation, success=True, reason=event.replace("_", " ").capitalize())
            return operation

    def dispute(self, psp_reference: str, stage: str, dispute: str | None) -> str:
        """Report a stage of a dispute about a captured payment; returns the dispute's reference."""
        with self.lock:
            payment = self.find(psp_reference)
            if stage not in DISPUTE_STAGES:
                raise AdyenProblem(422, "702", f"Unknown stage {stage!r}. Known: {', '.join(DISPUTE_STAGES)}")
            reference = dispute or self.new_reference()
            moved = payment.captured if "REVERSED" not in stage else payment.charged_back
            change = DISPUTE_STAGES[stage]
            payment.charged_back += change * moved
            if change:
                self._enter(stage.lower(), payment, reference, moved, payment.reference)
            self.notify(_item(stage, reference, payment, payment.reference, moved, reason="Disputed"))
            return reference

    def find(self, psp_reference: str) -> Payment:
        """
        Find a payment.

        Raises:
            AdyenProblem: there is none with that reference.

        """
        if psp_reference not in self.payments:
            raise AdyenProblem(422, "167", "Original pspReference required for this operation")
        return self.payments[psp_reference]

    def as_document(self) -> Json:
        with self.lock:
            shown = ("psp_reference", "reference", "value", "currency", "state", "captured", "refunded", "charged_back")
            payments = [{name: getattr(payment, name) for name in shown} for payment in self.payments.values()]
            return {"entries": list(self.ledger), "payments": payments}

    def _report_authorisation(self, payment: Payment) -> None:
        success = payment.state == "authorised"
        if success:
            self._enter("authorised", payment, payment.psp_reference, payment.value, payment.reference)
        refusal = payment.method.refusal[1] if payment.method.refusal else "Refused"
        reason = "041622:1111:03/2030" if success else refusal
        self.notify(
            _item(
                "AUTHORISATION",
                payment.psp_reference,
                payment,
                payment.reference,
                payment.value,
                original=None,
                success=success,
                reason=reason,
            )
        )

    def _report(self, event: str, operation: Operation, *, success: bool, reason: str) -> None:
        payment, reference = operation.payment, operation.reference or operation.payment.reference
        self.notify(
            _item(event, operation.psp_reference, payment, reference, operation.value, success=success, reason=reason)
        )

    def _enter(self, kind: str, payment: Payment, operation: str, value: int, reference: str) -> None:
        self.ledger.append(
            {
                "n": len(self.ledger) + 1,
                "at": self.clock.now(),
                "kind": kind,
                "payment": payment.psp_reference,
                "operation": operation,
                "value": value,
                "currency": payment.currency,
                "reference": reference,
            }
        )


def _capture(payment: Payment, value: int) -> str | None:
    if payment.state != "authorised" or value > payment.value - payment.captured:
        return _NO_BALANCE
    payment.captured += value
    return None


def _cancel(payment: Payment, _value: int) -> str | None:
    if payment.state != "authorised" or payment.captured:
        return "Transaction not in a state that can be cancelled"
    payment.state = "cancelled"
    return None


def _refund(payment: Payment, value: int) -> str | None:
    if value > payment.captured - payment.refunded - payment.charged_back:
        return _NO_BALANCE
    payment.refunded += value
    return None


def _item(
    event: str,
    psp_reference: str,
    payment: Payment,
    reference: str,
    value: int,
    *,
    original: str | None = "",
    success: bool = True,
    reason: str = "",
) -> Json:
    """Build the content of a notification; *original* is the payment unless it is None."""
    item = {
        "eventCode": event,
        "pspReference": psp_reference,
        "merchantReference": reference,
        "amount": {"currency": payment.currency, "value": value},
        "paymentMethod": "visa",
        "reason": reason,
        "success": "true" if success else "false",
    }
    return item if original is None else item | {"originalReference": original or payment.psp_reference}


_CARRY_OUT = {"captures": _capture, "cancels": _cancel, "refunds": _refund}
_DONE = {"captures": "captured", "cancels": "voided", "refunds": "refunded"}
_EVENTS = {"captures": "CAPTURE", "cancels": "CANCELLATION", "refunds": "REFUND"}
_FAILED = {"captures": "CAPTURE_FAILED", "refunds": "REFUND_FAILED"}
#: A stage of a dispute → how it changes what is charged back.
DISPUTE_STAGES = {"NOTIFICATION_OF_CHARGEBACK": 0, "CHARGEBACK": 1, "CHARGEBACK_REVERSED": -1, "SECOND_CHARGEBACK": 1}
