"""A gateway that was removed and added again may be another account: it is not asked about calls of the earlier one."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.commerce.payments import repository, service
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.events import FactKind
from crossdock.commerce.payments.model import Payment
from crossdock.integrations.attempts.model import Outcome
from tests.commerce.payments.gateways import OTTO, Gateways, add_again
from tests.commerce.payments.test_facts import fact, legs, report
from tests.shop import query


@pytest.fixture
def unknown(gateways: Gateways) -> Payment:
    """Whose answer was lost, before the gateway was added again with another key."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    payment = gateways.authorise()
    add_again(gateways.store, "alpha")
    return payment


@pytest.mark.parametrize("again", ["authorise", "resolve"])
def test_the_other_account_is_not_asked(gateways: Gateways, unknown: Payment, again: str) -> None:
    """It would charge the customer a second time: it knows neither the key nor the payment."""
    gateways.servers["alpha"]._answers.clear()
    calls = len(gateways.calls)

    found = gateways.authorise() if again == "authorise" else service.resolve(gateways.payments, unknown.payment_id)

    assert (found.state, found.is_unresolved) == (PaymentState.UNKNOWN, True)
    assert len(gateways.calls) == calls
    assert gateways.effects() == 1
    (leg,) = legs(gateways, unknown)
    assert "removed and added again" in str(leg.message)


def test_a_capture_of_unknown_outcome_is_not_sent_to_it(gateways: Gateways) -> None:
    payment = gateways.authorise()
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    lost = gateways.capture(payment, 4_000)
    add_again(gateways.store, "alpha")
    calls = len(gateways.calls)

    assert [lost.outcome, gateways.capture(payment, 4_000).outcome] == [Outcome.UNKNOWN] * 2
    assert len(gateways.calls) == calls


def test_a_payment_of_the_other_account_with_the_same_reference_says_nothing(
    gateways: Gateways, unknown: Payment
) -> None:
    """A declined order of another shop, which counts its orders as we do, would end ours."""
    report(gateways.store, fact(FactKind.AUTHORISATION_FAILED, payment_ref="pay_theirs", reference=unknown.reference))

    assert service.show(gateways.store, unknown.payment_id).state is PaymentState.UNKNOWN
    with gateways.store.transaction() as work:
        assert len(repository.unmatched_facts(work)) == 1


def test_a_person_can_say_what_became_of_it(gateways: Gateways, unknown: Payment) -> None:
    (leg,) = legs(gateways, unknown)
    found: Any = service.resolve_by_person(
        gateways.store, unknown.payment_id, leg.leg_id, Outcome.DONE, ref="pay_1", reason="in its dashboard", actor=OTTO
    )

    assert found.state is PaymentState.AUTHORISED


def test_a_call_whose_account_was_not_kept_is_repeated(gateways: Gateways) -> None:
    """It was made by a version of the hub that did not keep it."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    payment = gateways.authorise()
    query(gateways.store, "UPDATE payment_leg SET account = NULL RETURNING leg_id")

    assert service.resolve(gateways.payments, payment.payment_id).state is PaymentState.AUTHORISED
