"""The request log, for tests to assert on: how many requests came, which ones, and how many at once."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from crossdock.sandbox.engine.clock import text_of
from crossdock.sandbox.engine.messages import Request

_MAX_ENTRIES = 100_000


@dataclass(slots=True)
class Entry:
    """One request. It is in the log from its arrival on; its last three fields are set as it is answered."""

    n: int
    at: str
    method: str
    path: str
    query: Mapping[str, list[str]]
    #: The entry of the fault script that was applied; None if the request was answered normally.
    fault: Any
    #: How many requests were being answered, including this one.
    concurrency: int
    correlation_id: str | None
    status: int | None = None
    bytes: int = 0
    duration_ms: float | None = None


class RequestLog:
    """The last hundred thousand requests to the simulated system; requests to the control API are not logged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._count = 0
        self._running: set[int] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.all())

    def all(self, after: int = 0) -> list[Entry]:
        """List the entries whose number is above *after*, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.n > after]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def as_documents(self, after: int = 0) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.all(after)]

    @contextmanager
    def record(self, request: Request, fault: Any) -> Iterator[Entry]:
        """Log the request, and measure how long the block takes to answer it."""
        began = time.perf_counter()
        entry = self._append(request, fault)
        try:
            yield entry
        finally:
            self.finish(entry)
            entry.duration_ms = round((time.perf_counter() - began) * 1000, 3)

    def finish(self, entry: Entry) -> None:
        """
        Stop counting the request as running.

        Called before the last byte is sent: a quick client would otherwise be counted twice.
        """
        with self._lock:
            self._running.discard(entry.n)

    def _append(self, request: Request, fault: Any) -> Entry:
        with self._lock:
            self._count += 1
            self._running.add(self._count)
            entry = Entry(
                n=self._count,
                at=text_of(datetime.now(UTC)),
                method=request.method,
                path=request.path,
                query=request.query,
                fault=fault,
                concurrency=len(self._running),
                correlation_id=request.headers.get("x-correlation-id"),
            )
            self._entries.append(entry)
            return entry
