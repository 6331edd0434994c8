"""Which gateway is asked first: the one that answers, and answers faster; and one in trouble is not starved."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from crossdock.commerce.payments import repository
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.commerce.payments.health import PROBE_AFTER_S, WINDOW, GatewayHealth, in_order
from crossdock.integrations import service as integrations
from tests.commerce.payments.gateways import OTTO, Gateways
from tests.shop import query


def health(name: str, answered: int = WINDOW, calls: int = WINDOW, **other: Any) -> GatewayHealth:
    fields = {"latency_ms": 100.0, "last_answered": True, "idle_s": 1.0, **other}
    return GatewayHealth(gateway=name, calls=calls, answered=answered, **fields)


@pytest.mark.parametrize(
    ("gateways", "order"),
    [
        ([health("a", 40), health("b", 50)], ["b", "a"]),
        ([health("a", latency_ms=300.0), health("b", latency_ms=90.0)], ["b", "a"]),
        ([health("a", 49, latency_ms=90.0), health("b", 50, latency_ms=300.0)], ["a", "b"]),
        ([health("a", 50, last_answered=False), health("b", 30)], ["b", "a"]),
        ([health("a"), health("new", 0, 0, latency_ms=None, last_answered=None, idle_s=None)], ["new", "a"]),
    ],
    ids=["success", "latency", "one failure in fifty", "failed moments ago", "never asked"],
)
def test_the_order(gateways: list[GatewayHealth], order: list[str]) -> None:
    assert in_order(gateways) == order


def test_one_in_trouble_is_probed_by_one_payment_after_a_while() -> None:
    """Its call begins, and makes it the last one again for the next payment."""
    down = health("a", 10, last_answered=False, idle_s=PROBE_AFTER_S)

    assert in_order([down, health("b")]) == ["a", "b"]
    assert in_order([health("a", 10, last_answered=False, idle_s=0.1), health("b")]) == ["b", "a"]


def test_one_that_answered_worse_is_probed_too() -> None:
    """It has recovered, but its last fifty calls cannot say so while nobody asks it."""
    assert in_order([health("a", 20, idle_s=PROBE_AFTER_S), health("b")]) == ["a", "b"]


def test_a_decline_is_an_answer(gateways: Gateways) -> None:
    gateways.authorise(method="pm_declined")

    with gateways.store.transaction() as work:
        (alpha, _) = repository.health_of(work, ["alpha", "beta"])
    assert (alpha.calls, alpha.answered, alpha.last_answered) == (1, 1, True)


def test_a_call_that_was_not_made_says_nothing_of_the_gateway(gateways: Gateways) -> None:
    """Somebody paused the integration after the gateway was chosen."""
    perform = gateways.perform

    def paused(*call: Any, **_: Any) -> Any:
        integrations.pause(gateways.store, call[0], actor=OTTO)
        return perform(*call)

    gateways.perform = paused  # type: ignore[method-assign]
    assert gateways.authorise().state is PaymentState.FAILED

    with gateways.store.transaction() as work:
        found = repository.health_of(work, ["alpha", "beta"])
    assert [(each.calls, each.in_trouble) for each in found] == [(0, False), (0, False)]


def test_only_the_last_calls_are_kept_and_counted(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "_FORGET_EVERY", 1)
    with gateways.store.transaction() as work:
        for number in range(300):
            repository.end_call(work, "alpha", repository.begin_call(work, "alpha"), answered=number >= 280)
        (alpha,) = repository.health_of(work, ["alpha"])

    assert (alpha.calls, alpha.answered) == (WINDOW, 20)
    assert query(gateways.store, "SELECT count(*) FROM gateway_call") == [(4 * WINDOW,)]


def prefer_alpha(gateways: Gateways) -> None:
    """Both have answered all of their last calls, alpha faster."""
    with gateways.store.transaction() as work:
        for name, took_ms in (("alpha", 10), ("beta", 60_000)):
            values = {"name": name, "took_ms": took_ms, "window": WINDOW}
            work.execute(
                "INSERT INTO gateway_call (gateway, answered, took_ms)"
                " SELECT %(name)s, true, %(took_ms)s FROM generate_series(1, %(window)s)",
                values,
            )


@pytest.mark.parametrize(
    ("broken", "script"),
    [("refuses connections", None), ("hangs", {"timeout": "before"}), ("answers 500", {"status": 500})],
)
def test_later_payments_go_to_the_gateway_that_works(
    gateways: Gateways, broken: str, script: Any, record_property: Any
) -> None:
    """The payment that met the fault may stay unknown; no later one does. The time is printed, not asserted."""
    prefer_alpha(gateways)
    if script is None:
        gateways.servers["alpha"].__exit__(None, None, None)
    else:
        gateways.fault("alpha", script, repeat=True)
    began = time.monotonic()
    payments = [gateways.authorise(f"order-{number}") for number in range(5)]
    took_s = time.monotonic() - began

    (fail_over_s,) = query(
        gateways.store,
        "SELECT extract(epoch FROM min(answered_at) FILTER (WHERE gateway = 'beta') - min(first_failed_at))::float8"
        " FROM payment_leg",
    )[0]
    record_property("fail_over_s", fail_over_s)
    said = f"{fail_over_s:.2f} s from its first failure to the other's first answer; 5 payments in {took_s:.1f} s"
    sys.stdout.write(f"{broken}: {said}\n")
    assert payments[0].state in (PaymentState.AUTHORISED, PaymentState.UNKNOWN)
    assert [payment.state for payment in payments[1:]] == [PaymentState.AUTHORISED] * 4
    calls_of_alpha = [gateway for gateway, _ in gateways.calls].count("alpha")
    assert calls_of_alpha == 1
    assert gateways.effects() == len([payment for payment in payments if payment.state is PaymentState.AUTHORISED])


def test_one_that_recovered_is_found_by_a_probe(gateways: Gateways) -> None:
    prefer_alpha(gateways)
    gateways.fault("alpha", *[{"status": 429, "retry_after": 0}] * 2)
    gateways.authorise("first")
    with gateways.store.transaction() as work:
        work.execute(b"UPDATE gateway_call SET began_at = began_at - interval '1 minute'")

    for number in range(2):
        gateways.authorise(f"later-{number}")

    assert [gateway for gateway, _ in gateways.calls] == ["alpha", "beta", "alpha", "alpha"]
