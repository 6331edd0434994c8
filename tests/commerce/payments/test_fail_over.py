"""Who is asked for an authorisation, and who is not: one charge, whatever the gateways do."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.model import PaymentBusy, ReferenceTaken
from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.integrations import service as integrations
from tests.commerce.payments.gateways import OTTO, Gateways, connected
from tests.shop import query

#: Answers that say that the request had no effect.
NO_EFFECT = [{"status": 429, "retry_after": 0}, {"status": 503}]


def legs(gateways: Gateways) -> list[tuple[Any, ...]]:
    return query(gateways.store, "SELECT gateway, outcome, calls FROM payment_leg ORDER BY leg_id")


def test_a_payment_is_authorised_at_one_gateway(gateways: Gateways) -> None:
    payment = gateways.authorise()

    assert (payment.state, payment.is_unresolved) == (PaymentState.AUTHORISED, False)
    assert gateways.calls == [("alpha", "authorise")]
    assert gateways.effects() == 1


def test_a_gateway_that_is_down_passes_the_payment_to_the_next(gateways: Gateways) -> None:
    gateways.servers["alpha"].__exit__(None, None, None)

    payment = gateways.authorise()

    assert payment.state is PaymentState.AUTHORISED
    assert legs(gateways) == [("alpha", "failed", 1), ("beta", "done", 1)]
    assert gateways.effects() == 1


def test_a_lost_answer_never_passes_the_payment_to_another(gateways: Gateways) -> None:
    """However much time has passed, and however often somebody tries."""
    gateways.fault("alpha", {"reset": "after"}, repeat=True)

    first = gateways.authorise()
    with gateways.store.transaction() as work:
        work.execute(
            b"UPDATE payment_leg SET began_at = began_at - interval '1 day', called_at = called_at - interval '1 day'"
        )
    second = gateways.authorise()

    assert (first.state, second.state) == (PaymentState.UNKNOWN, PaymentState.UNKNOWN)
    assert {gateway for gateway, _ in gateways.calls} == {"alpha"}
    assert gateways.effects() == 1


def test_the_same_reference_again_finds_out_what_became_of_it(gateways: Gateways) -> None:
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    assert gateways.authorise().state is PaymentState.UNKNOWN

    assert gateways.authorise().state is PaymentState.AUTHORISED
    assert legs(gateways) == [("alpha", "done", 2)]
    assert gateways.effects() == 1


def test_a_decline_is_final_and_no_other_gateway_is_asked(gateways: Gateways) -> None:
    payment = gateways.authorise(method="pm_declined")

    assert payment.state is PaymentState.DECLINED
    assert gateways.authorise(method="pm_declined").state is PaymentState.DECLINED
    assert gateways.calls == [("alpha", "authorise")]


def test_a_decline_of_one_gateway_alone_passes_the_payment_to_the_next_once(gateways: Gateways) -> None:
    """A risk rule of the gateway, not the customer's bank."""
    states = [gateways.authorise(method="pm_blocked_here").state for _ in range(2)]

    assert states == [PaymentState.DECLINED] * 2
    assert gateways.calls == [("alpha", "authorise"), ("beta", "authorise")]


def test_a_payment_that_no_gateway_took_is_tried_again_by_its_reference(gateways: Gateways) -> None:
    for name in gateways.servers:
        gateways.fault(name, {"status": 403})
    assert gateways.authorise().state is PaymentState.FAILED
    assert len(gateways.calls) == 2

    assert gateways.authorise().state is PaymentState.AUTHORISED
    assert gateways.effects() == 1


def test_a_paused_gateway_is_not_asked(gateways: Gateways) -> None:
    integrations.pause(gateways.store, "alpha", actor=OTTO)

    assert gateways.authorise().state is PaymentState.AUTHORISED
    assert gateways.calls == [("beta", "authorise")]


def test_pausing_a_gateway_with_an_unknown_payment_asks_no_other(gateways: Gateways) -> None:
    """A person takes a gateway out because it fails: its open payments must not be charged at the next."""
    gateways.fault("alpha", {"reset": "after"}, repeat=True)
    gateways.authorise()
    integrations.pause(gateways.store, "alpha", actor=OTTO)

    assert gateways.authorise().state is PaymentState.UNKNOWN
    assert legs(gateways) == [("alpha", "unknown", 2)]
    assert gateways.effects() == 1


def test_a_reference_belongs_to_one_payment(gateways: Gateways) -> None:
    gateways.authorise()

    with pytest.raises(ReferenceTaken):
        gateways.authorise(amount_minor=1)
    assert gateways.effects() == 1


def test_a_payment_that_no_gateway_can_take_is_refused_and_not_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(store, monkeypatch, ()) as none, pytest.raises(Conflict, match="none is connected"):
        none.authorise()
    assert query(store, "SELECT count(*) FROM payment") == [(0,)]


def test_without_keys_a_lost_answer_waits_and_is_not_sent_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(store, monkeypatch, keys=False) as gateways:
        gateways.fault("alpha", {"reset": "before"})
        states = [gateways.authorise().state for _ in range(3)]

        assert states == [PaymentState.UNKNOWN] * 3
        assert gateways.effects() == 0
        assert len(gateways.servers["beta"].requests) == 0


def test_a_process_that_slept_until_another_went_on_sends_nothing(gateways: Gateways, hub_dsn: str) -> None:
    """Its leg was committed and its lock was lost: the other one met a gateway that was down, and asked the next."""
    awake = gateways.perform

    def sleep(*call: Any, **_: Any) -> Any:
        query(gateways.store, "SELECT pg_advisory_unlock_all()")
        gateways.perform = awake  # type: ignore[method-assign]
        gateways.fault("alpha", *[{"status": 429, "retry_after": 0}] * 2)
        with Store(hub_dsn) as other:
            assert gateways.in_thread(other).authorise().state is PaymentState.AUTHORISED
        return awake(*call)

    gateways.perform = sleep  # type: ignore[method-assign]
    with pytest.raises(PaymentBusy):
        gateways.authorise()

    assert legs(gateways) == [("alpha", "failed", 2), ("beta", "done", 1)]
    assert gateways.effects() == 1
