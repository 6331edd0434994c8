"""
The worst moments, on a real Airflow: after any kill, pause or cancellation the promises hold and the work continues.

Each sync reads three pages that take a second or two each, so that there is a middle to hit.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psutil
import pytest

from crossdock.core.errors import LeaseHeld
from crossdock.core.settings import UNSCHEDULED
from crossdock.db.database import Store
from crossdock.sync import extract, load, validate
from crossdock.sync.model import SyncRequest
from tests.e2e.conftest import PROJECT, running_hub
from tests.e2e.watched import FULL, Watched, eventually
from tests.streams import INVENTORY

pytestmark = pytest.mark.e2e

LEASE_LIFE_S = 4
#: In the command of a task's watchdog.
WATCHDOG = "watchdog.py"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A stack of its own: leases that run out while a test waits, and no schedule."""
    quiet = {"HUB_STREAMS": UNSCHEDULED}
    home = tmp_path_factory.mktemp("faults") / "home"
    with running_hub(home, HUB_LEASE_LIFE_S=str(LEASE_LIFE_S), **quiet) as hub:
        watched = Watched(hub, timedelta(seconds=LEASE_LIFE_S))
        for dataset in ("inventory", "products"):
            watched.api.wait_for_dag(f"sync_commercetools_{dataset}")
        yield watched


@pytest.fixture(autouse=True)
def _whole(stack: Watched) -> Iterator[None]:
    """Each test finds the stack whole and leaves it so."""
    yield
    stack.sandbox.heal()
    if not all(part["state"] == "running" for part in stack.look_again().values()):
        stack.hub("up")
        stack.look_again()


def by_another_worker(stack: Watched, request: SyncRequest, dag_run_id: str) -> None:
    """The whole sync in this process, as a worker unknown to Airflow; it waits for the lease."""
    with Store(stack.dsn) as store:
        systems = stack.systems(store)

        def begun() -> str | None:
            try:
                return extract(INVENTORY, systems, request, dag_run_id=dag_run_id)
            except LeaseHeld:
                return None

        load(INVENTORY, systems, validate(INVENTORY, systems, eventually(begun)))


@contextmanager
def asleep(*processes: psutil.Process) -> Iterator[None]:
    """Suspend *processes* as with their machine: with their watchdogs, which would end a task that sleeps alone."""
    watchdogs = [
        child for process in processes for child in process.children() if WATCHDOG in " ".join(child.cmdline())
    ]
    together = [*watchdogs, *processes]
    for process in together:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(together):
            process.resume()


def sync_again(stack: Watched) -> None:
    """The next run, by Airflow."""
    stack.sandbox.heal()
    assert stack.wait_for_end(stack.trigger()) == "success"


def test_two_runs_of_one_stream_never_interleave_and_both_end_well(
    stack: Watched, record_property: Callable[[str, object], None]
) -> None:
    """D17: by REST and by command at once; and a worker on another machine, which no setting of Airflow keeps out."""
    stack.slow(1000)
    first = stack.trigger(full=True)
    words = [sys.executable, "-m", "crossdock.cli", "sync", "inventory", "--full"]
    command = subprocess.Popen(words, cwd=PROJECT, env=stack.hub.environment, stdout=subprocess.DEVNULL)
    stack.wait_for_page(first)
    with Store(stack.dsn) as store, pytest.raises(LeaseHeld):
        extract(INVENTORY, stack.systems(store), FULL, dag_run_id="another machine")

    assert stack.wait_for_end(first) == "success"
    stack.sandbox.heal()
    assert command.wait(900) in (0, 3)

    runs = stack.ask(
        "SELECT dag_run_id, state, started_at, finished_at FROM sync_run"
        " WHERE dataset = 'inventory' AND shard = 'all' ORDER BY started_at"
    )
    assert [run[1] for run in runs] == ["partial", "partial"]
    assert runs[0][0] == first
    assert runs[1][2] >= runs[0][3]
    record_property("seconds between them", (runs[1][2] - runs[0][3]).total_seconds())
    stack.assert_promises()


def test_an_overtaken_worker_cannot_write_and_reports_it(stack: Watched) -> None:
    """D18: stopped for longer than its lease, overtaken, woken; its failed task names the lease."""
    stack.sandbox.live(stock_moves=30)
    stack.slow(1500)
    paused = stack.trigger(full=True)
    stack.wait_for_page(paused)
    sleeper = stack.task_process(paused, "extract")
    with asleep(sleeper):
        stack.sandbox.heal()
        stack.sandbox.live(stock_moves=30)
        by_another_worker(stack, FULL, "another worker")

    assert stack.wait_for_end(paused) == "failed"
    assert "lost its lease" in stack.log_of(paused, "extract")
    assert stack.task(paused, "extract")["try_number"] == 1
    overtaken = stack.ask("SELECT run_id, state FROM sync_run WHERE dag_run_id = %s", paused)
    assert [state for _, state in overtaken] == ["failed"]
    assert stack.ask("SELECT count(*) FROM sync_batch WHERE run_id = %s", overtaken[0][0]) == [(0,)]
    stack.assert_promises()


def test_a_cancelled_run_holds_its_lease_until_it_expires_and_the_next_run_continues(stack: Watched) -> None:
    """D19: marked failed by a person in the middle, as the button of the UI does."""
    stack.sandbox.live(stock_moves=30)
    stack.slow(1500)
    cancelled = stack.trigger(full=True)
    stack.wait_for_page(cancelled)
    worker = stack.task_process(cancelled, "extract")

    stack.api.patch(f"/dags/sync_commercetools_inventory/dagRuns/{cancelled}", {"state": "failed"})
    _, alive = psutil.wait_procs([worker], timeout=300)
    left_s = stack.ask(
        "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM lease WHERE (dataset, shard) = ('inventory', 'all')"
    )[0][0]
    time.sleep(max(0.0, left_s))
    report = stack.hub.json("doctor", exit_code=None)
    sync_again(stack)

    assert alive == []
    assert left_s <= LEASE_LIFE_S
    assert [check["name"] for check in report["checks"] if not check["ok"]] == ["runs"]
    assert stack.ask("SELECT DISTINCT state FROM sync_run WHERE dag_run_id = %s", cancelled) == [("failed",)]
    stack.assert_promises()


def test_a_cleared_task_of_an_old_run_counts_older_versions_as_stale_and_newer_ones_stay(stack: Watched) -> None:
    """Its pages lay in the landing while a newer run loaded what had changed since."""
    stack.slow(700)
    old = stack.trigger(full=True)
    stack.wait_for_page(old)
    task = f"/dags/sync_commercetools_inventory/dagRuns/{old}/taskInstances/load"
    stack.api.patch(task, {"new_state": "failed"})
    assert stack.wait_for_end(old) == "failed"
    stack.sandbox.heal()
    stack.sandbox.live(stock_moves=25)
    sync_again(stack)
    stack.assert_promises()

    stack.api.clear("sync_commercetools_inventory", old, task_ids=["load"])

    assert stack.wait_for_end(old) == "success"
    counted = stack.ask("SELECT read, stale, inserted, updated FROM sync_run WHERE dag_run_id = %s", old)
    assert counted == [(1000, 25, 0, 0)]
    stack.assert_promises()


def test_a_hub_database_that_ends_at_once_under_load_loses_nothing(
    stack: Watched, record_property: Callable[[str, object], None]
) -> None:
    """PostgreSQL stops with `-m immediate`; the supervisor starts it again, and the run ends without a person."""
    stack.sandbox.live(stock_moves=30)
    stack.slow(1000)
    run = stack.trigger(full=True)
    stack.wait_for_page(run)
    stopped_at = time.monotonic()
    os.kill(stack.parts["postgres-hub"]["pid"], signal.SIGQUIT)
    state = stack.wait_for_end(run)
    record_property("seconds until the run had ended", round(time.monotonic() - stopped_at, 1))

    assert state == "success"
    assert stack.ask("SELECT state FROM sync_run WHERE dag_run_id = %s", run) == [("partial",)]
    stack.assert_promises()


def test_a_task_whose_process_is_killed_is_tried_again_and_ends_right(
    stack: Watched, record_property: Callable[[str, object], None]
) -> None:
    """By the machine, for its memory: the worker that supervises it notices at once."""
    stack.sandbox.live(stock_moves=30)
    stack.slow(1000)
    run = stack.trigger(full=True)
    stack.wait_for_page(run)
    killed_at = time.monotonic()
    stack.task_process(run, "extract").kill()

    assert stack.wait_for_end(run) == "success"
    record_property("recovery_s", round(time.monotonic() - killed_at, 1))
    assert stack.ask("SELECT count(*), sum(read) FROM sync_run WHERE dag_run_id = %s", run) == [(1, 1000)]
    stack.assert_promises()


def test_a_killed_worker_and_a_frozen_one_are_replaced_and_the_frozen_one_stays_out(
    stack: Watched, record_property: Callable[[str, object], None]
) -> None:
    """
    Airflow hears nothing of both for half a minute and starts their tasks again.

    The frozen one wakes beside the second try of its own run, which has the same run in the ledger.
    """
    stack.sandbox.live(stock_moves=30)
    stack.slow(2500)
    stack.slow(15_000, "products")
    dead, frozen = stack.trigger("products", full=True), stack.trigger(full=True)
    stack.wait_for_begin(dead)
    victim = stack.task_process(dead, "extract", "products")
    stack.wait_for_page(frozen)
    sleeper = stack.task_process(frozen, "extract")
    guards = sleeper.parent(), victim.parent()
    assert guards[0] is not None
    assert guards[1] is not None
    lost_at = time.monotonic()
    with asleep(guards[0], sleeper):
        guards[1].kill()
        victim.kill()
        stack.slow(0, "products")
        (landed,) = stack.ask(
            "SELECT count(*) FROM landed_page JOIN sync_run USING (run_id) WHERE dag_run_id = %s", frozen
        )
        stack.wait_for_page(frozen, pages=landed[0] + 1)

    assert stack.wait_for_end(dead, "products") == "success"
    record_property("recovery_s of the killed one", round(time.monotonic() - lost_at, 1))
    assert stack.wait_for_end(frozen) == "success"
    assert stack.ask("SELECT count(*), sum(read) FROM sync_run WHERE dag_run_id = %s", frozen) == [(1, 1000)]
    stack.assert_promises()


@pytest.mark.parametrize("fault", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.deep)])
def test_a_killed_or_frozen_scheduler_is_replaced_and_its_run_ends_without_a_person(
    stack: Watched, fault: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    """C20: with all its workers, in the middle of a sync. Nobody calls `up`."""
    stack.sandbox.live(stock_moves=30)
    stack.slow(1000)
    run = stack.trigger(full=True)
    stack.wait_for_page(run)
    before = stack.parts["scheduler"]["pid"]
    hit_at = time.monotonic()
    os.kill(before, fault)
    eventually(lambda: stack.part("scheduler")["pid"] not in {None, before})
    record_property("replaced after s", round(time.monotonic() - hit_at, 1))

    assert stack.wait_for_end(run) == "success"
    record_property("recovery_s", round(time.monotonic() - hit_at, 1))
    assert stack.part("scheduler")["restarts"] >= 1
    assert stack.ask("SELECT count(*), sum(read) FROM sync_run WHERE dag_run_id = %s", run) == [(1, 1000)]
    stack.assert_promises()


def test_every_log_line_of_a_sync_names_its_run_its_stream_and_its_batch(stack: Watched) -> None:
    """In the task's own log, as fields: a log store is filtered by run, not searched for words."""
    run = stack.trigger(limit=20)
    assert stack.wait_for_end(run) == "success"
    ((run_id,),) = stack.ask("SELECT run_id FROM sync_run WHERE dag_run_id = %s", run)

    for task_id, batch in (("extract", {}), ("validate", {"batch": 0}), ("load", {"batch": 0})):
        lines = [json.loads(line) for line in stack.log_of(run, task_id).splitlines() if line.startswith("{")]
        ours = [line for line in lines if line["logger"].startswith("crossdock.sync")]
        assert ours
        for line in ours:
            assert line.items() >= {"run": run_id, "stream": "commercetools.inventory", **batch}.items()


def test_the_doctor_finds_nothing_wrong_after_all_of_this(stack: Watched) -> None:
    """Nothing is left behind: no lease, no run without an end, no process."""
    report = stack.hub.json("doctor", exit_code=None)

    assert report["ok"], [check for check in report["checks"] if not check["ok"]]
