"""
End a task with the process of Airflow that supervises it, and one that is frozen.

What nobody supervises can read no connection and report nothing. What is frozen is alive for Airflow.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crossdock.core.log import logger

log = logger(__name__)

#: How long an orphaned task may take to free what it holds. It is ended then, whatever it does: its transaction is rolled
#: back, and its leases run out.
_GRACE_S = 5.0
#: How often a task looks whether it still has its supervisor, where the system cannot wait for the end of a process.
_LOOK_EVERY_S = 0.5
#: How many looks of the watchdog, a second apart, a task may give no sign of life; its thread gives one at each look of its own.
_SILENT_LOOKS = 60
_WATCHDOG = Path(__file__).with_name("watchdog.py")
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

    A watchdog beside it kills it when it is frozen meanwhile, or hangs so that no thread runs; then Airflow retries the task.
    *stop* is called at once and asks the block to begin nothing new and to free what it holds. The process ends when the
    block has ended, or after *grace_s*.
    """
    if supervisor is None:
        yield
        return
    block_ended, orphaned = threading.Event(), threading.Event()

    def watch() -> None:
        with _watchdog(os.getpid(), _SILENT_LOOKS) as give_sign:
            if not _outlived(supervisor, block_ended, give_sign):
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


def _outlived(parent: int, ended: threading.Event, give_sign: Callable[[], object]) -> bool:
    """Wait until *parent* has ended: True; or *ended* is set: False. Call *give_sign* again and again meanwhile."""
    with _waitable(parent) as wait:
        while not ended.is_set():
            if os.getppid() != parent:
                return True
            give_sign()
            wait(_LOOK_EVERY_S)
    return False


@contextmanager
def _watchdog(pid: int, looks: int, every_s: float = 1.0) -> Iterator[Callable[[], object]]:
    """Start the watchdog of this process, *pid*; give the function by which the process tells it that it is not frozen."""
    words = (sys.executable, "-I", "-S", str(_WATCHDOG), str(pid), str(looks), str(every_s))
    try:
        watchdog = subprocess.Popen(words, stdin=subprocess.PIPE, bufsize=0)
    except OSError as error:  # No memory, or no process more: the task goes on without it.
        log.warning("A watchdog cannot be started: %s", error)
        yield lambda: None
        return
    pipe = watchdog.stdin
    assert pipe is not None  # noqa: S101  for the type checker
    # A watchdog that was itself killed or frozen must not hold up the task.
    os.set_blocking(pipe.fileno(), False)

    def give_sign() -> None:
        with suppress(OSError):
            pipe.write(b".")

    try:
        yield give_sign
    finally:
        watchdog.kill()
        watchdog.communicate()


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
