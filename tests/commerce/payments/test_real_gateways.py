"""Payments at the real connectors: one charge at most, by the providers' own ledgers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.commerce.payments import repository, service
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.model import Payment
from crossdock.db.database import Store
from tests.commerce.payments.real_gateways import ADYEN, METHODS, STRIPE, RealGateways, connected

CHARGED = [("authorised", 4_990)]


@pytest.fixture
def gateways(store: Store) -> Iterator[RealGateways]:
    with connected(store) as opened:
        yield opened


def other(gateway: str) -> str:
    return ADYEN if gateway == STRIPE else STRIPE


def lose_answers(gateways: RealGateways, *names: str) -> None:
    for name in names:
        gateways.system(name).faults.put("*", [{"reset": "after"}], repeat=True)


def heal(gateways: RealGateways) -> None:
    for name in METHODS:
        gateways.system(name).faults.clear()


def asked(gateways: RealGateways, payment: Payment) -> str:
    """The one gateway that was asked."""
    with gateways.store.transaction() as work:
        (leg,) = repository.legs_of(work, payment.payment_id)
    return leg.gateway


@pytest.mark.parametrize("in_trouble", [STRIPE, ADYEN])
def test_a_lost_answer_is_found_out_at_the_same_gateway_and_nobody_is_charged_twice(
    gateways: RealGateways, in_trouble: str
) -> None:
    # Its last call failed, so that the other comes first.
    gateways.system(in_trouble).faults.put("*", [{"status": 401}], repeat=True)
    gateways.place("before", payment_methods={in_trouble: METHODS[in_trouble]})
    heal(gateways)
    lose_answers(gateways, STRIPE, ADYEN)

    lost = gateways.place()
    heal(gateways)
    found = service.resolve(gateways.payments, lost.payment_id)

    assert asked(gateways, lost) == other(in_trouble)
    assert (lost.state, lost.is_unresolved) == (PaymentState.UNKNOWN, True)
    assert (found.state, found.is_unresolved) == (PaymentState.AUTHORISED, False)
    assert gateways.ledger(other(in_trouble)) == CHARGED
    assert gateways.ledger(in_trouble) == []


@pytest.mark.parametrize("number", [pytest.param(100, marks=pytest.mark.deep), 5])
def test_answers_lost_after_the_effect_charge_nobody_at_the_second_gateway(gateways: RealGateways, number: int) -> None:
    """And each is found out once the gateways answer again."""
    lose_answers(gateways, STRIPE, ADYEN)
    lost = [gateways.place(f"order-{each}") for each in range(number)]
    heal(gateways)

    found = [service.resolve(gateways.payments, payment.payment_id) for payment in lost]

    assert {payment.state for payment in found} == {PaymentState.AUTHORISED}
    charged = {name: sum(asked(gateways, payment) == name for payment in lost) for name in METHODS}
    assert {name: gateways.ledger(name) for name in METHODS} == {name: CHARGED * charged[name] for name in METHODS}


def test_a_reference_of_another_payment_is_for_a_person_and_not_a_reason_to_charge_again(store: Store) -> None:
    """A provider that starts anew gives its references again: what was done is not called failed."""
    with connected(store) as first:
        first.place("order-1", payment_methods={STRIPE: METHODS[STRIPE]})
    with connected(store) as again:
        payment = again.place("order-2", payment_methods={STRIPE: METHODS[STRIPE]})
        repeated = again.place("order-2", payment_methods={STRIPE: METHODS[STRIPE]})

        assert (payment.state, repeated.state) == (PaymentState.UNKNOWN, PaymentState.UNKNOWN)
        assert again.ledger(STRIPE) == CHARGED
