"""The terms of payments: a payment, its legs, and what may be asked of which gateway next."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from crossdock.commerce.payments.amounts import PaymentState, amounts_of, state_of
from crossdock.commerce.payments.events import PaymentFact
from crossdock.commerce.payments.kinds import Topic
from crossdock.core.errors import Conflict
from crossdock.integrations.actions.model import RefusedBy
from crossdock.integrations.attempts.model import Outcome

#: In `payment_methods`: the token for every gateway that has none of its own.
ANY_GATEWAY = "*"
#: The code of a leg whose input the gateway's action does not take; no call was made.
INPUT_REFUSED = "input_refused"
#: Outcomes with which a leg may have had its effect, or may have it yet.
UNRESOLVED = frozenset({Outcome.OPEN, Outcome.UNKNOWN})


class Operation(StrEnum):
    """What is asked of a gateway; the name of its action."""

    AUTHORISE = "authorise"
    #: Goes on with an authorisation after the customer has acted.
    FINISH = "finish"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"

    @property
    def topic(self) -> Topic:
        return _TOPICS[self]


_TOPICS = {
    Operation.AUTHORISE: Topic.AUTHORISATION,
    Operation.FINISH: Topic.AUTHORISATION,
    Operation.CAPTURE: Topic.CAPTURE,
    Operation.VOID: Topic.VOID,
    Operation.REFUND: Topic.REFUND,
}


class FactOrigin(StrEnum):
    """How a fact came to the hub."""

    ANSWER = "answer"
    EVENT = "event"
    #: From `find_payment`.
    READ = "read"
    PERSON = "person"


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One operation at one gateway. Its key names the effect, so that every repetition is the same one."""

    leg_id: int
    payment_id: str
    operation: Operation
    #: Names the caller's request among those of this operation; empty for an authorisation.
    request_key: str
    gateway: str
    #: Which account of the gateway was called; None for a call that is older than this field.
    account: str | None
    key: str
    #: What the gateway shows beside the effect, and its events bring back.
    reference: str
    #: None for a void, and to finish an authorisation.
    amount_minor: int | None
    outcome: Outcome
    #: Who refused it; None if nobody did.
    refused_by: RefusedBy | None
    #: The gateway's own word for its decision; `INPUT_REFUSED` if it was not called.
    code: str | None
    message: str | None
    try_other: bool
    #: The gateway's references of the payment and of this operation; None while it has named none.
    payment_ref: str | None
    operation_ref: str | None
    next_action_url: str | None
    #: How often it was called; an outcome is written by the last call alone.
    calls: int
    began_at: datetime
    called_at: datetime
    first_failed_at: datetime | None
    answered_at: datetime | None
    #: Whether a person is asked if nobody else finds out what became of it; false where its caller asks.
    asks_person: bool = False

    @property
    def is_unresolved(self) -> bool:
        return self.outcome in UNRESOLVED

    @property
    def is_declined(self) -> bool:
        return self.outcome is Outcome.REFUSED and self.refused_by is RefusedBy.DECISION

    @property
    def is_invalid(self) -> bool:
        """Whether the same request would be refused again, whatever becomes of the gateway or of our account there."""
        is_ours = self.outcome is Outcome.REFUSED and self.refused_by is RefusedBy.US
        return is_ours and (not self.try_other or self.code == INPUT_REFUSED)


class LegEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a call of a leg ended."""

    outcome: Outcome
    refused_by: RefusedBy | None = None
    code: str | None = None
    message: str | None = None
    try_other: bool = False
    payment_ref: str | None = None
    operation_ref: str | None = None
    next_action_url: str | None = None


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that a customer owes, and what is known of it."""

    payment_id: str
    #: The caller's own; unique.
    reference: str
    amount_minor: int
    currency: str
    #: Gateway → the token of the payment method there.
    payment_methods: Mapping[str, str]
    customer_reference: str | None
    return_url: str | None
    state: PaymentState
    #: Whether a gateway was asked for something, and nobody knows what became of it.
    is_unresolved: bool
    #: Authorisations that hold money or have taken it; more than one is one too many.
    live_authorisations: int
    #: Until when its open dispute can be answered; None if none is open.
    dispute_until: datetime | None
    created_at: datetime
    created_by: str
    changed_at: datetime

    def method_at(self, gateway: str) -> str | None:
        """Find the token of the payment method at *gateway*; None if it has none there."""
        return self.payment_methods.get(gateway) or self.payment_methods.get(ANY_GATEWAY)


class PaymentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks to have authorised."""

    reference: str
    amount_minor: int
    currency: str
    payment_methods: Mapping[str, str]
    customer_reference: str | None = None
    return_url: str | None = None

    def is_of(self, payment: Payment) -> bool:
        """Check whether *payment* is what this asks for."""
        return all(getattr(payment, name) == value for name, value in msgspec.structs.asdict(self).items())


class AmountRefused(Conflict):
    """The amount exceeds what can be captured or refunded. No gateway was asked."""

    def __init__(self, operation: Operation, payment: Payment, amount_minor: int | None, most_minor: int) -> None:
        asked = "nothing" if amount_minor is None else f"{amount_minor:,} minor units of {payment.currency}"
        super().__init__(
            f"Payment {payment.payment_id}: cannot {operation} {asked}; {most_minor:,} are left for that. No gateway was asked"
        )


class NothingToFinish(Conflict):
    """No gateway waits for the customer of the payment. None was asked."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(
            f"Payment {payment.payment_id} is {payment.state}: it waits for no action of the customer. No gateway was asked"
        )


class CurrencyDiffers(Conflict):
    """The gateway said something of the payment in another currency: no sum says what is left. No gateway was asked."""

    def __init__(self, operation: Operation, payment: Payment, other: str | None) -> None:
        super().__init__(
            f"Payment {payment.payment_id} is in {payment.currency}, and its gateway reported an amount in {other}. "
            f"A person has to look it up there before a {operation}. No gateway was asked"
        )


class PaymentBusy(Conflict):
    """Another process is asking a gateway about the same payment now."""

    def __init__(self, payment_id: str) -> None:
        super().__init__(f"A gateway is being asked about payment {payment_id}. Send the request again in a moment")


class ReferenceTaken(Conflict):
    """The reference belongs to another payment."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(
            f"The reference {payment.reference!r} is that of {payment.payment_id}, which is for something else. "
            "Use a reference of its own for each payment"
        )


def key_of(payment_id: str, operation: Operation, request_key: str, gateway: str) -> str:
    """Name the effect of one operation at one gateway in 64 characters."""
    return hashlib.sha256(f"{payment_id}\n{operation}\n{request_key}\n{gateway}".encode()).hexdigest()


def next_to_ask(legs: Iterable[Leg], gateways: Sequence[str], *, asked: Collection[str] = ()) -> str | None:
    """
    Choose the gateway to ask for an authorisation now; None if no gateway may be asked.

    While a leg is unresolved, only its own gateway may be asked, with the same key, however much time has passed.

    Args:
        legs: The authorisations that were asked for.
        gateways: Those that may be used, the preferred one first.
        asked: Gateways that were asked just now: another time is no use.

    """
    known = {leg.gateway: leg for leg in legs}
    if waiting := next((leg for leg in known.values() if leg.is_unresolved), None):
        return None if waiting.gateway in asked else waiting.gateway
    for leg in known.values():
        is_final = leg.is_declined or leg.gateway in asked
        if leg.outcome is Outcome.DONE or (leg.outcome is Outcome.REFUSED and is_final and not leg.try_other):
            return None
    left = (name for name in gateways if name not in asked and not (name in known and known[name].is_declined))
    return next(left, None)


def state_from(legs: Iterable[Leg], facts: Iterable[PaymentFact], payment: Payment) -> PaymentState:
    """Say what became of *payment*: by what the gateways said, or else by how they ended."""
    asked = [leg for leg in legs if leg.operation is Operation.AUTHORISE]
    said = tuple(facts)
    known = state_of(said, payment.currency)
    if known is PaymentState.AUTHORISED:
        is_part = amounts_of(said, payment.currency).authorised_minor < payment.amount_minor
        return PaymentState.PARTLY_AUTHORISED if is_part else known
    return known if known not in (None, PaymentState.DECLINED) else _state_of_legs(asked, known)


def _state_of_legs(asked: Sequence[Leg], known: PaymentState | None) -> PaymentState:
    """Say what became of the authorisations that were *asked* for, of which no gateway has one; *known* is what facts say."""
    outcomes = {leg.outcome for leg in asked}
    if Outcome.UNKNOWN in outcomes:
        return PaymentState.UNKNOWN
    if Outcome.OPEN in outcomes or not asked:
        return PaymentState.OPEN
    if Outcome.DONE in outcomes:
        # The customer failed to act, or it was declined later. Without a fact, to call it failed would invite another charge.
        return PaymentState.DECLINED if known else PaymentState.UNKNOWN
    declined = [leg for leg in asked if leg.is_declined]
    is_declined = len(declined) == len(asked) or any(not leg.try_other for leg in declined)
    return PaymentState.DECLINED if is_declined else PaymentState.FAILED


def is_unresolved(legs: Iterable[Leg], state: PaymentState) -> bool:
    """Check whether nobody knows what became of a payment in *state*, or of something that was asked for it."""
    return state is PaymentState.UNKNOWN or any(leg.is_unresolved for leg in legs)
