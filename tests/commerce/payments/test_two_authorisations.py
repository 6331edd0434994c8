"""Two authorisations for one payment: an alert, and the one that is too many can be released."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.commerce.payments import repository, service
from crossdock.commerce.payments.amounts import PaymentState, amounts_of
from crossdock.commerce.payments.events import FactKind
from crossdock.commerce.payments.model import Payment
from crossdock.commerce.payments.service import Request
from crossdock.integrations.attempts.model import Outcome
from tests.commerce.payments.gateways import OTTO, Gateways
from tests.commerce.payments.test_facts import fact, legs, report


@pytest.fixture
def doubled(gateways: Gateways) -> Payment:
    """A person said too early that alpha had none; beta authorised it, and then alpha's event came."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    payment = gateways.authorise()
    (leg,) = legs(gateways, payment)
    service.resolve_by_person(
        gateways.store, payment.payment_id, leg.leg_id, Outcome.FAILED, ref=None, reason="not in its list", actor=OTTO
    )
    gateways.authorise()
    ref = "pay_alpha_authorise_1"
    report(gateways.store, fact(FactKind.AUTHORISED, "auth_1", payment_ref=ref, reference=payment.reference))
    return service.show(gateways.store, payment.payment_id)


def void(gateways: Gateways, payment: Payment, gateway: str | None, request_key: str) -> str:
    request = Request(payment.payment_id, request_key, OTTO, gateway=gateway)
    return service.void(gateways.payments, request).gateway


def test_both_are_counted(gateways: Gateways, doubled: Payment) -> None:
    assert {(leg.gateway, leg.outcome) for leg in legs(gateways, doubled)} == {
        ("alpha", Outcome.DONE),
        ("beta", Outcome.DONE),
    }
    assert doubled.live_authorisations == 2


@pytest.mark.parametrize(("gateway", "other"), [("alpha", "beta"), ("beta", "alpha")])
def test_one_is_voided_and_the_other_captured(gateways: Gateways, doubled: Payment, gateway: str, other: str) -> None:
    """The payment was called voided with the first void, and nothing of the other authorisation could be captured."""
    assert void(gateways, doubled, gateway, "v1") == gateway

    found = service.show(gateways.store, doubled.payment_id)
    assert (found.state, found.live_authorisations) == (PaymentState.AUTHORISED, 1)
    assert gateways.capture(doubled).gateway == other
    assert service.show(gateways.store, doubled.payment_id).state is PaymentState.CAPTURED
    with gateways.store.transaction() as work:
        amounts = amounts_of(repository.facts_of(work, doubled.payment_id))
    assert (amounts.authorised_minor, amounts.capturable_minor) == (10_000, 0)


def test_both_are_voided_one_after_the_other(gateways: Gateways, doubled: Payment) -> None:
    assert [void(gateways, doubled, None, key) for key in ("v1", "v2")] == ["alpha", "beta"]

    found = service.show(gateways.store, doubled.payment_id)
    assert (found.state, found.live_authorisations) == (PaymentState.VOIDED, 0)


def test_what_was_captured_at_one_is_refunded_there(gateways: Gateways, doubled: Payment) -> None:
    for gateway in ("alpha", "beta"):
        service.capture(gateways.payments, Request(doubled.payment_id, gateway, OTTO, gateway=gateway))
    service.refund(gateways.payments, Request(doubled.payment_id, "r1", OTTO, gateway="beta"))

    assert [body["amount_minor"] for body in gateways.servers["beta"].done("refund")] == [10_000]
    assert service.show(gateways.store, doubled.payment_id).live_authorisations == 1


@pytest.mark.parametrize("end", [FactKind.VOIDED, FactKind.CAPTURED])
def test_a_second_one_at_the_same_gateway_is_counted_until_it_is_over(gateways: Gateways, end: FactKind) -> None:
    """A gateway that had forgotten the key did it twice. What somebody captures there is another shop's payment."""
    payment = gateways.authorise()
    other = {"payment_ref": "pay_again"}
    seen = []
    for said in (
        fact(FactKind.AUTHORISED, "auth_2", reference=payment.reference, **other),
        fact(end, "end_2", **other),
    ):
        report(gateways.store, said)
        seen.append(service.show(gateways.store, payment.payment_id).live_authorisations)

    assert seen == [2, 1]


@pytest.mark.parametrize("other", [{"amount_minor": 9_999}, {"currency": "USD"}, {"gateway": "beta"}])
def test_what_looks_otherwise_is_another_shops(gateways: Gateways, other: dict[str, Any]) -> None:
    payment = gateways.authorise()
    report(
        gateways.store,
        fact(FactKind.AUTHORISED, "auth_2", reference=payment.reference, payment_ref="pay_again", **other),
    )

    assert service.show(gateways.store, payment.payment_id).live_authorisations == 1
