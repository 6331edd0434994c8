"""Payments that wait for the customer: finished by what the customer brought back, or by the gateway's event."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.commerce.payments import repository, service
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.events import FactKind
from crossdock.commerce.payments.model import NothingToFinish, Payment
from crossdock.db.database import Store
from crossdock.integrations.actions.model import RefusedBy
from crossdock.integrations.attempts.model import Outcome
from tests.commerce.payments.gateways import Gateways
from tests.commerce.payments.test_facts import fact, legs, report


def state(gateways: Gateways, payment: Payment) -> PaymentState:
    return service.show(gateways.store, payment.payment_id).state


@pytest.fixture(params=["pm_asks", "pm_asks_unnamed"])
def waiting(request: pytest.FixtureRequest, gateways: Gateways) -> Payment:
    """The gateway has a reference for it, or has none before the customer has acted."""
    return gateways.authorise(method=request.param)


def test_it_is_authorised_once_the_customer_has_acted(gateways: Gateways, waiting: Payment) -> None:
    assert waiting.state is PaymentState.REQUIRES_ACTION

    leg = gateways.finish(waiting, redirectResult="X6")

    assert (leg.outcome, state(gateways, waiting)) == (Outcome.DONE, PaymentState.AUTHORISED)
    assert gateways.servers["alpha"].done("finish")[0]["details"] == {"redirectResult": "X6"}
    assert gateways.capture(waiting).outcome is Outcome.DONE
    assert state(gateways, waiting) is PaymentState.CAPTURED


def test_a_customer_who_fails_is_declined(gateways: Gateways, waiting: Payment) -> None:
    leg = gateways.finish(waiting, result="refused")

    assert (leg.outcome, leg.code) == (Outcome.REFUSED, "not_authenticated")
    assert state(gateways, waiting) is PaymentState.DECLINED


def test_the_same_request_is_sent_once(gateways: Gateways, waiting: Payment) -> None:
    for _ in range(2):
        gateways.finish(waiting, redirectResult="X6")

    assert gateways.effects("finish") == 1


def test_a_lost_answer_is_found_out_by_the_same_request(gateways: Gateways, waiting: Payment) -> None:
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    lost = gateways.finish(waiting, redirectResult="X6")
    unresolved = service.show(gateways.store, waiting.payment_id).is_unresolved
    found = gateways.finish(waiting, redirectResult="X6")

    assert (lost.outcome, unresolved, found.outcome) == (Outcome.UNKNOWN, True, Outcome.DONE)
    assert state(gateways, waiting) is PaymentState.AUTHORISED
    assert gateways.effects("finish") == 1


def test_a_lost_answer_is_found_out_by_the_event(gateways: Gateways, waiting: Payment) -> None:
    """What the customer brought back is not stored, so that the hub cannot repeat the request by itself."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    gateways.finish(waiting, redirectResult="X6")
    calls = len(gateways.calls)
    assert service.resolve(gateways.payments, waiting.payment_id).is_unresolved
    assert len(gateways.calls) == calls

    ref = legs(gateways, waiting)[0].payment_ref or "pay_1"
    report(gateways.store, fact(FactKind.AUTHORISED, ref, payment_ref=ref, reference=waiting.reference))

    assert {leg.outcome for leg in legs(gateways, waiting)} == {Outcome.DONE}
    assert not service.show(gateways.store, waiting.payment_id).is_unresolved


def test_what_the_customer_brought_back_from_another_payment_finishes_neither(
    gateways: Gateways, waiting: Payment
) -> None:
    """Whoever pays one euro must not have the order of a hundred authorised by it: a browser brings what it likes."""
    cheap = gateways.authorise("order-4712", "pm_asks_unnamed", amount_minor=100)

    leg = gateways.finish(waiting, redirectResult="X6", of=cheap.reference)

    assert (leg.outcome, leg.refused_by, leg.code) == (Outcome.REFUSED, RefusedBy.US, "another_payment")
    assert {state(gateways, each) for each in (waiting, cheap)} == {PaymentState.REQUIRES_ACTION}
    with gateways.store.transaction() as work:
        kept = repository.facts_of(work, waiting.payment_id)
    assert FactKind.AUTHORISED not in {said.kind for said in kept}
    assert gateways.finish(waiting, "f2", redirectResult="X6", of=waiting.reference).outcome is Outcome.DONE


def test_what_waits_for_nobody_is_not_finished(gateways: Gateways) -> None:
    payment = gateways.authorise()

    with pytest.raises(NothingToFinish, match="authorised"):
        gateways.finish(payment, redirectResult="X6")
    assert gateways.effects("finish") == 0


class TestAPaymentThatTheGatewayNamesLater:
    @pytest.fixture
    def unnamed(self, gateways: Gateways) -> Payment:
        return gateways.authorise(method="pm_asks_unnamed")

    @pytest.mark.parametrize(
        ("kind", "becomes"),
        [
            (FactKind.AUTHORISED, PaymentState.AUTHORISED),
            (FactKind.AUTHORISATION_FAILED, PaymentState.DECLINED),
        ],
    )
    def test_its_event_is_matched_by_our_reference(
        self, gateways: Gateways, unnamed: Payment, kind: FactKind, becomes: PaymentState
    ) -> None:
        """It was a payment that nobody knew, and ours waited for ever."""
        report(gateways.store, fact(kind, "P1", payment_ref="P1", reference=unnamed.reference))

        assert state(gateways, unnamed) is becomes
        (leg,) = legs(gateways, unnamed)
        assert (leg.payment_ref, leg.operation_ref) == ("P1", "P1")
        with gateways.store.transaction() as work:
            assert {said.payment_ref for said in repository.facts_of(work, unnamed.payment_id)} == {"P1"}

    def test_an_event_that_came_before_the_answer_names_it(self, gateways: Gateways, hub_dsn: str) -> None:
        """The failure was kept while the call ran; the answer, which has no reference, must not begin it anew."""
        perform = gateways.perform

        def overtaken(*call: Any, **_: Any) -> Any:
            ended = perform(*call)
            with Store(hub_dsn) as other:
                report(other, fact(FactKind.AUTHORISATION_FAILED, "P1", payment_ref="P1", reference="order-4711"))
            return ended

        gateways.perform = overtaken  # type: ignore[method-assign]

        assert gateways.authorise(method="pm_asks_unnamed").state is PaymentState.DECLINED

    def test_what_its_gateway_reports_later_is_its_own(self, gateways: Gateways, unnamed: Payment) -> None:
        report(gateways.store, fact(FactKind.CAPTURED, "C1", 4_000, payment_ref="P1"))
        report(gateways.store, fact(FactKind.AUTHORISED, "P1", payment_ref="P1", reference=unnamed.reference))

        assert state(gateways, unnamed) is PaymentState.PARTLY_CAPTURED
