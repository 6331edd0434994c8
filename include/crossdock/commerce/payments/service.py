"""
Use cases of payments: authorise at one gateway after another, capture, void, refund, and find out what became of a call.

Each call of a gateway has a leg that is committed before it. No transaction is open during a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from crossdock.commerce.payments import facts as fact_book
from crossdock.commerce.payments import questions, repository
from crossdock.commerce.payments.accounts import account_of, declared, is_other_account
from crossdock.commerce.payments.amounts import Amounts, PaymentState, amounts_of, is_foreign, state_of
from crossdock.commerce.payments.events import PaymentFact
from crossdock.commerce.payments.health import GatewayHealth, in_order
from crossdock.commerce.payments.model import (
    AmountRefused,
    CurrencyDiffers,
    FactOrigin,
    Leg,
    LegEnd,
    NothingToFinish,
    Operation,
    Payment,
    PaymentBusy,
    PaymentRequest,
    ReferenceTaken,
    next_to_ask,
)
from crossdock.commerce.payments.outcomes import (
    answered,
    end_of,
    facts_in,
    in_another_currency,
    input_refused,
    of_another,
    of_this_payment,
)
from crossdock.commerce.payments.ports import Perform
from crossdock.commerce.payments.repository import Known
from crossdock.core.errors import BadRequest, Conflict, IntegrationPaused, NotFound
from crossdock.db.database import Store, Work
from crossdock.integrations import repository as registry
from crossdock.integrations.actions.model import Document, Done, Ended, Failed, InputInvalid, Unknown
from crossdock.integrations.attempts.model import Outcome
from crossdock.integrations.attempts.service import begins_always
from crossdock.integrations.manifests import manifests
from crossdock.integrations.model import IntegrationState
from crossdock.observability import audit, decisions
from crossdock.observability.decisions import Decision

#: What a connector's manifest provides.
CAPABILITY = "payment_gateway"
_OTHER_ACCOUNT = (
    "{gateway} was removed and added again, or its account was changed, since this call was made: the account of now is not "
    "asked about it. An event of the old one or a person has to say what became of it"
)
#: Longer than any call of a gateway takes, with its retries: then a person is asked about one whose process is gone.
_LONGEST_CALL = timedelta(minutes=5)
#: The gateway's clock may be behind ours by so much.
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Payments:
    """What the use cases need."""

    store: Store
    perform: Perform
    #: Whether a person is asked about a call whose outcome stays unknown. False where the caller asks itself.
    asks_person: bool = True


@dataclass(frozen=True)
class Request:
    """What a caller asks to have done with a payment."""

    payment_id: str
    #: The same for each repetition of this request, and of no other.
    request_key: str
    actor: str
    #: None for all that is left.
    amount_minor: int | None = None
    #: At which gateway; None for the authorisation that is there, or the first of several.
    gateway: str | None = None
    #: What the customer brought back from an action, by the gateway's names. It is not stored.
    details: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _Begun:
    """A leg that is committed, and may be called now."""

    payment: Payment
    leg: Leg
    #: Its number among the calls of its gateway.
    call_id: int
    #: Whether an earlier call may have had the effect.
    was_unresolved: bool
    details: Mapping[str, str] | None = None


def gateways(work: Work) -> list[str]:
    """List the integrations that are payment gateways and may be called."""
    known = manifests()
    return [
        found.integration_id
        for found in registry.list_all(work)
        if found.state is IntegrationState.ACTIVE and found.kind in known and CAPABILITY in known[found.kind].provides
    ]


def authorise(payments: Payments, request: PaymentRequest, *, actor: str) -> Payment:
    """
    Have a gateway reserve the amount; if it cannot be asked, the next one. Return the payment with its state.

    With a reference that is known, it goes on where the earlier call ended: an unknown outcome is resolved by the same
    gateway and key, and a payment that no gateway took is tried again.

    Raises:
        ReferenceTaken: the reference belongs to another payment.
        PaymentBusy: another process is asking about it now.
        Conflict: no gateway can take such a payment; it is not kept.

    """
    with payments.store.transaction() as work:
        payment, is_new = repository.add(work, request, actor=actor)
        if not is_new and not request.is_of(payment):
            raise ReferenceTaken(payment)
        if is_new:
            _refuse_without_gateway(work, payment)
            audit.add(work, actor=actor, act="payment.authorise", subject=f"payment/{payment.payment_id}", detail={})
    return _ask_in_turn(payments, payment.payment_id)


def finish(payments: Payments, request: Request) -> Leg:
    """
    Go on with an authorisation after the customer has acted. Return the leg with its outcome.

    The same request again, with the same details, is the same call: its outcome is returned, or found out.

    Raises:
        NotFound: there is no such payment.
        NothingToFinish: no gateway waits for its customer. No gateway was asked.
        PaymentBusy: the same request is at work.

    """
    return _operate(payments, Operation.FINISH, request)


def capture(payments: Payments, request: Request) -> Leg:
    """
    Take an authorised amount, or a part of it. Return the leg with its outcome.

    The same request again is the same capture: its outcome is returned, or found out.

    Raises:
        NotFound: there is no such payment.
        AmountRefused: less is left. No gateway was asked.
        CurrencyDiffers: the gateway reported an amount in another currency. No gateway was asked.
        PaymentBusy: the same request is at work.

    """
    return _operate(payments, Operation.CAPTURE, request)


def refund(payments: Payments, request: Request) -> Leg:
    """
    Refund a captured amount, or a part of it. Return the leg with its outcome.

    Raises:
        NotFound, AmountRefused, PaymentBusy: As `capture`.

    """
    return _operate(payments, Operation.REFUND, request)


def void(payments: Payments, request: Request) -> Leg:
    """
    Release what is authorised and not captured. Return the leg with its outcome.

    Raises:
        NotFound, AmountRefused, PaymentBusy: As `capture`; also while the outcome of a capture is unknown.

    """
    return _operate(payments, Operation.VOID, request)


def resolve(payments: Payments, payment_id: str) -> Payment:
    """
    Find out what became of each call whose outcome is unknown: the same call with the same key, then `find_payment`.

    What stays unknown waits for an event or a person. Nothing is asked of another gateway. A call that another process is
    asking about is left to that one: a gateway that hangs delays no other call.

    Raises:
        NotFound: there is no such payment.
        PaymentBusy: other processes are asking about each of its calls now.

    """
    with payments.store.transaction() as work:
        payment = repository.get(work, payment_id)
        # What the customer brought back is not stored: that request is repeated by whoever has it, or its event ends it.
        waiting = [
            leg
            for leg in repository.legs_of(work, payment_id)
            if leg.is_unresolved and leg.operation is not Operation.FINISH
        ]
    busy = 0
    for leg in waiting:
        try:
            with _alone(payments.store, _lock_name(leg)):
                _repeat(payments, payment, leg)
        except PaymentBusy:
            busy += 1
    if busy and busy == len(waiting):
        raise PaymentBusy(payment_id)
    return show(payments.store, payment_id)


def show(store: Store, payment_id: str) -> Payment:
    """
    Read a payment.

    Raises:
        NotFound: there is none with that ID.

    """
    with store.question() as work:
        return repository.get(work, payment_id)


def page(
    store: Store,
    *,
    state: PaymentState | None = None,
    unresolved: bool = False,
    reference: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> tuple[list[Payment], bool]:
    """List payments, newest first: at most *limit* before a time and ID; also return whether there are more."""
    with store.transaction() as work:
        found = repository.page(
            work, state=state, unresolved=unresolved, reference=reference, before=before, limit=limit + 1
        )
    return found[:limit], len(found) > limit


def unmatched_facts(store: Store, *, after: int = 0, limit: int = 100) -> tuple[list[repository.UnmatchedFact], bool]:
    """List facts of payments that the hub does not know: at most *limit* after an ID; also return whether there are more."""
    with store.transaction() as work:
        found = repository.unmatched_facts(work, after=after, limit=limit + 1)
    return found[:limit], len(found) > limit


def gateways_by_health(store: Store) -> list[GatewayHealth]:
    """List the gateways that may be called, in the order in which they are asked now."""
    with store.transaction() as work:
        health = {found.gateway: found for found in repository.health_of(work, gateways(work))}
    return [health[name] for name in in_order(health.values())]


def _refuse_without_gateway(work: Work, payment: Payment) -> None:
    known = gateways(work)
    if not any(payment.method_at(gateway) for gateway in known):
        raise Conflict(
            "No payment gateway can take this payment method. Gateways: " + (", ".join(known) or "none is connected")
        )


def _ask_in_turn(payments: Payments, payment_id: str) -> Payment:
    asked: set[str] = set()
    with _alone(payments.store, payment_id):
        while begun := _begin_authorisation(payments, payment_id, asked):
            asked.add(begun.leg.gateway)
            payment = _call(payments, begun)
            if payment.state is PaymentState.AUTHORISED:
                return payment
    return show(payments.store, payment_id)


def _begin_authorisation(payments: Payments, payment_id: str, asked: set[str]) -> _Begun | None:
    """Choose the gateway that may be asked now, and commit its leg; None if no one may be asked."""
    with payments.store.transaction() as work:
        payment = repository.lock(work, payment_id)
        known = repository.known(work, payment_id)
        # A gateway may have said by an event that it has the payment, after a person said that it had failed.
        if state_of(known.facts, payment.currency) not in (None, PaymentState.DECLINED):
            return None
        legs = [leg for leg in known.legs if leg.operation is Operation.AUTHORISE]
        usable = [gateway for gateway in gateways(work) if payment.method_at(gateway)]
        order = in_order(repository.health_of(work, usable))
        gateway = next_to_ask(legs, order, asked=asked)
        if gateway is None:
            return None
        before = next((leg for leg in legs if leg.gateway == gateway), None)
        if before and _stays_unknown(work, before):
            return None
        leg = repository.begin_leg(
            work,
            payment,
            Operation.AUTHORISE,
            gateway,
            account=account_of(work, gateway),
            amount_minor=payment.amount_minor,
            asks_person=payments.asks_person,
        )
        return _begun(work, known, leg, before)


def _stays_unknown(work: Work, leg: Leg) -> bool:
    """
    Check whether *leg* is unresolved and its gateway's account is another one now; write so to it.

    That account knows nothing of the call, and would carry it out a second time.
    """
    if not leg.is_unresolved or not is_other_account(work, leg):
        return False
    repository.end_leg(work, leg, LegEnd(outcome=Outcome.UNKNOWN, message=_OTHER_ACCOUNT.format(gateway=leg.gateway)))
    fact_book.update_state(work, leg.payment_id)
    return True


def _operate(payments: Payments, operation: Operation, request: Request) -> Leg:
    with _alone(payments.store, f"{request.payment_id}:{operation}:{request.request_key}"):
        if begun := _begin_operation(payments, operation, request):
            _call(payments, begun)
    with payments.store.question() as work:
        leg = repository.find_leg(work, request.payment_id, operation, request.request_key)
    assert leg is not None  # noqa: S101  it was begun
    return leg


def _begin_operation(payments: Payments, operation: Operation, request: Request) -> _Begun | None:
    """Reserve the amount under the payment's lock, and commit the leg; None if it was done before."""
    with payments.store.transaction() as work:
        payment = repository.lock(work, request.payment_id)
        known = repository.known(work, payment.payment_id)
        asked = (operation, request.request_key)
        before = next((leg for leg in known.legs if (leg.operation, leg.request_key) == asked), None)
        if before and (before.outcome is Outcome.DONE or _stays_unknown(work, before)):
            return None
        authorised = _authorised(known, operation, before.gateway if before else request.gateway)
        amount_minor = before.amount_minor if before else request.amount_minor
        if operation is not Operation.FINISH and (before is None or not before.is_unresolved):
            amount_minor = _allowed(payment, operation, amount_minor, _left(known, authorised, operation))
        leg = repository.begin_leg(
            work,
            payment,
            operation,
            authorised.gateway,
            account=account_of(work, authorised.gateway),
            request_key=request.request_key,
            amount_minor=amount_minor if operation in (Operation.CAPTURE, Operation.REFUND) else None,
            payment_ref=authorised.payment_ref,
            asks_person=payments.asks_person,
        )
        if before is None:
            _audit_operation(work, leg, request.actor)
        return replace(_begun(work, known, leg, before), details=request.details)


def _audit_operation(work: Work, leg: Leg, actor: str) -> None:
    detail = {"gateway": leg.gateway, "amount_minor": leg.amount_minor}
    audit.add(work, actor=actor, act=f"payment.{leg.operation}", subject=f"payment/{leg.payment_id}", detail=detail)


def _begun(work: Work, known: Known, leg: Leg, before: Leg | None) -> _Begun:
    others = [other for other in known.legs if other.leg_id != leg.leg_id]
    legs = sorted([*others, leg], key=lambda one: one.leg_id)
    fact_book.write_state(work, msgspec.structs.replace(known, legs=legs))
    was_unresolved = before is not None and before.is_unresolved
    questions.ask(work, leg, opens_in=_LONGEST_CALL)
    return _Begun(known.payment, leg, repository.begin_call(work, leg.gateway), was_unresolved)


def _authorised(known: Known, operation: Operation, gateway: str | None) -> Leg:
    """
    Find the authorisation that an operation is on: at *gateway*, or the first one that was not voided.

    Raises:
        NothingToFinish, AmountRefused: there is none.

    """
    done = [
        leg
        for leg in known.legs
        if leg.operation is Operation.AUTHORISE and leg.outcome is Outcome.DONE and gateway in (None, leg.gateway)
    ]
    payment = known.payment
    if operation is Operation.FINISH:
        if done and payment.state is PaymentState.REQUIRES_ACTION:
            return done[-1]
        raise NothingToFinish(payment)
    named = [leg for leg in done if leg.payment_ref]
    left = [leg for leg in named if not amounts_of(_said_of(leg, known.facts), payment.currency).voided]
    if not named:
        raise AmountRefused(operation, payment, None, 0)
    return (left or named)[0]


def _said_of(authorised: Leg, facts: Iterable[PaymentFact]) -> list[PaymentFact]:
    """Choose the facts of one authorisation of a payment."""
    here = (authorised.gateway, authorised.payment_ref)
    return [fact for fact in facts if (fact.gateway, fact.payment_ref) == here]


def _left(known: Known, authorised: Leg, operation: Operation) -> int:
    """
    Compute what is left of an authorisation, without what calls may have taken whose outcome is open or unknown.

    Raises:
        CurrencyDiffers: a capture or a refund of a payment with an amount in another currency.

    """
    payment, facts = known.payment, _said_of(authorised, known.facts)
    odd = next((fact for fact in facts if is_foreign(fact, payment.currency)), None)
    if odd and operation is not Operation.VOID:
        raise CurrencyDiffers(operation, payment, odd.currency)
    amounts = amounts_of(facts, payment.currency)
    waiting = [leg for leg in known.legs if leg.is_unresolved and leg.gateway == authorised.gateway]
    taken = sum(leg.amount_minor or 0 for leg in waiting if leg.operation is operation)
    match operation:
        case Operation.REFUND:
            return max(amounts.refundable_minor - taken, 0)
        case Operation.VOID:
            # What a capture takes at the same time cannot be released.
            is_taken = any(leg.operation in (Operation.CAPTURE, Operation.VOID) for leg in waiting)
            return 0 if is_taken else _voidable(amounts, state_of(facts, payment.currency), payment)
        case _:
            is_voiding = any(leg.operation is Operation.VOID for leg in waiting)
            return 0 if is_voiding else max(amounts.capturable_minor - taken, 0)


def _voidable(amounts: Amounts, state: PaymentState | None, payment: Payment) -> int:
    """Compute what a void releases: also what is not finished, or is authorised in another currency."""
    if amounts.capture_pending_minor or amounts.voided or amounts.void_pending:
        return 0
    is_waiting = state in (PaymentState.REQUIRES_ACTION, PaymentState.PENDING, PaymentState.UNKNOWN)
    return payment.amount_minor if is_waiting else amounts.capturable_minor


def _allowed(payment: Payment, operation: Operation, amount_minor: int | None, most_minor: int) -> int:
    asked = most_minor if amount_minor is None else amount_minor
    if not 0 < asked <= most_minor:
        raise AmountRefused(operation, payment, amount_minor, most_minor)
    return asked


@dataclass
class _Answer:
    """Records what a gateway did in the transaction that records the call as done, now or as an earlier one."""

    begun: _Begun
    came: bool = False
    payment: Payment | None = None

    def record(self, work: Work, done: Done) -> None:
        self.came = True
        self.payment = _end_of_call(work, self.begun, done)


def _call(payments: Payments, begun: _Begun) -> Payment:
    """Call the gateway and record how it ended; return the payment as it is then."""
    answer = _Answer(begun)
    ended, was_made = _performed(payments, answer)
    if answer.payment is not None:
        return answer.payment
    with payments.store.transaction() as work:
        if was_made:
            return _end_of_call(work, begun, ended)
        repository.forget_call(work, begun.call_id)
        return _end(work, begun.leg, ended)


def _end_of_call(work: Work, begun: _Begun, ended: Ended) -> Payment:
    payment = _end(work, begun.leg, ended)
    repository.end_call(work, begun.leg.gateway, begun.call_id, answered=answered(ended))
    return payment


def _performed(payments: Payments, answer: _Answer) -> tuple[Ended, bool]:
    """
    Call the gateway; return how it ended, and whether the call was made.

    What keeps it from being made says nothing of an earlier one, and nothing of the gateway's health.
    """
    begun, leg = answer.begun, answer.begun.leg
    try:
        given, begins = _input(begun), partial(_still_ours, leg)
        return payments.perform(leg.gateway, leg.operation, given, leg.key, begins, on_done=answer.record), True
    except PaymentBusy:
        raise
    except (BadRequest, NotFound, IntegrationPaused, Conflict) as error:
        if answer.came:
            # It was made, and could not be recorded: whoever repeats it finds out what it did.
            raise
        if begun.was_unresolved:
            return Unknown(str(error)), False
        return input_refused(error) if isinstance(error, InputInvalid) else Failed(str(error)), False


def _still_ours(leg: Leg, work: Work) -> None:
    """
    Refuse to send for *leg* if another process called it since: that one may have gone on to another gateway.

    The process that committed *leg* may have slept before it sent, and its lock is gone with its session.

    Raises:
        PaymentBusy: another process has taken the leg over, or its outcome became known.

    """
    if not repository.holds_leg(work, leg):
        raise PaymentBusy(leg.payment_id)


def _end(work: Work, leg: Leg, ended: Ended) -> Payment:
    """Write the outcome of a leg and the facts of its answer, in one transaction; return the payment as it is then."""
    ended = of_this_payment(leg, ended)
    if named := end_of(leg, ended).payment_ref:
        repository.lock_refs(work, [(leg.gateway, named)])
    payment = repository.lock(work, leg.payment_id)
    # An event may have named the payment in the meantime.
    leg = msgspec.structs.replace(repository.leg(work, leg), calls=leg.calls)
    end, facts = end_of(leg, ended), facts_in(leg, ended, datetime.now(UTC))
    if named and leg.operation is Operation.FINISH and not repository.taken_by(work, leg, named):
        repository.name_payment(work, payment, facts[0])
    kept = [repository.add_fact(work, leg.payment_id, fact, FactOrigin.ANSWER) for fact in facts]
    if not all(kept):
        end = of_another()
    elif other := next((fact.currency for fact in facts if is_foreign(fact, payment.currency)), None):
        end = in_another_currency(end, other)
    repository.end_leg(work, leg, end)
    if end.outcome is Outcome.UNKNOWN:
        fact_book.end_by_kept_facts(work, leg)
    if end.payment_ref:
        repository.adopt_facts(work, leg.payment_id, leg.gateway, end.payment_ref)
    if leg.asks_person:
        _ask_or_withdraw(work, repository.leg(work, leg))
    return fact_book.update_state(work, leg.payment_id)


def _ask_or_withdraw(work: Work, leg: Leg) -> None:
    if leg.is_unresolved:
        questions.ask(work, leg)
    else:
        questions.withdraw(work, leg)


def _input(begun: _Begun) -> Document:
    """Build the input of the gateway's action: the same for each repetition."""
    payment, leg = begun.payment, begun.leg
    money = {"amount_minor": leg.amount_minor, "currency": payment.currency}
    given: Mapping[str, Any]
    match leg.operation:
        case Operation.AUTHORISE:
            given = {
                "reference": leg.reference,
                **money,
                "payment_method": payment.method_at(leg.gateway),
                "customer_reference": payment.customer_reference,
                "return_url": payment.return_url,
            }
        case Operation.FINISH:
            given = {"payment_ref": leg.payment_ref, "details": dict(begun.details or {})}
        case Operation.VOID:
            given = {"payment_ref": leg.payment_ref, "reference": leg.reference}
        case _:
            given = {"payment_ref": leg.payment_ref, "reference": leg.reference, **money}
    return {name: value for name, value in given.items() if value is not None}


def _repeat(payments: Payments, payment: Payment, leg: Leg) -> None:
    """Repeat one leg with its key; if that says nothing, read what became of it."""
    with payments.store.transaction() as work:
        locked = repository.lock(work, payment.payment_id)
        current = repository.leg(work, leg)
        if not current.is_unresolved or _stays_unknown(work, current):
            return
        begun = _again(work, locked, current)
    _call(payments, begun)
    if leg.operation is Operation.AUTHORISE:
        _find(payments, begun)


def _again(work: Work, payment: Payment, leg: Leg) -> _Begun:
    repeated = repository.call_again(work, leg)
    return _Begun(payment, repeated, repository.begin_call(work, leg.gateway), was_unresolved=True)


def _find(payments: Payments, begun: _Begun) -> None:
    """Read from the gateway whether it has the payment, if it has such a list. That it has none proves nothing."""
    leg = begun.leg
    with payments.store.transaction() as work:
        current = repository.leg(work, leg)
        can_find = declared(work, leg.gateway, "find_payment") is not None
    if not current.is_unresolved or not can_find:
        return
    since = leg.began_at.astimezone(UTC) - _CLOCKS_DIFFER
    given = {"reference": leg.reference, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
    try:
        found = payments.perform(leg.gateway, "find_payment", given, leg.key, begins_always)
    except (BadRequest, NotFound, IntegrationPaused):
        return
    fact_book.apply_found(payments.store, current, found)


def _lock_name(leg: Leg) -> str:
    return (
        leg.payment_id
        if leg.operation is Operation.AUTHORISE
        else f"{leg.payment_id}:{leg.operation}:{leg.request_key}"
    )


@contextmanager
def _alone(store: Store, name: str) -> Iterator[None]:
    """Let one process at a time ask gateways about *name*; no transaction is open meanwhile."""
    with store.question() as session:
        if not repository.try_lock_session(session, name):
            raise PaymentBusy(name.partition(":")[0])
    try:
        yield
    finally:
        with store.question() as session:
            repository.unlock_session(session, name)


def resolve_by_person(
    store: Store,
    payment_id: str,
    leg_id: int,
    outcome: fact_book.FoundOut,
    *,
    ref: str | None,
    reason: str,
    actor: str,
    decision_id: int | None = None,
) -> Payment:
    """
    Record what a person saw at the gateway about a call whose outcome was unknown, with an entry in the audit trail.

    Args:
        store: The hub's database.
        payment_id: The payment.
        leg_id: The call.
        outcome: done, refused (declined) or failed (it had no effect).
        ref: The gateway's reference of what was done; needed for `done`.
        reason: How the person knows.
        actor: The person.
        decision_id: The decision that this is the answer to; None to answer what is asked now.

    Raises:
        AlreadyDecided: somebody has decided before.
        NotFound: there is no such payment or call.
        BadRequest: it was done, and its reference is missing.
        Conflict: its outcome is known, or its call may still be running.

    """
    if outcome is Outcome.DONE and not ref:
        raise BadRequest("Give the gateway's reference of what was done")
    with store.transaction() as work:
        leg = _leg_of(work, payment_id, leg_id)
    with _alone(store, _lock_name(leg)), store.transaction() as work:
        # References first, then the payment: in the order of everybody else.
        if ref:
            repository.lock_refs(work, [(leg.gateway, leg.payment_ref or ref)])
        repository.lock(work, payment_id)
        if decision_id is not None:
            decisions.refuse_decided(work, decision_id)
        fact_book.end_by_person(work, _leg_of(work, payment_id, leg_id), outcome, ref)
        questions.record(work, leg, outcome, actor=actor)
        detail = {"leg": leg_id, "operation": leg.operation, "outcome": outcome, "reason": reason}
        audit.add(work, actor=actor, act="payment.resolve", subject=f"payment/{payment_id}", detail=detail)
        return repository.get(work, payment_id)


def decide(store: Store, decision: Decision, choice: str, reason: str, *, actor: str, ref: str | None) -> Payment:
    """
    Carry out what was decided about a call of a payment. *ref* is the gateway's reference of what was done.

    Raises:
        NotFound: the question was taken back: the outcome is known by now.
        BadRequest, Conflict, AlreadyDecided: as `resolve_by_person`.

    """
    match Outcome(choice):
        case Outcome.DONE | Outcome.REFUSED | Outcome.FAILED as outcome:
            leg_id, by_answer = int(decision.subject), decision.decision_id
            return resolve_by_person(
                store, decision.about, leg_id, outcome, ref=ref, reason=reason, actor=actor, decision_id=by_answer
            )
        case _:
            raise Conflict(f"A call is resolved as done, refused or failed, not as {choice}")


def _leg_of(work: Work, payment_id: str, leg_id: int) -> Leg:
    repository.get(work, payment_id)
    found = next((leg for leg in repository.legs_of(work, payment_id) if leg.leg_id == leg_id), None)
    if found is None:
        raise NotFound(f"Payment {payment_id} has no call {leg_id}")
    return found
