"""What workers share about an integration, counted at the source itself."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet

from crossdock.connectors.commercetools import Commercetools
from crossdock.core.errors import CircuitOpen, HubError
from crossdock.db.database import Store
from crossdock.http import call_metrics, shared_breaker
from crossdock.http.breaker import BreakerRules, Phase
from crossdock.http.config import ClientConfig
from crossdock.http.model import Call, CallPolicy, Limits, Outcome, Rate
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync.source import Axis, Range
from tests.shop import free_port, query

EVERYTHING = Range(range_no=0, axis=Axis.ID)
WORKERS = 4
RATE = Rate(calls=300, per_s=1.0, burst=20)
#: A worker of its own process: reads single records until it has made its share of calls.
_WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from tests.http.test_shared import RATE, EVERYTHING, reader
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.http.model import CallPolicy, Limits
from crossdock.db.database import Store
url, secret, dsn, key, share = sys.argv[1:]
policy = CallPolicy(rate=RATE, limits=Limits(timeout_s=60, longest_wait_s=600))
from cryptography.fernet import Fernet
with Store(dsn) as store, SharedSafeguards(store, "commercetools", cipher=Fernet(key), run_of=lambda: "run-1") as calls:
    source = reader(url, secret, calls, policy)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: source.page("inventory", EVERYTHING, None), range(int(share))))
"""


def reader(url: str, secret: str, calls: SharedSafeguards, policy: CallPolicy) -> Commercetools:
    config = ClientConfig(limits=policy.limits, safeguards=calls.safeguards(policy))
    return Commercetools.signed_in(
        url,
        "demo",
        client_id="sandbox",
        secret=secret,
        scope="view_products:demo",
        config=config,
        page_records=1,
    )


@pytest.fixture
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=7, inventory=20, products=0, orders=0, customers=0, flaws=0) as opened:
        yield opened


def requests_of(retailer: FakeRetailer, *, after: float = 0.0) -> list[float]:
    """When requests for data arrived."""
    times = [datetime.fromisoformat(e.at).timestamp() for e in retailer.requests if e.path.endswith("/inventory")]
    return [at for at in times if at >= after]


@pytest.mark.parametrize("made", [1_000, pytest.param(3_000, marks=pytest.mark.deep)])
def test_four_workers_never_exceed_the_limit_of_the_other_side(
    retailer: FakeRetailer, hub_dsn: str, made: int, record_property: Callable[[str, object], None]
) -> None:
    """
    A thousand calls of four processes with four threads each; 0 over, in any window of a second.

    Counted where the other side counts: at its retailer, whatever our own books say.
    """
    key, began = Fernet.generate_key().decode(), datetime.now(UTC)
    command = [sys.executable, "-c", _WORKER, retailer.url, "sandbox", hub_dsn, key, str(made // WORKERS)]
    workers = [subprocess.Popen(command) for _ in range(WORKERS)]

    assert [worker.wait() for worker in workers] == [0] * WORKERS

    times = sorted(requests_of(retailer))
    over = [
        later - first
        for first, later in zip(times, times[RATE.calls :], strict=False)
        if later - first < RATE.per_s - 0.001
    ]
    # How much of the limit is used is a matter of the machine: three quarters and more on one that is not busy.
    record_property("calls a second, of 300 allowed", round(made / (times[-1] - times[0])))
    assert (len(times), over) == (made, [])
    assert sum(entry.path == "/oauth/token" for entry in retailer.requests) == 1
    with Store(hub_dsn) as store, store.transaction() as work:
        usage = call_metrics.usage_of_run(work, "run-1")
        health = call_metrics.health(work, "commercetools")
    assert (usage.calls, usage.successes, usage.failures) == (made, made, 0)
    assert usage.p50_s is not None
    assert usage.p95_s is not None
    assert 0 < usage.p50_s <= usage.p95_s
    assert health.last_success_at is not None
    assert health.last_success_at >= began


RULES = BreakerRules(open_s=1.0, longest_open_s=2.0, successes_to_close=2)
#: One that answers and one that says nothing; the other two at length.
OUTAGES: list[Any] = [
    {"status": 503},
    {"timeout": "before"},
    pytest.param({"reset": True}, marks=pytest.mark.deep),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_few_calls_are_made_during_an_outage_and_the_breaker_closes_automatically(
    retailer: FakeRetailer, hub_dsn: str, outage: Any, record_property: Callable[[str, object], None]
) -> None:
    """
    Over 95 % of the calls that would have failed are not made, and no person has to close the breaker afterwards.

    Four workers, each with a connection of its own, want a hundred calls a second each.
    """
    policy = CallPolicy(limits=Limits(timeout_s=1, attempts=1), breaker=RULES)
    attempted, stop = [0] * WORKERS, threading.Event()

    def want(number: int) -> None:
        with Store(hub_dsn) as store, SharedSafeguards(store, "commercetools") as calls:
            source = reader(retailer.url, "sandbox", calls, policy)
            while not stop.is_set():
                attempted[number] += 1
                with suppress(HubError):
                    source.page("inventory", EVERYTHING, None)
                time.sleep(0.01)

    threads = [threading.Thread(target=want, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: len(requests_of(retailer)) > 50)
        attempted_before, made_before = sum(attempted), len(requests_of(retailer))
        retailer.faults.put("inventory", [outage], repeat=True)
        _until(lambda: sum(attempted) - attempted_before > 1_500)
        doomed, made = sum(attempted) - attempted_before, len(requests_of(retailer)) - made_before
        retailer.faults.clear()
        healed_at = time.time()
        _until(lambda: len(requests_of(retailer, after=healed_at)) > 50)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    record_property("of so many doomed calls so many were made", f"{doomed}, {made}")
    assert 1 - made / doomed > 0.95, (made, doomed)
    with Store(hub_dsn) as store, store.transaction() as work:
        assert shared_breaker.phase_of(work, "commercetools") is Phase.CLOSED
        changes = [
            (change.from_phase, change.to_phase) for change in reversed(shared_breaker.history(work, "commercetools"))
        ]
        usage = call_metrics.health(work, "commercetools").usage
    assert changes[0] == (Phase.CLOSED, Phase.OPEN)
    assert changes[-1] == (Phase.HALF_OPEN, Phase.CLOSED)
    assert usage.avoided > 0.95 * (doomed - WORKERS)


def test_a_call_that_is_not_made_says_when_to_come_back(retailer: FakeRetailer, store: Store) -> None:
    """The scheduler waits for free; a worker's slot does not."""
    with SharedSafeguards(store, "commercetools") as calls:
        policy = CallPolicy(
            limits=Limits(timeout_s=60, attempts=4),
            breaker=BreakerRules(failures_in_a_row=2, open_s=600, longest_open_s=600),
        )
        source = reader(retailer.url, "sandbox", calls, policy)
        retailer.faults.put("inventory", [{"status": 503}], repeat=True)
        with pytest.raises(
            CircuitOpen, match=r"2 calls have failed since .*HTTP 503.*circuit breaker is open$"
        ) as caught:
            source.page("inventory", EVERYTHING, None)

    assert len(requests_of(retailer)) == 2
    assert caught.value.retry_in_s is not None
    assert 300 < caught.value.retry_in_s <= 600


def test_while_the_breaker_is_open_the_configured_fallback_is_called(retailer: FakeRetailer, store: Store) -> None:
    """None by default; a connection that names a second host reads from there, with the same credentials."""
    with (
        FakeRetailer(seed=7, inventory=20, products=0, orders=0, customers=0, flaws=0) as other,
        SharedSafeguards(store, "commercetools") as calls,
    ):
        policy = CallPolicy(
            limits=Limits(timeout_s=60, attempts=1),
            breaker=BreakerRules(failures_in_a_row=1, open_s=600, longest_open_s=600),
        )
        other.tokens = retailer.tokens
        config = ClientConfig(limits=policy.limits, safeguards=calls.safeguards(policy))
        source = Commercetools.signed_in(
            retailer.url,
            "demo",
            client_id="sandbox",
            secret="sandbox",
            scope="view_products:demo",
            config=config,
            fallback_url=other.url,
        )
        retailer.faults.put("inventory", [{"status": 503}], repeat=True)
        with pytest.raises(HubError, match="503"):
            source.describe("inventory", None)

        assert source.describe("inventory", None).records == 20
        assert (len(requests_of(retailer)), len(requests_of(other))) == (1, 1)


def test_all_workers_wait_after_a_retry_after_header(retailer: FakeRetailer, store: Store) -> None:
    """One worker met the 429; the others must not each find out for themselves."""
    policy = CallPolicy(rate=Rate(calls=50), limits=Limits(longest_wait_s=0.2, attempts=1))
    with SharedSafeguards(store, "commercetools") as one, SharedSafeguards(store, "commercetools") as two:
        first, second = reader(retailer.url, "sandbox", one, policy), reader(retailer.url, "sandbox", two, policy)
        retailer.faults.put("inventory", [{"status": 429, "retry_after": 600}])
        with pytest.raises(HubError, match="429"):
            first.describe("inventory", None)

        for source in (first, second):
            with pytest.raises(HubError, match=r"rate limit of .* reached$") as caught:
                source.describe("inventory", None)
            assert caught.value.retry_in_s is not None
            assert 300 < caught.value.retry_in_s <= 601
    assert len(requests_of(retailer)) == 1


def test_retries_stay_within_the_budget(retailer: FakeRetailer) -> None:
    """At half of all answers bad, three tries a call would be half as many calls again; a tenth is allowed."""
    source = Commercetools.signed_in(
        retailer.url,
        "demo",
        client_id="sandbox",
        secret="sandbox",
        scope="view_products:demo",
        limits=Limits(timeout_s=60, attempts=4, longest_wait_s=0.001),
        page_records=1,
    )
    retailer.faults.put("inventory", ["ok", {"status": 503}] * 600)
    made = 0
    for _ in range(300):
        made += 1
        with suppress(HubError):
            source.page("inventory", EVERYTHING, None)

    assert len(requests_of(retailer)) <= made * 1.1 + 10


def test_statistics_do_not_fail_a_call() -> None:
    """A database that is away for a moment costs some counts, not a run's pages."""
    with Store(f"host=127.0.0.1 port={free_port()} connect_timeout=1") as nowhere, ExitStack() as ends:
        counts = call_metrics.CallCounts(nowhere, "commercetools")
        ends.callback(counts.close)
        for _ in range(501):
            counts.record(Call(outcome=Outcome.SUCCESS))


def test_a_run_knows_the_calls_that_were_made_for_it(retailer: FakeRetailer, store: Store) -> None:
    with SharedSafeguards(store, "commercetools", run_of=lambda: "run-7") as calls:
        source = reader(retailer.url, "sandbox", calls, CallPolicy(limits=Limits(attempts=2, longest_wait_s=0.01)))
        retailer.faults.put("inventory", ["ok", {"status": 503}, "ok", {"status": 404}])
        source.page("inventory", EVERYTHING, None)
        source.page("inventory", EVERYTHING, None)
        with pytest.raises(HubError):
            source.page("inventory", EVERYTHING, None)

    with store.transaction() as work:
        usage = call_metrics.usage_of_run(work, "run-7")
        none = call_metrics.usage_of_run(work, "run-8")
    assert (usage.calls, usage.successes, usage.failures, usage.refusals, usage.retries) == (4, 2, 1, 1, 1)
    assert usage.answer_bytes > 0
    assert (none.calls, none.p95_s) == (0, None)


def test_old_counts_go(store: Store) -> None:
    """A row a minute for ever is half a million a year and integration."""
    with SharedSafeguards(store, "commercetools") as calls:
        counts = calls.safeguards(CallPolicy()).log
        assert counts is not None
        counts.record(Call(outcome=Outcome.SUCCESS))
        query_ = "INSERT INTO call_count (integration, minute, durations) VALUES ('acme', now() - %s::interval, '{0}') RETURNING 1"
        for age in ("29 days", "31 days"):
            query(store, query_, age)

    assert query(store, "SELECT count(*) FROM call_count WHERE integration = 'acme'") == [(1,)]


def _until(there: Callable[[], bool], *, timeout_s: float = 240) -> None:
    ends = time.monotonic() + timeout_s
    while not there():
        assert time.monotonic() < ends, "it did not come in time"
        time.sleep(0.02)
