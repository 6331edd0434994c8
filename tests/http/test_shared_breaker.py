"""The breaker that workers share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.core.errors import CircuitOpen
from crossdock.db.database import SharedStore, Store
from crossdock.http import shared_breaker
from crossdock.http.breaker import BreakerRules, Phase
from crossdock.http.shared_breaker import SharedBreaker

DOWN = "GET /x at h answered HTTP 503: back at noon"
RULES = BreakerRules(failures_in_a_row=3, open_s=0.4, longest_open_s=0.4, successes_to_close=1)


@pytest.fixture
def shared(hub_dsn: str) -> Iterator[SharedStore]:
    with SharedStore(hub_dsn) as opened:
        yield opened


@pytest.fixture
def others(hub_dsn: str) -> Iterator[SharedBreaker]:
    """The breaker as another worker has it."""
    with SharedStore(hub_dsn) as opened:
        yield SharedBreaker(opened, "acme", RULES)


def test_failures_of_two_workers_add_up(shared: SharedStore, others: SharedBreaker) -> None:
    ours = SharedBreaker(shared, "acme", RULES)
    ours.record(failure=DOWN)
    others.record(failure=DOWN)
    ours.before_call()
    others.record(failure=DOWN)

    with pytest.raises(CircuitOpen):
        others.before_call()


def test_an_outage_that_others_met_is_known_within_a_second(shared: SharedStore, others: SharedBreaker) -> None:
    rules = BreakerRules(failures_in_a_row=3, open_s=30)
    ours = SharedBreaker(shared, "acme", rules)
    ours.before_call()
    for _ in range(3):
        others.record(failure=DOWN)
    time.sleep(1.05)

    with pytest.raises(CircuitOpen, match=r"3 calls have failed since .* HTTP 503: back at noon\. Its"):
        ours.before_call()


def test_each_caller_learns_how_long_it_stays_open(shared: SharedStore) -> None:
    """Also those that are refused without a query."""
    rules = BreakerRules(failures_in_a_row=3, open_s=30)
    ours = SharedBreaker(shared, "acme", rules)
    for _ in range(3):
        ours.record(failure=DOWN)

    for _ in range(3):
        with pytest.raises(CircuitOpen) as caught:
            ours.before_call()
        assert caught.value.retry_in_s is not None
        assert 0 < caught.value.retry_in_s <= 30


def test_one_worker_probes_and_closes_it_for_all(shared: SharedStore, others: SharedBreaker, store: Store) -> None:
    ours = SharedBreaker(shared, "acme", RULES)
    for _ in range(3):
        ours.record(failure=DOWN)
    time.sleep(0.5)
    ours.before_call()
    with pytest.raises(CircuitOpen):
        others.before_call()
    ours.record()
    time.sleep(0.5)
    others.before_call()

    with store.transaction() as work:
        assert shared_breaker.phase_of(work, "acme") is Phase.CLOSED
        history = shared_breaker.history(work, "acme")
    assert [(change.from_phase.value, change.to_phase.value) for change in history] == [
        ("half_open", "closed"),
        ("open", "half_open"),
        ("closed", "open"),
    ]


def test_while_it_is_open_the_database_is_rarely_queried(shared: SharedStore) -> None:
    """Thousands of callers are sent away; each with a question to the database would move the outage there."""
    breaker = SharedBreaker(shared, "acme", BreakerRules(failures_in_a_row=1, open_s=30))
    breaker.record(failure=DOWN)
    with pytest.raises(CircuitOpen):
        breaker.before_call()
    shared.close()
    shared.dsn = "host=127.0.0.1 port=1"

    for _ in range(1_000):
        with pytest.raises(CircuitOpen):
            breaker.before_call()


def test_a_database_that_is_away_costs_no_good_answer(shared: SharedStore) -> None:
    """The call has been made already; only a missing permission to call is a reason to fail."""
    breaker = SharedBreaker(shared, "acme", RULES)
    shared.dsn = "host=127.0.0.1 port=1"

    breaker.record()
    breaker.record(failure=DOWN)
    breaker.close()


def test_successes_cost_two_transactions_a_second_at_most(shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are reported together; the hot path does not wait for the database."""
    asked, transaction = list[float](), shared.transaction

    def counted() -> Any:
        asked.append(time.monotonic())
        return transaction()

    monkeypatch.setattr(shared, "transaction", counted)
    breaker = SharedBreaker(shared, "acme", RULES)
    began = time.monotonic()
    for _ in range(20_000):
        breaker.before_call()
        breaker.record()

    assert 1 <= len(asked) <= 2 * (time.monotonic() - began + 1)


def test_the_breaker_of_an_integration_that_was_never_called_is_closed(store: Store) -> None:
    with store.transaction() as work:
        assert shared_breaker.phase_of(work, "acme") is Phase.CLOSED
        assert shared_breaker.history(work, "acme") == []
