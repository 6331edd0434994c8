"""The watchdog that ends exchanges."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossdock.http.deadline import Deadline, current_deadline


def test_a_blocked_read_ends_when_the_time_is_over() -> None:
    """Nothing else wakes a read: the time-outs of requests are longer than what is left."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.5) as deadline:
        deadline.attach(ours)
        assert ours.recv(1) == b"", "nothing else would ever have ended it"
        assert deadline.passed, "and not before its time"


def test_a_socket_is_not_shut_down_once_the_exchange_is_over() -> None:
    """It is back in the pool then, and answers another call."""
    ours, theirs = socket.socketpair()
    another, its_peer = socket.socketpair()
    with ours, theirs, another, its_peer:
        with Deadline(1) as deadline:
            deadline.attach(ours)
        with Deadline(1.1) as later:
            later.attach(another)
            assert another.recv(1) == b"", "the watchdog has come by, after the time of the first"
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


def test_no_socket_is_taken_up_after_the_end() -> None:
    """A slow connect or token ends after the watchdog came by; a read that begins then would never be cut."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.0) as deadline, pytest.raises(TimeoutError):
        deadline.attach(ours)


def test_an_inner_deadline_ends_with_the_outer_one_at_the_latest() -> None:
    """A token that is fetched for a call must not make that call longer."""
    with Deadline(600) as outer:
        with Deadline(6_000) as longer:
            assert current_deadline() is longer
            assert longer.ends_at == outer.ends_at
        with Deadline(1) as shorter:
            assert shorter.ends_at < outer.ends_at
        assert current_deadline() is outer
    assert current_deadline() is None


def test_an_inner_exchange_is_cut_within_the_outer_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.5), Deadline(6_000) as inner:
        inner.attach(ours)
        assert ours.recv(1) == b"", "its own time is longer than this test may take"


def test_each_thread_has_its_own_deadline() -> None:
    """Pages are read by several threads at once; a slow one must not end the others."""
    patient, its_peer = socket.socketpair()

    def read(ours: socket.socket, timeout_s: float) -> tuple[bytes, bool]:
        with Deadline(timeout_s) as deadline:
            assert current_deadline() is deadline
            deadline.attach(ours)
            return ours.recv(1), deadline.passed

    def cut(number: int) -> tuple[bytes, bool]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            return read(ours, 0.5 + number * 0.01)

    with patient, its_peer, ThreadPoolExecutor(16) as pool:
        longest = pool.submit(read, patient, 6_000)
        assert list(pool.map(cut, range(15))) == [(b"", True)] * 15
        assert not longest.done(), "the others' time is not its own"
        its_peer.sendall(b"x")
        assert longest.result() == (b"x", False)


def test_deadlines_leave_nothing_behind() -> None:
    """A worker makes millions of them: one thread for all, and each is dropped when its time is up."""
    with Deadline(0.01):
        pass
    threads = threading.active_count()
    left = weakref.WeakSet[Deadline]()
    for _ in range(1_000):
        with Deadline(0.05) as deadline:
            left.add(deadline)
    del deadline
    until = time.monotonic() + 120

    while len(left) > 1 and time.monotonic() < until:
        time.sleep(0.05)
        gc.collect()

    assert len(left) <= 1  # the last, which the watchdog still holds
    assert threading.active_count() <= threads


_FORKING = """
import os, socket, time
from crossdock.http import deadline as module

ours, theirs = socket.socketpair()
with module.Deadline(2) as parents:
    parents.attach(ours)
    module._watchdog._condition.acquire()  # as if another thread had just come by
    child = os.fork()
    if child == 0:
        mine, other = socket.socketpair()
        with module.Deadline(0.5) as own:
            own.attach(mine)
            cut = mine.recv(1) == b""
        while not parents.passed:
            time.sleep(0.05)
        time.sleep(0.3)  # a watchdog that the child had taken along would end its parent's socket now
        os._exit(0 if cut else 1)
    module._watchdog._condition.release()
with module.Deadline(6_000) as longer:
    longer.attach(ours)
    _, status = os.waitpid(child, 0)
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x", "the child ended its parent's socket"
assert os.waitstatus_to_exitcode(status) == 0, status
"""


def test_a_forked_process_has_a_watchdog_of_its_own() -> None:
    """Airflow forks its tasks: a lock that was taken, or the parent's sockets, must not come along."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKING], capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
