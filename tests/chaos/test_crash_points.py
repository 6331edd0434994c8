"""A worker is killed at every failpoint, another continues, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import crossdock.sync
from crossdock.core.errors import LeaseHeld, LeaseLost
from crossdock.db.database import Store
from crossdock.sandbox.commercetools.simulation import late_update, simulate
from crossdock.sync.model import SyncRequest
from tests.chaos import children
from tests.chaos.conftest import FULL, Hub
from tests.chaos.promises import broken, broken_on_the_way
from tests.shop import query

pytestmark = pytest.mark.crash

DELTA = SyncRequest()


def points() -> list[str]:
    """Every crash point of a sync, by reading the source: a new one is tested without being listed here."""
    sources = Path(next(iter(crossdock.sync.__path__))).rglob("*.py")
    names = {name for path in sources for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())}
    return sorted(names)


def assert_promises(hub: Hub) -> None:
    """A killed backend needs a moment to notice: what is at rest is asked for until it is."""
    until = time.monotonic() + 120
    with Store(hub.dsn) as store:
        while (found := broken(hub.shop, store, overlap=hub.overlap)) and time.monotonic() < until:
            time.sleep(0.05)
    assert found == []


def assert_safe_on_the_way(hub: Hub) -> None:
    with Store(hub.dsn) as store:
        assert broken_on_the_way(hub.shop, store, overlap=hub.overlap) == []


def leases_run_out(hub: Hub) -> None:
    """As if their life were over."""
    with Store(hub.dsn) as store:
        query(store, "UPDATE lease SET expires_at = clock_timestamp() RETURNING 1")


def try_again(hub: Hub, request: SyncRequest, *, crash_at: str = "") -> int:
    """As Airflow does: the task that was killed is tried again, and of a run that had ended that is its load."""
    with Store(hub.dsn) as store:
        ended = query(
            store, "SELECT run_id FROM sync_run WHERE dag_run_id = 'the run' AND state IN ('done', 'partial')"
        )
    if ended:
        return children.run(lambda: hub.load(ended[0][0]), crash_at=crash_at)
    return children.run(lambda: hub.sync(request, "the run"), crash_at=crash_at)


def go_on(hub: Hub, request: SyncRequest) -> None:
    assert try_again(hub, request) == 0


@pytest.mark.parametrize("nth", [1, pytest.param(2, marks=pytest.mark.deep)])
@pytest.mark.parametrize("point", points())
def test_a_full_sync_killed_anywhere_is_finished_by_the_next_worker(hub: Hub, point: str, nth: int) -> None:
    """C12: after a page, in a batch, before a commit, after it, before the end."""
    died = children.run(lambda: hub.sync(FULL, "the run"), crash_at=f"{point}:{nth}")

    assert died == children.KILLED or (died == 0 and nth > 1), f"{point} was not reached by a full sync"
    assert_safe_on_the_way(hub)
    go_on(hub, FULL)
    assert_promises(hub)
    with Store(hub.dsn) as store:
        assert query(store, "SELECT count(*), sum(read) FROM sync_run") == [(1, 120)]
        assert query(store, "SELECT count(*) FROM watermark") == [(1,)]
        assert query(store, "SELECT max(times_seen), min(times_seen) FROM quarantine_item") == [(1, 1)]
        assert query(store, "SELECT count(*) FROM inventory_history") == [(0,)]


@pytest.mark.parametrize("point", points())
def test_a_delta_with_late_changes_killed_anywhere_is_finished_by_the_next_worker(hub: Hub, point: str) -> None:
    """The watermark stands already: here it could pass what is open."""
    hub.sync(FULL, "the first")
    simulate(hub.shop.state, stock_moves=60)
    for _ in range(20):
        late_update(hub.shop.state, "inventory", 120)

    died = children.run(lambda: hub.sync(DELTA, "the run"), crash_at=point)
    assert_safe_on_the_way(hub)
    simulate(hub.shop.state, stock_moves=10)
    go_on(hub, DELTA)
    hub.sync(DELTA, "the next")

    assert died == children.KILLED
    assert_promises(hub)


@pytest.mark.parametrize(
    "second", ["extract.begun", "validate.batch_written", "load.before_commit", "load.before_finish"]
)
def test_the_worker_that_continues_may_be_killed_too(hub: Hub, second: str) -> None:
    """C8: a crash while recovering from a crash."""
    children.run(lambda: hub.sync(FULL, "the run"), crash_at="load.before_commit:2")
    children.run(lambda: hub.sync(FULL, "the run"), crash_at=second)

    go_on(hub, FULL)

    assert_promises(hub)


@pytest.mark.deep
@pytest.mark.parametrize("second", points())
@pytest.mark.parametrize("first", points())
def test_a_worker_killed_anywhere_may_be_killed_anywhere_again(hub: Hub, first: str, second: str) -> None:
    """C8, every pair: what the second try finds already done differs from point to point."""
    assert children.run(lambda: hub.sync(FULL, "the run"), crash_at=first) == children.KILLED
    # A point that the second try no longer comes by kills nothing.
    assert try_again(hub, FULL, crash_at=second) in {children.KILLED, 0}
    assert_safe_on_the_way(hub)

    go_on(hub, FULL)

    assert_promises(hub)


def test_a_worker_killed_between_two_statements_of_a_batch_leaves_nothing_of_it(hub: Hub) -> None:
    """Rows, history and events are one transaction: half of it is none of it."""

    def killed_in_the_middle() -> None:
        batches = sys.modules["crossdock.sync.batches"]
        quarantine = sys.modules["crossdock.sync.quarantine.repository"]
        # Raises for a name that a refactoring has changed: without the fault this test would prove nothing.
        pytest.MonkeyPatch().setattr(batches, "quarantine_repository", _KillsAt(quarantine, "add"))
        hub.sync(FULL, "the run")

    assert children.run(killed_in_the_middle) == children.KILLED
    with Store(hub.dsn) as store:
        assert query(store, "SELECT (SELECT count(*) FROM inventory), (SELECT count(*) FROM event)") == [(0, 0)]
    go_on(hub, FULL)
    assert_promises(hub)


class _KillsAt:
    """A module whose function *name* is where the process dies."""

    def __init__(self, module: object, name: str) -> None:
        self._module, self._name = module, name

    def __getattr__(self, name: str) -> object:
        if name == self._name:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._module, name)


@pytest.mark.parametrize("point", ["extract.page_landed:3", "validate.batch_noted:2", "load.after_commit:2"])
def test_another_run_takes_over_when_the_lease_of_a_killed_one_has_run_out(hub: Hub, point: str) -> None:
    """And the killed run, tried again afterwards, brings nothing back that is older."""
    assert children.run(lambda: hub.sync(FULL, "the run"), crash_at=point) == children.KILLED
    with pytest.raises(LeaseHeld):
        hub.sync(FULL, "too early")
    simulate(hub.shop.state, stock_moves=50)
    leases_run_out(hub)

    assert children.run(lambda: hub.sync(FULL, "another")) == 0
    assert_safe_on_the_way(hub)
    go_on(hub, FULL)

    hub.sync(DELTA, "the next")
    assert_promises(hub)


@pytest.mark.parametrize("module", ["validate", "load"])
def test_a_worker_that_sleeps_until_it_is_overtaken_commits_nothing_more(hub: Hub, module: str) -> None:
    """I12: stopped, overtaken, woken. Its lease has a new holder, and its token is too old."""
    sleeper = children.start(_asleep_at(hub, module), expected=LeaseLost)
    assert children.stopped(sleeper)
    simulate(hub.shop.state, stock_moves=50)
    leases_run_out(hub)
    try:
        assert children.run(lambda: _up_to_load(hub)) == 0
    finally:
        os.kill(sleeper, signal.SIGCONT)

    assert children.ended(sleeper) == children.EXPECTED
    with Store(hub.dsn) as store:
        committed = query(
            store,
            "SELECT DISTINCT dag_run_id FROM sync_batch JOIN sync_run USING (run_id) WHERE loaded_at IS NOT NULL",
        )
    assert committed == []
    assert children.run(lambda: hub.sync(FULL, "another")) == 0
    hub.sync(DELTA, "the next")
    assert_promises(hub)


def _asleep_at(hub: Hub, module: str) -> Callable[[], object]:
    moment = {"validate": "validate.batch_noted", "load": "load.before_transaction"}[module]

    slept = threading.Event()

    def sleep_once(name: str) -> None:
        # Batches are loaded side by side: the second thread that comes by is asleep with the first.
        if name == moment and not slept.is_set():
            slept.set()
            os.kill(os.getpid(), signal.SIGSTOP)

    def work() -> None:
        sys.modules[f"crossdock.sync.{module}"].failpoint = sleep_once  # type: ignore[attr-defined]
        hub.sync(FULL, "sleeper")

    return work


def _up_to_load(hub: Hub) -> None:
    """Another run that has the lease and is in the middle of its work."""
    extract = sys.modules["crossdock.sync.extract"].extract
    conftest = sys.modules["tests.chaos.conftest"]
    with Store(hub.dsn) as store:
        extract(conftest.SMALL, hub.systems(store), FULL, dag_run_id="another")
