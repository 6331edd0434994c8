"""The amounts and the state of a payment, from what its provider said, in any order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from enum import StrEnum

import msgspec

from crossdock.commerce.payments.events import FactKind, PaymentFact


class PaymentState(StrEnum):
    """What became of a payment."""

    #: A gateway is being asked to authorise it now, or the process that asked has died.
    OPEN = "open"
    #: A gateway was asked to authorise it, and nobody knows whether it did, or it did so in another currency. No other one
    #: is asked.
    UNKNOWN = "unknown"
    #: No gateway took it, and none decided against it: it may be tried again.
    FAILED = "failed"
    #: A decision of a gateway, or of the customer's bank: another payment method is needed.
    DECLINED = "declined"
    #: The customer has to act.
    REQUIRES_ACTION = "requires_action"
    #: The gateway has accepted it, and will say by an event what became of it.
    PENDING = "pending"
    #: Less than was asked for: it can be captured or voided; the rest is not covered.
    PARTLY_AUTHORISED = "partly_authorised"
    AUTHORISED = "authorised"
    VOIDED = "voided"
    PARTLY_CAPTURED = "partly_captured"
    CAPTURED = "captured"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    CHARGED_BACK = "charged_back"


class _Kinds(msgspec.Struct, frozen=True):
    """The kinds of facts about one kind of operation: announced, done, and what takes it back, whichever arrived first."""

    done: FactKind
    undone: FactKind
    pending: FactKind | None = None

    def __contains__(self, kind: FactKind) -> bool:
        return kind in (self.done, self.undone, self.pending)


_AUTHORISATION = _Kinds(FactKind.AUTHORISED, FactKind.AUTHORISATION_FAILED, FactKind.AUTHORISATION_PENDING)
_CAPTURE = _Kinds(FactKind.CAPTURED, FactKind.CAPTURE_FAILED, FactKind.CAPTURE_PENDING)
_REFUND = _Kinds(FactKind.REFUNDED, FactKind.REFUND_FAILED, FactKind.REFUND_PENDING)
_VOID = _Kinds(FactKind.VOIDED, FactKind.VOID_FAILED, FactKind.VOID_PENDING)
_CHARGEBACK = _Kinds(FactKind.CHARGED_BACK, FactKind.CHARGEBACK_REVERSED)


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """The amounts of one payment, in minor units of its currency."""

    authorised_minor: int
    captured_minor: int
    refunded_minor: int
    charged_back_minor: int
    #: Accepted by the provider, which has not said yet what became of it.
    capture_pending_minor: int
    refund_pending_minor: int
    #: Whether what is authorised and not captured was released.
    voided: bool
    void_pending: bool

    @property
    def capturable_minor(self) -> int:
        """What can still be captured."""
        if self.voided or self.void_pending:
            return 0
        return max(self.authorised_minor - self.captured_minor - self.capture_pending_minor, 0)

    @property
    def refundable_minor(self) -> int:
        """What can still be given back."""
        gone = self.refunded_minor + self.refund_pending_minor + self.charged_back_minor
        return max(self.captured_minor - gone, 0)


class _Operation(msgspec.Struct):
    """What was said of one operation."""

    payment: tuple[str, str]
    known: set[FactKind]
    amount_minor: int = 0

    def is_done(self, kinds: _Kinds) -> bool:
        return kinds.done in self.known and kinds.undone not in self.known

    def is_pending(self, kinds: _Kinds) -> bool:
        return kinds.pending in self.known and kinds.done not in self.known and kinds.undone not in self.known


def is_foreign(fact: PaymentFact, currency: str | None) -> bool:
    """Check whether *fact* is in another currency than that of its payment; no if one of them is not known."""
    return None not in (currency, fact.currency) and fact.currency != currency


def amounts_of(facts: Iterable[PaymentFact], currency: str | None = None) -> Amounts:
    """
    Sum up the *facts* of one payment in its *currency*. What is in another currency adds to no sum; None if all have one.

    Each operation counts once, with the largest amount that was said of it, and not at all once its failure is known. So
    the result is the same for any order of the facts, and for facts that come again.
    """
    known = tuple(_without_foreign_amount(fact, currency) for fact in facts)
    captures, refunds, voids = (_operations(known, kinds) for kinds in (_CAPTURE, _REFUND, _VOID))
    return Amounts(
        authorised_minor=_authorised(known),
        captured_minor=_done(captures, _CAPTURE),
        refunded_minor=_done(refunds, _REFUND),
        charged_back_minor=_done(_operations(known, _CHARGEBACK), _CHARGEBACK),
        capture_pending_minor=_pending(captures, _CAPTURE),
        refund_pending_minor=_pending(refunds, _REFUND),
        voided=any(void.is_done(_VOID) for void in voids),
        void_pending=any(void.is_pending(_VOID) for void in voids),
    )


def _without_foreign_amount(fact: PaymentFact, currency: str | None) -> PaymentFact:
    return msgspec.structs.replace(fact, amount_minor=0) if is_foreign(fact, currency) else fact


def state_of(facts: Iterable[PaymentFact], currency: str | None = None) -> PaymentState | None:
    """Say what the *facts* of one payment in *currency* make of it, in any order of theirs; None if there are none."""
    known = tuple(facts)
    amounts = amounts_of(known, currency)
    if amounts.charged_back_minor:
        return PaymentState.CHARGED_BACK
    if amounts.captured_minor:
        return _state_of_captured(amounts)
    if amounts.voided:
        return PaymentState.VOIDED
    if amounts.authorised_minor:
        return PaymentState.AUTHORISED
    state = _state_of_unauthorised({fact.kind for fact in known}, known)
    is_odd = state is not PaymentState.DECLINED and any(is_foreign(fact, currency) for fact in known)
    return PaymentState.UNKNOWN if is_odd else state


def _state_of_captured(amounts: Amounts) -> PaymentState:
    if amounts.refunded_minor:
        whole = amounts.refunded_minor >= amounts.captured_minor
        return PaymentState.REFUNDED if whole else PaymentState.PARTLY_REFUNDED
    whole = amounts.voided or amounts.captured_minor >= amounts.authorised_minor
    return PaymentState.CAPTURED if whole else PaymentState.PARTLY_CAPTURED


def _state_of_unauthorised(kinds: AbstractSet[FactKind], facts: Iterable[PaymentFact]) -> PaymentState | None:
    waiting = {
        fact.kind
        for fact in facts
        if fact.kind in (FactKind.AUTHORISATION_PENDING, FactKind.REQUIRES_ACTION) and not _failed(fact, facts)
    }
    # The customer acts first, and then the provider processes it.
    if FactKind.AUTHORISATION_PENDING in waiting:
        return PaymentState.PENDING
    if waiting:
        return PaymentState.REQUIRES_ACTION
    if FactKind.AUTHORISATION_FAILED in kinds:
        return PaymentState.DECLINED
    return PaymentState.PENDING if kinds else None


def _failed(waiting: PaymentFact, facts: Iterable[PaymentFact]) -> bool:
    return any(
        fact.kind is FactKind.AUTHORISATION_FAILED
        and (fact.gateway, fact.operation_ref) == (waiting.gateway, waiting.operation_ref)
        for fact in facts
    )


def _operations(facts: Iterable[PaymentFact], kinds: _Kinds) -> list[_Operation]:
    found: dict[tuple[str, str], _Operation] = {}
    for fact in facts:
        if fact.kind in kinds:
            name = (fact.gateway, fact.operation_ref)
            operation = found.setdefault(name, _Operation((fact.gateway, fact.payment_ref), set()))
            operation.known.add(fact.kind)
            operation.amount_minor = max(operation.amount_minor, fact.amount_minor or 0)
    return list(found.values())


def _authorised(facts: Iterable[PaymentFact]) -> int:
    """Sum up the authorisations. One payment of a provider has one: a read may name it otherwise than its event."""
    largest: dict[tuple[str, str], int] = defaultdict(int)
    for operation in _operations(facts, _AUTHORISATION):
        if operation.is_done(_AUTHORISATION):
            largest[operation.payment] = max(largest[operation.payment], operation.amount_minor)
    return sum(largest.values())


def _done(operations: Iterable[_Operation], kinds: _Kinds) -> int:
    return sum(operation.amount_minor for operation in operations if operation.is_done(kinds))


def _pending(operations: Iterable[_Operation], kinds: _Kinds) -> int:
    return sum(operation.amount_minor for operation in operations if operation.is_pending(kinds))
