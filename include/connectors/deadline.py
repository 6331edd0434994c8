"""
A total deadline for an HTTP exchange.

The time-outs of `requests` bound each read, not their sum: a server that sends one byte every half
second keeps a call alive for ever. Here a watchdog shuts the socket down when the time is over, which
wakes whatever read is waiting on it, headers included.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
import threading
import time
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_current = threading.local()


class Deadline:
    """The instant, by the monotonic clock, at which the exchange of this thread ends."""

    def __init__(self, timeout_s: float) -> None:
        self.ends_at = time.monotonic() + timeout_s
        self.passed = False
        self._socket: socket.socket | None = None
        self._done = False
        self._lock = threading.Lock()
        self._outer: Deadline | None = None

    def __enter__(self) -> Self:
        # A token may have to be fetched within another call: each has its own deadline.
        self._outer = getattr(_current, "deadline", None)
        _current.deadline = self
        _watchdog.watch(self)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._done = True
            self._socket = None
        _current.deadline = self._outer

    @property
    def left_s(self) -> float:
        return max(self.ends_at - time.monotonic(), 0.001)

    def holds(self, sock: socket.socket | None) -> None:
        """Names the socket that ends with this deadline."""
        with self._lock:
            self._socket = sock

    def end(self) -> None:
        with self._lock:
            if self._done:
                return
            self.passed = True
            if self._socket is not None:
                # The peer may have closed it in this very moment.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


class _Watchdog:
    """One thread a process that ends deadlines; started with the first, and again after a fork."""

    def __init__(self) -> None:
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
            deadline.end()


_watchdog = _Watchdog()


class _WatchedResponse:
    """Tells the deadline of this thread which socket answers it."""

    sock: Any

    def getresponse(self) -> Any:
        deadline: Deadline | None = getattr(_current, "deadline", None)
        if deadline is not None:
            deadline.holds(self.sock)
        return super().getresponse()  # type: ignore[misc]


class _WatchedHTTPConnection(_WatchedResponse, HTTPConnection):
    pass


class _WatchedHTTPSConnection(_WatchedResponse, HTTPSConnection):
    pass


class _WatchedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _WatchedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


class DeadlineAdapter(HTTPAdapter):
    """The transport of `requests` whose connections end with the deadline of their thread."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _WatchedHTTPPool, "https": _WatchedHTTPSPool}
