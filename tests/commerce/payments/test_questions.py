"""A payment's call whose outcome nobody knows: it stands in the one list of what waits for a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossdock.app import decisions as use_cases
from crossdock.commerce.payments import service
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.facts import FactKind
from crossdock.commerce.payments.model import Operation, Payment
from crossdock.core.errors import BadRequest, Conflict
from crossdock.integrations.attempts.model import Outcome
from crossdock.observability import decisions
from crossdock.observability.decisions import Decision, DecisionKind
from tests.commerce.payments.gateways import OTTO, Gateways
from tests.commerce.payments.test_facts import fact, legs, report
from tests.shop import query


def asked(gateways: Gateways, payment: Payment) -> list[Decision]:
    with gateways.store.transaction() as work:
        return decisions.find(work, about=payment.payment_id)


@pytest.fixture
def unknown(gateways: Gateways) -> Payment:
    """Whose answer was lost; the gateway has authorised it."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    return gateways.authorise()


def test_a_person_is_asked_what_became_of_it(gateways: Gateways, unknown: Payment) -> None:
    (decision,) = asked(gateways, unknown)

    assert (decision.kind, decision.about) == (DecisionKind.PAYMENT, unknown.payment_id)
    assert decision.choices == ("done", "refused", "failed")
    assert "alpha" in decision.question
    assert legs(gateways, unknown)[0].reference in decision.question


def test_what_has_an_answer_asks_nobody(gateways: Gateways) -> None:
    assert asked(gateways, gateways.authorise()) == []
    assert query(gateways.store, "SELECT count(*) FROM decision") == [(0,)]


def test_done_needs_the_reference_and_ends_the_call(gateways: Gateways, unknown: Payment) -> None:
    (decision,) = asked(gateways, unknown)
    with pytest.raises(BadRequest, match="reference"):
        use_cases.make(gateways.store, decision, "done", reason="seen there", actor=OTTO)
    made = use_cases.make(
        gateways.store, decision, "done", reason="seen there", actor=OTTO, ref="pay_alpha_authorise_1"
    )

    assert (made.choice, made.decided_by) == ("done", OTTO)
    assert service.show(gateways.store, unknown.payment_id).state is PaymentState.AUTHORISED
    assert gateways.capture(unknown).outcome is Outcome.DONE
    with pytest.raises(Conflict, match="was made by"):
        use_cases.make(gateways.store, decision, "failed", reason="no", actor=OTTO)


def test_the_second_of_two_who_decide_at_once_is_refused(gateways: Gateways, unknown: Payment) -> None:
    """Both have read the question before either answered."""
    (decision,) = asked(gateways, unknown)
    service.resolve_by_person(
        gateways.store,
        unknown.payment_id,
        legs(gateways, unknown)[0].leg_id,
        Outcome.FAILED,
        ref=None,
        reason="not there",
        actor=OTTO,
    )
    with pytest.raises(Conflict, match="was made by"):
        use_cases.make(gateways.store, decision, "refused", reason="declined", actor="ada")


def test_an_event_of_the_gateway_takes_the_question_back(gateways: Gateways, unknown: Payment) -> None:
    reference = legs(gateways, unknown)[0].reference
    report(
        gateways.store,
        fact(FactKind.AUTHORISED, "alpha_authorise_1", payment_ref="pay_alpha_authorise_1", reference=reference),
    )

    assert asked(gateways, unknown) == []


def test_the_repeated_call_takes_the_question_back(gateways: Gateways, unknown: Payment) -> None:
    assert service.resolve(gateways.payments, unknown.payment_id).state is PaymentState.AUTHORISED
    assert asked(gateways, unknown) == []


def test_a_process_that_dies_in_the_call_leaves_a_question(gateways: Gateways) -> None:
    """Nobody is left who could ask when the call must be over."""

    class Died(Exception):
        pass

    def die(*_: object, **__: object) -> object:
        raise Died

    payments = replace(gateways.payments, perform=die)
    with pytest.raises(Died):
        service.authorise(payments, gateways.request(), actor=OTTO)

    assert query(gateways.store, "SELECT kind, opened_at > clock_timestamp() FROM decision") == [("payment", True)]


def test_a_caller_that_asks_itself_has_no_second_question(gateways: Gateways) -> None:
    """An order's step waits, and is what a person decides about."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    payments = replace(gateways.payments, asks_person=False)
    payment = service.authorise(payments, gateways.request(), actor=OTTO)

    assert payment.is_unresolved
    assert asked(gateways, payment) == []


def test_the_capture_of_an_authorised_payment_is_asked_about_by_itself(gateways: Gateways) -> None:
    payment = gateways.authorise()
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    gateways.capture(payment)

    (decision,) = asked(gateways, payment)
    (captured,) = [leg for leg in legs(gateways, payment) if leg.operation is Operation.CAPTURE]
    assert decision.subject == str(captured.leg_id)
    assert "capture" in decision.question


def test_the_one_who_began_a_call_is_the_one_who_asks(gateways: Gateways) -> None:
    """An operator who has an order's payment resolved adds no question to that of the order's step."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    of_the_step = replace(gateways.payments, asks_person=False)
    payment = service.authorise(of_the_step, gateways.request(), actor=OTTO)
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    service.resolve(gateways.payments, payment.payment_id)
    assert asked(gateways, payment) == []


def test_whoever_finds_out_takes_the_question_back(gateways: Gateways, unknown: Payment) -> None:
    """The step of an order repeats a call that an operator had begun."""
    of_the_step = replace(gateways.payments, asks_person=False)

    assert not service.resolve(of_the_step, unknown.payment_id).is_unresolved
    assert asked(gateways, unknown) == []
