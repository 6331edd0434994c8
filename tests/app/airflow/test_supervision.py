"""A task whose supervisor was killed ends by itself, and another worker goes on where it stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import psutil
import pytest
from airflow.sdk.execution_time import task_runner

from crossdock.app.airflow import supervision
from crossdock.app.airflow.supervision import ended_with, supervisor_of_this_task
from crossdock.app.airflow.task_failures import explained_failures
from crossdock.db.database import Store
from crossdock.events.delivery import PartitionAssignment, PollingConfig, deliver
from tests.chaos import children
from tests.events.worlds import ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query

#: A lease that runs out in no test: a partition is free because its worker has freed it.
FOR_EVER = PollingConfig(lease_life=timedelta(hours=1))
NEVER_S = 3600.0


class Orphans:
    """Tasks, each under a supervisor of its own that can be killed."""

    def __init__(self) -> None:
        self.started: list[tuple[int, psutil.Process]] = []

    def start(self, work: Callable[[int], object]) -> psutil.Process:
        """Do *work*, given its supervisor's process id, in a child of a new supervisor."""
        read, write = os.pipe()

        def supervise() -> None:
            pid = children.start(lambda: work(os.getppid()))
            os.write(write, str(pid).encode())
            children.ended(pid)

        supervisor = children.start(supervise)
        task = psutil.Process(int(os.read(read, 20)))
        os.close(read)
        os.close(write)
        self.started.append((supervisor, task))
        return task

    def kill_supervisor(self) -> None:
        supervisor, _ = self.started[-1]
        os.kill(supervisor, signal.SIGKILL)
        children.ended(supervisor)

    def clear(self) -> None:
        for _, task in self.started:
            if task.is_running():
                task.kill()


@pytest.fixture
def orphans() -> Iterator[Orphans]:
    started = Orphans()
    yield started
    started.clear()


def ends(task: psutil.Process) -> bool:
    return not psutil.wait_procs([task], timeout=120)[1]


def test_a_worker_without_its_supervisor_frees_its_partitions_and_ends(
    store: Store, hub_dsn: str, orphans: Orphans
) -> None:
    """It lived on, kept its partitions, could read no connection, and made a dead letter of each webhook."""
    external = ExternalSystem()

    def work(supervisor: int) -> None:
        stop = threading.Event()
        with ended_with(supervisor, stop.set, grace_s=NEVER_S):
            deliver(
                lambda: Store(hub_dsn),
                PartitionAssignment(partitions=2),
                lifetime=timedelta(hours=1),
                subscribers=external.subscribers(),
                polling=FOR_EVER,
                stop=stop,
            )

    task = orphans.start(work)
    publish(store, *(stock(f"S{n}", 1, n) for n in range(20)))
    eventually(lambda: query(store, "SELECT count(*) FROM event_inbox"), [(20,)])
    orphans.kill_supervisor()
    assert ends(task)

    assert query(store, "SELECT DISTINCT holder FROM event_consumer") == [(None,)]
    publish(store, *(stock(f"S{n}", 2, n) for n in range(20)))
    with delivery(hub_dsn, external.subscribers()):
        eventually(lambda: query(store, "SELECT count(*) FROM event_inbox"), [(40,)])
    assert sorted(external.delivered) == sorted((f"S{n}", 2) for n in range(20)), (
        "none of those before, each of these once"
    )
    assert query(store, "SELECT count(*) FROM dead_letter") == [(0,)]


def test_a_task_that_does_not_stop_is_ended_after_the_grace(orphans: Orphans) -> None:
    def work(supervisor: int) -> None:
        with ended_with(supervisor, grace_s=0.1):
            time.sleep(NEVER_S)

    task = orphans.start(work)
    orphans.kill_supervisor()

    assert ends(task)


def test_a_transaction_of_an_orphaned_task_is_rolled_back(store: Store, hub_dsn: str, orphans: Orphans) -> None:
    def work(supervisor: int) -> None:
        with ended_with(supervisor, grace_s=0.1), Store(hub_dsn) as own, own.transaction() as transaction:
            transaction.execute("INSERT INTO alert (kind, subject, message) VALUES ('x', 'y', 'z')")
            os.write(ready, b"1")
            time.sleep(NEVER_S)

    begun, ready = os.pipe()
    task = orphans.start(work)
    assert os.read(begun, 1)
    orphans.kill_supervisor()

    assert ends(task)
    eventually(lambda: query(store, "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"), [(0,)])
    assert query(store, "SELECT count(*) FROM alert") == [(0,)]


def test_where_a_process_cannot_be_waited_for_the_parent_is_looked_up(
    orphans: Orphans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(supervisor: int) -> None:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr(supervision, "_LOOK_EVERY_S", 0.02)
        with ended_with(supervisor, grace_s=0.1):
            time.sleep(NEVER_S)

    task = orphans.start(work)
    orphans.kill_supervisor()

    assert ends(task)


def test_every_task_of_ours_ends_with_its_supervisor(orphans: Orphans, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them run inside `explained_failures`; the process that forked it is its supervisor."""

    def work(_: int) -> None:
        stop = threading.Event()
        ours, _theirs = socket.socketpair()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(socket=ours), raising=False)
        with explained_failures(stop=stop.set):
            stop.wait(NEVER_S)

    task = orphans.start(work)
    orphans.kill_supervisor()

    assert ends(task)


def test_a_frozen_task_is_killed(orphans: Orphans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor sends heartbeats for it, so Airflow never misses it: its stream stood still until a person came."""
    monkeypatch.setattr(supervision, "_SILENT_LOOKS", 2)

    def work(supervisor: int) -> None:
        with ended_with(supervisor):
            time.sleep(NEVER_S)

    task = orphans.start(work)
    (watchdog,) = eventually_children(task)
    task.suspend()

    assert ends(task)
    assert ends(watchdog)


def test_a_task_that_runs_is_not_killed(orphans: Orphans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_SILENT_LOOKS", 5)

    def work(supervisor: int) -> None:
        with ended_with(supervisor):
            time.sleep(NEVER_S)

    task = orphans.start(work)
    assert eventually_children(task)

    assert psutil.wait_procs([task], timeout=8)[1] == [task]


def test_a_watchdog_ends_with_its_task(orphans: Orphans) -> None:
    """Also where nobody closes the pipe: it belongs to a process that was killed."""

    def work(supervisor: int) -> None:
        with ended_with(supervisor):
            time.sleep(NEVER_S)

    task = orphans.start(work)
    (watchdog,) = eventually_children(task)
    task.kill()

    assert ends(watchdog)


def test_a_task_goes_on_beside_a_watchdog_that_is_frozen_or_cannot_start(
    orphans: Orphans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_LOOK_EVERY_S", 0.001)

    def work(supervisor: int) -> None:
        with ended_with(supervisor, grace_s=0.1):
            time.sleep(NEVER_S)

    task = orphans.start(work)
    (watchdog,) = eventually_children(task)
    watchdog.suspend()
    time.sleep(0.5)
    orphans.kill_supervisor()
    assert ends(task)

    monkeypatch.setattr(sys, "executable", "/no/python")
    with ended_with(os.getppid()):
        eventually(lambda: "Supervision" in {thread.name for thread in threading.enumerate()}, True)


def eventually_children(task: psutil.Process) -> list[psutil.Process]:
    """Wait until *task* has its watchdog."""
    eventually(lambda: len(task.children()), 1)
    found: list[psutil.Process] = task.children()
    return found


def test_a_task_that_ends_first_leaves_no_watch_behind() -> None:
    with ended_with(os.getppid()):
        assert "Supervision" in {thread.name for thread in threading.enumerate()}

    eventually(lambda: "Supervision" in {thread.name for thread in threading.enumerate()}, False)


def test_a_task_that_runs_in_a_persons_own_process_has_no_supervisor() -> None:
    """`dag.test()` in a terminal must not end because the terminal does."""
    assert supervisor_of_this_task() is None
