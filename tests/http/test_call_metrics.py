"""How calls went, added up by several workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from crossdock.db.database import SharedStore, Store
from crossdock.http.breaker import Phase
from crossdock.http.call_metrics import CallCounts, health, usage_of_run
from crossdock.http.model import Call, Outcome
from tests.shop import query


@pytest.fixture
def shared(hub_dsn: str) -> Iterator[SharedStore]:
    with SharedStore(hub_dsn) as opened:
        yield opened


def count(shared: SharedStore, *calls: Call, run_id: str = "run-1") -> None:
    """As one worker does it, in one go."""
    counts = CallCounts(shared, "acme", lambda: run_id)
    for call in calls:
        counts.record(call)
    counts.close()


def took(seconds: float) -> Call:
    return Call(outcome=Outcome.SUCCESS, duration_s=seconds, answer_bytes=100, waited_s=0.5)


def test_the_counts_of_workers_in_one_minute_add_up(shared: SharedStore, store: Store) -> None:
    """Quantiles too: a mean of means would not be one."""
    count(shared, *[took(0.1)] * 90)
    count(
        shared,
        *[took(3.0)] * 10,
        Call(outcome=Outcome.FAILURE, duration_s=3.0, is_retry=True),
        Call(outcome=Outcome.AVOIDED),
    )
    count(shared, took(0.1), run_id="run-2")

    with store.transaction() as work:
        usage, of_all = usage_of_run(work, "run-1"), health(work, "acme").usage

    assert (usage.calls, usage.successes, usage.failures, usage.avoided, usage.retries) == (101, 100, 1, 1, 1)
    assert (usage.answer_bytes, usage.waited_s) == (10_000, 50)
    assert usage.p50_s == pytest.approx(0.1, rel=0.1)
    assert usage.p95_s == pytest.approx(3.0, rel=0.1)
    assert of_all.calls == 102


def test_health_of_an_integration_without_calls(store: Store) -> None:
    """A page shows it before the first sync; zeros and blanks, no error."""
    with store.transaction() as work:
        found = health(work, "acme")

    assert (found.usage.calls, found.usage.p95_s, found.last_success_at) == (0, None, None)
    assert (found.phase, found.changes, found.limit_use) == (Phase.CLOSED, [], None)


def test_limit_use_is_of_the_minute_that_is_over(shared: SharedStore, store: Store) -> None:
    """The running minute would always look idle at its beginning."""
    for statement in (
        "INSERT INTO rate_limit (integration, next_permit_at, calls, per_s) VALUES ('acme', now(), 10, 1) RETURNING 1",
        (
            "INSERT INTO call_count (integration, minute, success, throttled, avoided, durations) VALUES"
            " ('acme', date_trunc('minute', now()) - interval '1 minute', 299, 1, 1000, '{0}') RETURNING 1"
        ),
    ):
        query(shared, statement)
    with store.transaction() as work:
        found = health(work, "acme")

    assert found.limit_use == pytest.approx(0.5)


def test_calls_before_the_requested_period_are_not_counted(shared: SharedStore, store: Store) -> None:
    query(
        shared,
        "INSERT INTO call_count (integration, minute, success, durations) VALUES ('acme', now() - interval '2 hours', 7, '{7}') RETURNING 1",
    )
    with store.transaction() as work:
        recent, day = health(work, "acme"), health(work, "acme", since=timedelta(days=1))

    assert (recent.usage.calls, day.usage.calls) == (0, 7)
