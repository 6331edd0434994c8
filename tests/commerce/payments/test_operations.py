"""Capture, void and refund: never more than there is, and once for each request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.commerce.payments import service
from crossdock.commerce.payments.amounts import Amounts, PaymentState, amounts_of
from crossdock.commerce.payments.model import AmountRefused, Leg, Payment
from crossdock.commerce.payments.repository import facts_of
from crossdock.db.database import Store
from crossdock.integrations.attempts.model import Outcome
from tests.commerce.payments.gateways import Gateways


def amounts(gateways: Gateways, payment: Payment) -> Amounts:
    with gateways.store.transaction() as work:
        return amounts_of(facts_of(work, payment.payment_id))


def state(gateways: Gateways, payment: Payment) -> PaymentState:
    return service.show(gateways.store, payment.payment_id).state


@pytest.fixture
def payment(gateways: Gateways) -> Payment:
    """Of 100 euros, authorised."""
    return gateways.authorise()


def test_a_payment_is_captured_and_given_back_in_parts(gateways: Gateways, payment: Payment) -> None:
    states = []
    gateways.capture(payment, 6_000, "c1")
    states.append(state(gateways, payment))
    gateways.capture(payment, None, "c2")
    states.append(state(gateways, payment))
    gateways.refund(payment, 2_500, "r1")
    states.append(state(gateways, payment))
    gateways.refund(payment, None, "r2")
    states.append(state(gateways, payment))

    assert states == [
        PaymentState.PARTLY_CAPTURED,
        PaymentState.CAPTURED,
        PaymentState.PARTLY_REFUNDED,
        PaymentState.REFUNDED,
    ]
    found = amounts(gateways, payment)
    assert (found.authorised_minor, found.captured_minor, found.refunded_minor) == (10_000, 10_000, 10_000)
    assert [body["amount_minor"] for body in gateways.servers["alpha"].done("refund")] == [2_500, 7_500]


def test_a_void_releases_what_is_not_captured(gateways: Gateways, payment: Payment) -> None:
    gateways.void(payment)

    assert state(gateways, payment) is PaymentState.VOIDED
    with pytest.raises(AmountRefused):
        gateways.capture(payment)
    assert gateways.effects("capture") == 0


def test_a_payment_that_waits_for_the_customer_can_be_voided(gateways: Gateways) -> None:
    """Nothing can be captured of it yet, and the customer could still confirm it."""
    waiting = gateways.authorise(method="pm_asks")

    assert gateways.void(waiting).outcome is Outcome.DONE
    assert state(gateways, waiting) is PaymentState.VOIDED
    with pytest.raises(AmountRefused):
        gateways.void(waiting, "v2")


def test_more_than_there_is_is_refused_before_any_call(gateways: Gateways, payment: Payment) -> None:
    gateways.capture(payment, 6_000)
    calls = len(gateways.calls)

    with pytest.raises(AmountRefused, match=r"4,000 are left"):
        gateways.capture(payment, 4_001, "c2")
    with pytest.raises(AmountRefused, match=r"6,000 are left"):
        gateways.refund(payment, 6_001)
    assert len(gateways.calls) == calls


def test_nothing_is_captured_before_it_is_authorised(gateways: Gateways) -> None:
    declined = gateways.authorise(method="pm_declined")

    with pytest.raises(AmountRefused):
        gateways.capture(declined)


def test_the_same_request_again_is_the_same_capture(gateways: Gateways, payment: Payment) -> None:
    first, again = (gateways.capture(payment, 4_000) for _ in range(2))

    assert first.outcome is again.outcome is Outcome.DONE
    assert gateways.effects("capture") == 1


def test_two_captures_at_once_cannot_exceed_what_is_authorised(
    gateways: Gateways, payment: Payment, hub_dsn: str
) -> None:
    """Seven of ten, twice: the second sees what the first reserved, while that one's call is running."""
    gateways.fault("alpha", {"latency_ms": 700})

    def capture(request_key: str) -> Leg | None:
        with Store(hub_dsn) as store:
            try:
                return gateways.in_thread(store).capture(payment, 7_000, request_key)
            except AmountRefused:
                return None

    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(capture, ["c1", "c2"]))

    assert sorted(leg is None for leg in ended) == [False, True]
    assert amounts(gateways, payment).captured_minor == 7_000
    assert gateways.effects("capture") == 1


def test_a_capture_of_unknown_outcome_keeps_its_amount(gateways: Gateways, payment: Payment) -> None:
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    lost = gateways.capture(payment, 7_000)

    assert lost.outcome is Outcome.UNKNOWN
    with pytest.raises(AmountRefused, match=r"3,000 are left"):
        gateways.capture(payment, 7_000, "c2")
    with pytest.raises(AmountRefused):
        gateways.void(payment)
    assert gateways.capture(payment, 7_000).outcome is Outcome.DONE
    assert gateways.effects("capture") == 1
    assert amounts(gateways, payment).captured_minor == 7_000


def test_a_capture_that_failed_frees_its_amount_and_may_be_sent_again(gateways: Gateways, payment: Payment) -> None:
    gateways.fault("alpha", *[{"status": 429, "retry_after": 0}] * 2)
    failed = gateways.capture(payment, 7_000)
    assert failed.outcome is Outcome.FAILED
    gateways.capture(payment, 4_000, "c2")

    with pytest.raises(AmountRefused, match=r"6,000 are left"):
        gateways.capture(payment, 7_000)
    assert amounts(gateways, payment).captured_minor == 4_000


def test_a_capture_is_asked_of_the_gateway_that_authorised(gateways: Gateways) -> None:
    gateways.servers["alpha"].__exit__(None, None, None)
    payment = gateways.authorise()

    assert gateways.capture(payment).gateway == "beta"
