"""
A total deadline for an HTTP exchange.

A socket's timeout bounds each read, not their sum: a server that sends one byte every half second keeps a
call alive forever. Here a watchdog shuts the socket down when the time is up, which wakes any read that is
waiting on it, headers included.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time
from typing import Self

_current = threading.local()


def current_deadline() -> Deadline | None:
    """Find the deadline of this thread's exchange; None outside an exchange."""
    deadline: Deadline | None = getattr(_current, "deadline", None)
    return deadline


class Deadline:
    """
    End this thread's exchange after *timeout_s* (monotonic clock).

    A nested deadline (a token fetched for a call) ends no later than the outer one.
    """

    def __init__(self, timeout_s: float) -> None:
        self.ends_at = time.monotonic() + timeout_s
        #: Whether a byte of the request may have left: the exchange had a connection within the deadline.
        self.attached = False
        self._socket: socket.socket | None = None
        self._done = False
        self._lock = threading.Lock()
        self._outer: Deadline | None = None

    def __enter__(self) -> Self:
        self._outer = current_deadline()
        if self._outer is not None:
            self.ends_at = min(self.ends_at, self._outer.ends_at)
        _current.deadline = self
        _watchdog.watch(self)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._done = True
            self._socket = None
        _current.deadline = self._outer

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.ends_at

    @property
    def left_s(self) -> float:
        return max(self.ends_at - time.monotonic(), 0.001)

    def attach(self, sock: socket.socket) -> None:
        """
        Have *sock* shut down when this deadline passes. Call it before anything is sent.

        Raises:
            TimeoutError: it has already passed, so the watchdog would not shut the socket down.

        """
        with self._lock:
            if self.passed:
                raise TimeoutError
            self._socket = sock
            self.attached = True

    def expire(self) -> None:
        """Shut the socket down, unless the exchange has ended."""
        with self._lock:
            if self._done or self._socket is None:
                return
            # The peer may have closed it just now.
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown: it switches its reader to the plain socket, which then reads cipher text.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Watchdog:
    """Expire deadlines in one thread per process; start it with the first deadline, and again after a fork."""

    def __init__(self) -> None:
        self.reset()
        # A fork copies the lock (perhaps held) and the deadlines, whose sockets belong to the parent.
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def watch(self, deadline: Deadline) -> None:
        with self._condition:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="http-deadlines", daemon=True)
                self._thread.start()
            heapq.heappush(self._heap, (deadline.ends_at, next(self._order), deadline))
            if self._heap[0][2] is deadline:
                self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    self._condition.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                deadline = heapq.heappop(self._heap)[2]
            deadline.expire()


_watchdog = _Watchdog()
