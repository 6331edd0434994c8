"""Turns to call an integration, between two workers of one database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.core.errors import RateLimited, Transient
from crossdock.db.database import SharedStore, StoreUnavailable
from crossdock.http import shared_rate_limit
from crossdock.http.model import Rate
from crossdock.http.shared_rate_limit import SharedRateLimiter
from tests.shop import free_port, query


@pytest.fixture
def shared(hub_dsn: str) -> Iterator[SharedStore]:
    with SharedStore(hub_dsn) as opened:
        yield opened


def use_permits(limiter: SharedRateLimiter, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        limiter.acquire(60)
        taken.append(time.monotonic())
    return taken


@given(st.integers(1, 500), st.floats(0.1, 3600), st.data())
def test_the_permits_of_one_period_take_the_whole_period(calls: int, per_s: float, data: Any) -> None:
    """By arithmetic: a burst and the permits after it, one more than allowed, do not fit into a window and its slack."""
    rate = Rate(calls=calls, per_s=per_s, burst=data.draw(st.integers(1, calls)))

    one_too_many = (calls - rate.burst + 1) * rate.spacing_s

    assert one_too_many >= (rate.per_s + rate.slack_s) * (1 - 1e-9)


@pytest.mark.parametrize(
    "wrong", [{"calls": 0}, {"calls": 5, "burst": 6}, {"calls": 5, "burst": 0}, {"calls": 5, "per_s": 0}]
)
def test_a_rate_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a rate of"):
        Rate(**wrong)


def test_permits_are_spread_evenly(shared: SharedStore) -> None:
    rate = Rate(calls=50)
    taken = use_permits(SharedRateLimiter(shared, "acme", rate), 12)

    # A permit may be used a little late, never early, also one of several that were reserved together; how late all of
    # them are is a matter of the machine.
    assert not [number for number, at in enumerate(taken) if at - taken[0] < number * rate.spacing_s - rate.slack_s / 2]


def test_after_a_pause_a_burst_may_go_at_once(shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync of ten pages should not take ten seconds because a thousand would have to."""
    rate = Rate(calls=20, burst=10)
    slept: list[float] = []
    clock = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda seconds: (slept.append(seconds), time.sleep(seconds))
    )
    monkeypatch.setattr(shared_rate_limit, "time", clock)
    taken = use_permits(SharedRateLimiter(shared, "acme", rate), 10)
    at_once = sum(slept)
    taken += use_permits(SharedRateLimiter(shared, "acme", rate), 1)

    assert at_once < rate.spacing_s
    assert taken[10] - taken[0] > 0.06


def test_a_caller_who_cannot_wait_gets_what_is_left_of_a_burst(shared: SharedStore) -> None:
    """The line knows when each permit would begin without the burst; a burst begins earlier."""
    rate = Rate(calls=6, per_s=600, burst=5)
    limiter = SharedRateLimiter(shared, "acme", rate)

    for _ in range(5):
        limiter.acquire(0)
    with pytest.raises(RateLimited):
        limiter.acquire(0)


def test_who_is_refused_learns_a_wait_of_less_than_a_second(shared: SharedStore, hub_dsn: str) -> None:
    """Of a worker that has no permit in hand: the line in the database says how long."""
    rate = Rate(calls=10, per_s=5)
    with SharedStore(hub_dsn) as other:
        SharedRateLimiter(other, "acme", rate).acquire(0)
        with pytest.raises(RateLimited) as caught:
            SharedRateLimiter(shared, "acme", rate).acquire(0)

    assert caught.value.retry_in_s is not None
    assert 0 <= caught.value.retry_in_s <= rate.spacing_s < 1


def test_two_workers_share_one_line(shared: SharedStore, hub_dsn: str) -> None:
    rate = Rate(calls=40)
    with SharedStore(hub_dsn) as other, ThreadPoolExecutor(2) as threads:
        both = [SharedRateLimiter(shared, "acme", rate), SharedRateLimiter(other, "acme", rate)]
        taken = sorted(at for each in threads.map(lambda limiter: use_permits(limiter, 20), both) for at in each)

    assert taken[-1] - taken[0] > 39 * rate.spacing_s * 0.95
    assert not [1 for first, later in zip(taken, taken[40:], strict=False) if later - first < 1]


def test_a_busy_worker_queries_the_database_rarely(shared: SharedStore) -> None:
    """Turns are taken in small leases: a round trip for each would be the slowest part of a call."""
    queries = 0
    original = shared.transaction

    def counted() -> Any:
        nonlocal queries
        queries += 1
        return original()

    shared.transaction = counted  # type: ignore[method-assign]
    use_permits(SharedRateLimiter(shared, "acme", Rate(calls=500)), 400)

    assert queries < 400 / 8


def test_integrations_do_not_wait_for_one_another(shared: SharedStore) -> None:
    slow = SharedRateLimiter(shared, "slow", Rate(calls=1, per_s=6_000))
    slow.acquire(0)

    # Zero seconds are too few to wait for any turn but one's own first.
    assert SharedRateLimiter(shared, "quick", Rate(calls=1, per_s=60)).acquire(0) < 60


def test_a_permit_that_is_too_far_away_is_refused_and_not_taken(shared: SharedStore) -> None:
    """A caller that gives up must not delay those that wait."""
    rate = Rate(calls=1, per_s=500)
    limiter = SharedRateLimiter(shared, "acme", rate)
    began = time.monotonic()
    limiter.acquire(0)
    for _ in range(5):
        with pytest.raises(RateLimited, match="1 calls per 500 s") as caught:
            limiter.acquire(0.5)
        assert caught.value.retry_in_s is not None
        assert rate.spacing_s - (time.monotonic() - began) <= caught.value.retry_in_s <= rate.spacing_s

    assert isinstance(caught.value, Transient)
    assert query(shared, "SELECT taken FROM rate_limit") == [(1,)]


def test_a_pause_holds_for_all_workers(shared: SharedStore, hub_dsn: str) -> None:
    rate = Rate(calls=50, burst=10)
    with SharedStore(hub_dsn) as other:
        one, two = SharedRateLimiter(shared, "acme", rate), SharedRateLimiter(other, "acme", rate)
        use_permits(one, 3)
        one.pause(0.5)
        began = time.monotonic()

        assert min(one.acquire(5), two.acquire(5)) > 0
        assert time.monotonic() - began > 0.45


def test_permits_that_were_taken_and_not_used_are_gone(shared: SharedStore) -> None:
    """Kept for later they would fall, with those of a second worker, into one window."""
    rate = Rate(calls=200)
    limiter = SharedRateLimiter(shared, "acme", rate)
    while len(limiter._permits) < 5:
        limiter.acquire(60)
    time.sleep(0.5)
    taken = use_permits(limiter, 20)

    assert taken[-1] - taken[0] > 19 * rate.spacing_s - rate.slack_s / 2


def test_without_the_database_no_permit_is_issued() -> None:
    """Never unlimited: the sync needs the same database anyway."""
    with SharedStore(f"host=127.0.0.1 port={free_port()}") as nowhere, pytest.raises(StoreUnavailable):
        SharedRateLimiter(nowhere, "acme", Rate(calls=1)).acquire(1)


def test_a_pause_never_shortens_another(shared: SharedStore, hub_dsn: str) -> None:
    """One worker was told to wait ten minutes, another a moment: the system wants the ten minutes."""
    rate = Rate(calls=50)
    with SharedStore(hub_dsn) as other:
        one, two = SharedRateLimiter(shared, "acme", rate), SharedRateLimiter(other, "acme", rate)
        one.pause(600)
        two.pause(0.1)

        for limiter in (one, two):
            with pytest.raises(RateLimited) as refused:
                limiter.acquire(10)
            assert (refused.value.retry_in_s or 0) > 500


def test_a_permit_whose_caller_overslept_is_lost(shared: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used late, it would fall with the permits of other workers into one window of the server."""
    ahead, overslept = 0.0, [30.0, 0.0]

    def sleep(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds + overslept.pop(0)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead, sleep=sleep)
    monkeypatch.setattr(shared_rate_limit, "time", clock)
    limiter = SharedRateLimiter(shared, "acme", Rate(calls=1, per_s=20))
    limiter.acquire(0)
    limiter.acquire(600)

    assert overslept == []
    assert query(shared, "SELECT taken FROM rate_limit") == [(3,)]


class LateDatabase:
    """A clock that a test sets, and a database whose replies take *late_s* of it. Its own clock stands still meanwhile."""

    def __init__(self, shared: SharedStore, monkeypatch: pytest.MonkeyPatch, *, late_s: float) -> None:
        self.now, self.asked = 1_000.0, 0
        self._late_s, self._transaction = late_s, shared.transaction
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep)
        monkeypatch.setattr(shared_rate_limit, "time", clock)
        monkeypatch.setattr(shared, "transaction", self._reply)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    @contextmanager
    def _reply(self) -> Iterator[Any]:
        self.asked += 1
        assert self.asked <= 100, "it is asked for ever"
        with self._transaction() as work:
            yield work
        self.now += self._late_s


#: Each permit is due at once, and its slack is a second: half of it for this process.
TEN_SECONDS = Rate(calls=1_000_000, per_s=10)


@pytest.mark.parametrize("late_s", [0.0, 0.1, 0.4, 0.49])
def test_a_permit_may_be_used_in_half_of_its_slack(
    shared: SharedStore, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    """A database that takes a moment issues permits all the same."""
    database = LateDatabase(shared, monkeypatch, late_s=late_s)

    assert SharedRateLimiter(shared, "acme", TEN_SECONDS).acquire(60) == pytest.approx(late_s, abs=0.001)
    assert database.asked == 1


@pytest.mark.parametrize("late_s", [0.51, 0.6, 0.9, 60.0])
def test_a_database_that_always_replies_too_late_is_reported_and_no_permit_is_used(
    shared: SharedStore, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    """The other half of the slack is the network's. Asking on and on would be a call that never ends."""
    database = LateDatabase(shared, monkeypatch, late_s=late_s)

    with pytest.raises(StoreUnavailable, match=r"takes longer than 0\.5 s to issue a permit to call acme"):
        SharedRateLimiter(shared, "acme", TEN_SECONDS).acquire(600)
    assert database.asked > 1


@pytest.mark.parametrize(("waits_s", "is_taken"), [(1.7, True), (1.55, True), (1.45, False), (0.0, False)])
def test_a_permit_that_begins_after_the_caller_has_gone_stays_for_others(
    shared: SharedStore, monkeypatch: pytest.MonkeyPatch, waits_s: float, *, is_taken: bool
) -> None:
    """Half of the slack counts as no waiting: that much the reply of the database may have taken."""
    database = LateDatabase(shared, monkeypatch, late_s=0.0)
    limiter = SharedRateLimiter(shared, "acme", TEN_SECONDS)
    permit = shared_rate_limit._Permit(database.now + 2.0, database.now + 2.5)
    limiter._permits.append(permit)
    if is_taken:
        limiter.acquire(waits_s)
        assert not limiter._permits
    else:
        with pytest.raises(RateLimited) as refused:
            limiter.acquire(waits_s)
        assert refused.value.retry_in_s == pytest.approx(2.0)
        assert list(limiter._permits) == [permit]
