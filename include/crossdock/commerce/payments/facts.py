"""Apply what gateways and people say about payments, from wherever it comes and in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from crossdock.commerce.payments import questions, repository
from crossdock.commerce.payments.accounts import account_of, declared
from crossdock.commerce.payments.amounts import PaymentState, amounts_of, is_foreign, open_dispute_until, state_of
from crossdock.commerce.payments.books import MOVING, balances_of, difference, taken_back_minor
from crossdock.commerce.payments.events import FactKind, PaymentFact
from crossdock.commerce.payments.kinds import MEANINGS, STAGES, Stage, Topic, kind_of
from crossdock.commerce.payments.model import FactOrigin, Leg, LegEnd, Operation, Payment, is_unresolved, state_from
from crossdock.commerce.payments.repository import Known
from crossdock.core.errors import BadRequest, Conflict
from crossdock.db.database import Store, Work
from crossdock.integrations.actions.model import Document, Done, Ended, RefusedBy
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome, Resolution

#: What a fact says of a leg: that the gateway took it, or decided against it.
_Said = Literal[Outcome.DONE, Outcome.REFUSED]
#: What can be found out about a call.
FoundOut = Literal[Outcome.DONE, Outcome.REFUSED, Outcome.FAILED]

_TOPICS = frozenset(operation.topic for operation in Operation)
_RESOLUTIONS = {
    FactOrigin.EVENT: Resolution.WEBHOOK,
    FactOrigin.READ: Resolution.LIST,
    FactOrigin.PERSON: Resolution.PERSON,
}


def apply(work: Work, facts: Sequence[PaymentFact], origin: FactOrigin) -> None:
    """
    Keep *facts*, and apply them to their payments. Idempotent; any order of facts gives the same state and amounts.

    A fact also resolves the leg that it is about. One of a payment that the hub does not know is kept without a payment.
    """
    repository.lock_refs(work, [(fact.gateway, fact.payment_ref) for fact in facts])
    accounts = {gateway: account_of(work, gateway) for gateway in {fact.gateway for fact in facts}}
    matched = [(repository.match(work, fact, accounts[fact.gateway]), fact) for fact in facts]
    known = sorted({payment_id for payment_id, _ in matched if payment_id})
    for payment_id in known:
        repository.lock(work, payment_id)
    for found, fact in matched:
        if found and MEANINGS[fact.kind].topic is Topic.AUTHORISATION:
            repository.name_payment(work, repository.get(work, found), fact)
        if repository.add_fact(work, found, fact, origin) and found:
            _resolve_leg(work, found, fact, origin)
    for payment_id in known:
        update_state(work, payment_id)
    for payment_id in sorted(
        {twin for found, fact in matched if not found for twin in repository.with_twin(work, fact)}
    ):
        if payment_id not in known:
            repository.lock(work, payment_id)
            update_state(work, payment_id)


def apply_found(store: Store, leg: Leg, found: Ended) -> None:
    """Apply what `find_payment` read about an unresolved authorisation. That the gateway has none proves nothing."""
    if not isinstance(found, Done) or found.output is None or not found.output["found"]:
        return
    if fact := _fact_found(leg, found.output):
        with store.transaction() as work:
            apply(work, [fact], FactOrigin.READ)


def end_by_person(work: Work, leg: Leg, outcome: FoundOut, ref: str | None) -> None:
    """
    Record what a person found out about *leg*; the caller has locked its payment. *ref* is the gateway's reference.

    Raises:
        BadRequest: *ref* is of another form than those by which the gateway names such effects.
        Conflict: its outcome is known, its call may still be running, the attempt log knows better, or *ref* is that of
            another call.

    """
    if not leg.is_unresolved:
        raise Conflict(f"The outcome of this call is {leg.outcome}, not unknown")
    _refuse_other_form(work, leg, ref)
    if ref and (other := repository.taken_by(work, leg, ref)):
        raise Conflict(f"The reference {ref!r} of {leg.gateway} is that of another call, of payment {other}")
    _resolve_attempt(work, leg, outcome, FactOrigin.PERSON, strict=True)
    if outcome is Outcome.DONE:
        # The person said which call it is about: nothing is matched.
        said = _fact_of_person(leg, ref or "")
        repository.add_fact(work, leg.payment_id, said, FactOrigin.PERSON)
        repository.end_leg(work, leg, _end_of(said, outcome))
        repository.adopt_facts(work, leg.payment_id, leg.gateway, said.payment_ref)
    elif outcome is Outcome.REFUSED:
        end = LegEnd(outcome=outcome, refused_by=RefusedBy.DECISION, message="A person said that it was declined")
        repository.end_leg(work, leg, end)
    else:
        repository.end_leg(
            work, leg, LegEnd(outcome=outcome, message="A person said that it had no effect", try_other=True)
        )
    update_state(work, leg.payment_id)


def _refuse_other_form(work: Work, leg: Leg, ref: str | None) -> None:
    """Refuse a reference that the gateway's event would not have: with that, one effect would count as two."""
    action = declared(work, leg.gateway, leg.operation)
    form = action.names_effect if action else None
    if ref and form and not re.fullmatch(form, ref):
        raise BadRequest(
            f"{ref!r} is not the reference of this {leg.operation} at {leg.gateway}. Give the one that names it in the "
            f"gateway's events: {form}"
        )


def update_state(work: Work, payment_id: str) -> Payment:
    """Derive the state of a payment from its legs and facts; return the payment with it. The caller has locked it."""
    return write_state(work, repository.known(work, payment_id))


def write_state(work: Work, known: Known) -> Payment:
    """Write what follows from all that is *known* of a payment, which the caller has locked; return the payment with it."""
    payment, facts = known.payment, known.facts
    state = state_from(known.legs, facts, payment)
    is_open = is_unresolved(known.legs, state)
    live = amounts_of(facts, payment.currency).live_authorisations + known.twins
    dispute_until = open_dispute_until(facts)
    taken_back = taken_back_minor(facts, payment.amount_minor, payment.currency)
    stored = (payment.state, payment.is_unresolved, payment.live_authorisations, payment.dispute_until)
    if (*stored, known.taken_back_minor) != (state, is_open, live, dispute_until, taken_back):
        written = repository.set_state(
            work,
            payment.payment_id,
            state,
            is_unresolved=is_open,
            live_authorisations=live,
            dispute_until=dispute_until,
            taken_back_minor=taken_back,
        )
        payment = written or payment
    _post(work, known)
    return payment


def _post(work: Work, known: Known) -> None:
    """Post what has changed in the books since the last time."""
    if not any(MEANINGS[fact.kind].topic in MOVING for fact in known.facts):
        return
    if lines := difference(known.balances, balances_of(known.facts, known.payment.currency)):
        repository.post(work, known.payment.payment_id, lines)


def end_by_kept_facts(work: Work, leg: Leg) -> None:
    """End *leg* by what events said while its call ran, if that did not tell its outcome; the caller has locked its payment."""
    for fact in repository.facts_of(work, leg.payment_id):
        _resolve_leg(work, leg.payment_id, fact, FactOrigin.EVENT)


def _resolve_leg(work: Work, payment_id: str, fact: PaymentFact, origin: FactOrigin) -> None:
    """End the leg that *fact* is about, and its attempt, or correct one that took no effect for certain."""
    topic, stage = MEANINGS[fact.kind]
    if topic not in _TOPICS:
        return
    outcome: _Said = Outcome.REFUSED if stage is Stage.UNDONE else Outcome.DONE
    if is_foreign(fact, repository.get(work, payment_id).currency):
        return
    for leg in repository.legs_of(work, payment_id):
        if (leg.operation.topic, leg.gateway) != (topic, fact.gateway) or not _is_about(fact, leg):
            continue
        if leg.operation is Operation.FINISH and stage not in (Stage.DONE, Stage.UNDONE):
            # That the payment waited for its customer was said before.
            continue
        if leg.amount_minor is not None and (fact.amount_minor or 0) > leg.amount_minor:
            continue
        if leg.outcome is Outcome.OPEN and outcome is Outcome.REFUSED:
            # Its call runs: the answer knows more, such as whether another gateway may take it.
            continue
        if leg.is_unresolved:
            repository.end_leg(work, leg, _end_of(fact, outcome))
            questions.withdraw(work, leg)
            _resolve_attempt(work, leg, outcome, origin)
        elif leg.outcome is not Outcome.DONE and _is_live(work, payment_id, fact):
            repository.correct_leg(work, leg, _end_of(fact, outcome))
    repository.adopt_facts(work, payment_id, fact.gateway, fact.payment_ref)


def _is_about(fact: PaymentFact, leg: Leg) -> bool:
    """Check whether *fact* is about *leg*, which is of the same payment: it has one authorisation at a gateway, and may have several captures."""
    return leg.operation.topic is Topic.AUTHORISATION or fact.reference == leg.reference


def _is_live(work: Work, payment_id: str, fact: PaymentFact) -> bool:
    """Check whether the gateway has the authorisation of *fact*: its failure may have come before its success."""
    topic, stage = MEANINGS[fact.kind]
    if topic is not Topic.AUTHORISATION or stage is Stage.UNDONE:
        return False
    here = (fact.gateway, fact.payment_ref)
    said = [known for known in repository.facts_of(work, payment_id) if (known.gateway, known.payment_ref) == here]
    return state_of(said, repository.get(work, payment_id).currency) not in (None, PaymentState.DECLINED)


def _end_of(fact: PaymentFact, outcome: Outcome) -> LegEnd:
    if outcome is Outcome.REFUSED:
        return LegEnd(outcome=outcome, refused_by=RefusedBy.DECISION, code=fact.code, payment_ref=fact.payment_ref)
    return LegEnd(outcome=outcome, payment_ref=fact.payment_ref, operation_ref=fact.operation_ref)


def _resolve_attempt(work: Work, leg: Leg, outcome: FoundOut, origin: FactOrigin, *, strict: bool = False) -> None:
    """Give the outcome to the attempt log. A call that runs now writes its own; with *strict*, that is an error."""
    attempt = attempts.find(work, leg.gateway, leg.key)
    if attempt is None:
        return
    if attempt.outcome is Outcome.UNKNOWN:
        attempts.resolve(work, attempt.attempt_id, outcome, _RESOLUTIONS[origin])
    elif strict and attempt.outcome is not outcome:
        raise Conflict(
            f"The attempt log says that this call is {attempt.outcome}. Repeat the call, or wait until it has ended"
        )


def _fact_found(leg: Leg, output: Document) -> PaymentFact | None:
    if output["state"] is None or output["payment_ref"] is None:
        return None
    said = _fact(
        leg, kind_of(Topic.AUTHORISATION, STAGES[output["state"]]), output["payment_ref"], output["payment_ref"]
    )
    # What the gateway has, whatever it was asked for.
    return msgspec.structs.replace(said, amount_minor=output["amount_minor"], currency=output["currency"])


def _fact_of_person(leg: Leg, ref: str) -> PaymentFact:
    return _fact(leg, kind_of(leg.operation.topic, Stage.DONE), leg.payment_ref or ref, ref)


def _fact(leg: Leg, kind: FactKind, payment_ref: str, operation_ref: str) -> PaymentFact:
    return PaymentFact(
        gateway=leg.gateway,
        payment_ref=payment_ref,
        operation_ref=operation_ref,
        kind=kind,
        occurred_at=datetime.now(UTC),
        amount_minor=leg.amount_minor,
        reference=leg.reference,
    )
