"""End a task with the process of Airflow that supervises it: what nobody supervises can read no connection and report nothing."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from crossdock.core.log import logger

log = logger(__name__)

#: How long an orphaned task may take to free what it holds. It is ended then, whatever it does: its transaction is rolled
#: back, and its leases run out.
_GRACE_S = 5.0
#: How often a task looks whether it still has its supervisor, where the system cannot wait for the end of a process.
_LOOK_EVERY_S = 0.5
#: As after a signal that nobody handled: nobody reads it.
_EXIT_CODE = 143


def supervisor_of_this_task() -> int | None:
    """Find the process that supervises this task; None where there is none: `dag.test()`, or a test."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415  exists in Airflow's tasks only

    channel = getattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "socket", None)
    return os.getppid() if isinstance(channel, socket.socket) else None


@contextmanager
def ended_with(
    supervisor: int | None, stop: Callable[[], object] = lambda: None, *, grace_s: float = _GRACE_S
) -> Iterator[None]:
    """
    End this process when the process *supervisor*, its parent, ends while the block runs; with None, never.

    *stop* is called at once and asks the block to begin nothing new and to free what it holds. The process ends when the
    block has ended, or after *grace_s*.
    """
    if supervisor is None:
        yield
        return
    block_ended, orphaned = threading.Event(), threading.Event()

    def watch() -> None:
        if not _outlived(supervisor, block_ended):
            return
        orphaned.set()
        stop()
        # The log goes through the supervisor's pipe, which is closed.
        with suppress(Exception):
            log.error("The process that supervised this task has ended, so the task ends itself")
        block_ended.wait(grace_s)
        os._exit(_EXIT_CODE)

    threading.Thread(target=watch, name="Supervision", daemon=True).start()
    try:
        yield
    finally:
        if orphaned.is_set():
            os._exit(_EXIT_CODE)
        block_ended.set()


def _outlived(parent: int, ended: threading.Event) -> bool:
    """Wait until *parent* has ended: True; or *ended* is set: False."""
    with _waitable(parent) as wait:
        while not ended.is_set():
            if os.getppid() != parent:
                return True
            wait(_LOOK_EVERY_S)
    return False


@contextmanager
def _waitable(pid: int) -> Iterator[Callable[[float], object]]:
    """Give a function that waits some seconds, or until the process *pid* ends where the system can tell."""
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, AttributeError):  # Not on this system, or it has ended already.
        yield threading.Event().wait
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        yield lambda seconds: poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)
