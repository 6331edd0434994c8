"""The amounts and the state of a payment, from what its provider said, in any order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from crossdock.commerce.payments.events import FactKind, PaymentFact
from crossdock.commerce.payments.kinds import MEANINGS, Meaning, Stage, Topic


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


#: An authorisation that may come yet.
_UNFINISHED = frozenset({Meaning(Topic.AUTHORISATION, stage) for stage in (Stage.WAITING, Stage.PENDING)})
#: How long a dispute is taken to be open where the provider names no deadline: card schemes give 40 days at most.
_LONGEST_DISPUTE = timedelta(days=40)


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
    #: What can still be captured.
    capturable_minor: int
    #: Authorisations that hold money or have taken it. Of one payment there should be one.
    live_authorisations: int

    @property
    def refundable_minor(self) -> int:
        """What can still be refunded."""
        gone = self.refunded_minor + self.refund_pending_minor + self.charged_back_minor
        return max(self.captured_minor - gone, 0)


#: One authorisation: the gateway, and its reference of the payment.
_Authorisation = tuple[str, str]


class _Operation(msgspec.Struct):
    """What was said of one operation."""

    of: _Authorisation
    #: How far it has come → the largest amount that was said of that.
    said_minor: dict[Stage, int]

    @property
    def stages(self) -> AbstractSet[Stage]:
        return self.said_minor.keys()

    @property
    def amount_minor(self) -> int:
        """What was done, or else what was announced: many a success and failure has no amount."""
        done = max(self.said_minor.get(Stage.DONE, 0), self.said_minor.get(Stage.REDONE, 0))
        return done or max(self.said_minor.values())

    @property
    def is_done(self) -> bool:
        return Stage.DONE in self.stages and (Stage.UNDONE not in self.stages or Stage.REDONE in self.stages)

    @property
    def is_pending(self) -> bool:
        return Stage.PENDING in self.stages and not self.stages & {Stage.DONE, Stage.UNDONE}


class _Sums(msgspec.Struct):
    """What was said of one authorisation, summed up."""

    authorised_minor: int
    captured_minor: int
    capture_pending_minor: int
    refunded_minor: int
    voided: bool
    void_pending: bool

    @property
    def is_live(self) -> bool:
        """Whether it holds money, or has taken money that was not refunded."""
        is_released = self.voided and not self.captured_minor
        is_returned = 0 < self.captured_minor <= self.refunded_minor
        return self.authorised_minor > 0 and not is_released and not is_returned

    @property
    def capturable_minor(self) -> int:
        if self.voided or self.void_pending:
            return 0
        return max(self.authorised_minor - self.captured_minor - self.capture_pending_minor, 0)


def is_foreign(fact: PaymentFact, currency: str | None) -> bool:
    """Check whether *fact* is in another currency than that of its payment; no if one of them is not known."""
    return None not in (currency, fact.currency) and fact.currency != currency


def amounts_of(facts: Iterable[PaymentFact], currency: str | None = None) -> Amounts:
    """
    Sum up the *facts* of one payment in its *currency*. What is in another currency adds to no sum; None if all have one.

    Each operation counts once, with the largest amount that was said of it to be done, and not at all once its failure is known. An
    authorisation that succeeded stays: the customer may have failed at first, and tried again. So the result is the same
    for any order of the facts, and for facts that come again.
    """
    known = tuple(_without_foreign_amount(fact, currency) for fact in facts)
    by_authorisation = _sums(known)
    sums = list(by_authorisation.values())
    # What was released beside a live authorisation of the same payment was one too many, and counts for nothing.
    counted = [each for each in sums if each.is_live] or sums
    voids = [each for each in sums if each.voided]
    return Amounts(
        authorised_minor=sum(each.authorised_minor for each in counted),
        captured_minor=sum(each.captured_minor for each in sums),
        refunded_minor=sum(each.refunded_minor for each in sums),
        charged_back_minor=_done(_operations(known, Topic.DISPUTE)),
        capture_pending_minor=sum(each.capture_pending_minor for each in sums),
        refund_pending_minor=_pending(_operations(known, Topic.REFUND)),
        voided=bool(voids) and all(each.voided for each in sums if each.authorised_minor),
        void_pending=any(each.void_pending for each in sums),
        capturable_minor=sum(each.capturable_minor for each in sums),
        live_authorisations=sum(each.is_live for each in sums),
    )


def open_dispute_until(facts: Iterable[PaymentFact]) -> datetime | None:
    """Say until when the open dispute of a payment can be answered, or the first of several; None if none is open."""
    disputes: dict[tuple[str, str], list[PaymentFact]] = defaultdict(list)
    for fact in facts:
        if MEANINGS[fact.kind].topic is Topic.DISPUTE:
            disputes[fact.gateway, fact.operation_ref].append(fact)
    ends = [
        max((fact.due_at for fact in said if fact.due_at), default=said_at + _LONGEST_DISPUTE)
        for said, said_at in ((said, min(fact.occurred_at for fact in said)) for said in disputes.values())
        if not {MEANINGS[fact.kind].stage for fact in said} & {Stage.UNDONE, Stage.CLOSED}
    ]
    return min(ends, default=None)


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
    waiting = {fact.kind for fact in facts if MEANINGS[fact.kind] in _UNFINISHED and not _failed(fact, facts)}
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
        and (fact.gateway, fact.payment_ref) == (waiting.gateway, waiting.payment_ref)
        for fact in facts
    )


def _operations(facts: Iterable[PaymentFact], topic: Topic) -> list[_Operation]:
    found: dict[tuple[str, str], _Operation] = {}
    for fact in facts:
        meaning = MEANINGS[fact.kind]
        if meaning.topic is topic:
            name = (fact.gateway, fact.operation_ref)
            operation = found.setdefault(name, _Operation((fact.gateway, fact.payment_ref), {}))
            # Facts of one operation have one payment; should they not, the order of arrival must not decide.
            operation.of = min(operation.of, (fact.gateway, fact.payment_ref))
            largest = max(operation.said_minor.get(meaning.stage, 0), fact.amount_minor or 0)
            operation.said_minor[meaning.stage] = largest
    return list(found.values())


def _sums(facts: Iterable[PaymentFact]) -> dict[_Authorisation, _Sums]:
    known = tuple(facts)
    found: dict[_Authorisation, dict[Topic, list[_Operation]]] = defaultdict(lambda: defaultdict(list))
    for topic in (Topic.AUTHORISATION, Topic.CAPTURE, Topic.VOID, Topic.REFUND, Topic.REVERSAL):
        for operation in _operations(known, topic):
            found[operation.of][topic].append(operation)
    return {of: _sums_of(operations) for of, operations in found.items()}


def _sums_of(operations: Mapping[Topic, Sequence[_Operation]]) -> _Sums:
    captured_minor, refunded_minor = _done(operations[Topic.CAPTURE]), _done(operations[Topic.REFUND])
    voids, reversals = operations[Topic.VOID], [each for each in operations[Topic.REVERSAL] if each.is_done]
    if captured_minor:
        reversed_minor = sum(each.amount_minor or captured_minor for each in reversals)
        refunded_minor += min(reversed_minor, max(captured_minor - refunded_minor, 0))
    return _Sums(
        authorised_minor=_authorised(operations[Topic.AUTHORISATION]),
        captured_minor=captured_minor,
        capture_pending_minor=_pending(operations[Topic.CAPTURE]),
        refunded_minor=refunded_minor,
        voided=any(each.is_done for each in voids) or (bool(reversals) and not captured_minor),
        void_pending=any(each.is_pending for each in voids),
    )


def _authorised(operations: Iterable[_Operation]) -> int:
    """Choose the amount of one authorisation. One payment of a provider has one: a read may name it otherwise than its event."""
    known = list(operations)
    done = [each.said_minor[Stage.DONE] for each in known if Stage.DONE in each.stages]
    return (max(done) or max(each.amount_minor for each in known)) if done else 0


def _done(operations: Iterable[_Operation]) -> int:
    return sum(operation.amount_minor for operation in operations if operation.is_done)


def _pending(operations: Iterable[_Operation]) -> int:
    return sum(operation.amount_minor for operation in operations if operation.is_pending)
