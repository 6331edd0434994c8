"""
The rate limit of an integration: permits from one queue for all workers, on the database's clock.

A row holds the time of the next permit (GCRA's theoretical arrival time); each request moves it forward. A busy worker
reserves several permits at once and uses each at its own time, never later: a missed permit is lost, so that
two late workers cannot call within the same window.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from crossdock.core.errors import RateLimited
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.model import Rate

#: Reserves *count* permits and returns when the first one is due, in seconds from now; no row if that is too far
#: away. It is one statement: its row lock is the queue.
_RESERVE = b"""
INSERT INTO rate_limit AS line (integration, next_permit_at, calls, per_s, taken)
VALUES (%(integration)s, clock_timestamp() + %(span)s * interval '1 s', %(calls)s, %(per_s)s, %(count)s)
ON CONFLICT (integration) DO UPDATE
   SET next_permit_at = greatest(line.next_permit_at, clock_timestamp()) + %(span)s * interval '1 s',
       calls = excluded.calls,
       per_s = excluded.per_s,
       taken = line.taken + excluded.taken
 WHERE line.next_permit_at <= clock_timestamp() + %(longest)s * interval '1 s'
RETURNING extract(epoch FROM next_permit_at - clock_timestamp())::float8 - %(span)s
"""

_NEXT_PERMIT = b"""
SELECT extract(epoch FROM next_permit_at - clock_timestamp())::float8 FROM rate_limit WHERE integration = %(integration)s
"""

_PAUSE = b"""
INSERT INTO rate_limit AS line (integration, next_permit_at, calls, per_s)
VALUES (%(integration)s, clock_timestamp() + %(seconds)s * interval '1 s', %(calls)s, %(per_s)s)
ON CONFLICT (integration) DO UPDATE SET next_permit_at = greatest(line.next_permit_at, excluded.next_permit_at)
"""

#: This many calls may queue for a permit, of all workers: eight in flight in each of eight tasks.
_QUEUED_CALLS = 64
#: The longest span of permits that one worker reserves at once, so that the others wait no longer than this.
_LEASE_S = 0.25
_MAX_PERMITS = 64
#: A worker whose last permits are older than this starts again with one.
_IDLE_S = 1.0
#: Give up after this many consecutive replies of the database that came too late to use their permits.
_MAX_LATE_REPLIES = 20


class _Permit(NamedTuple):
    #: By this process's monotonic clock.
    begins_at: float
    ends_at: float


class SharedRateLimiter:
    """
    A `RateLimiter` over PostgreSQL, for the threads of one process.

    Args:
        store: A connection that threads may share.
        rate: What the server allows all workers together; it must be the same in every worker.
        queues: Whether reads wait their turn however slow the rate is; a person, or an event, does not wait so long.

    """

    def __init__(self, store: Store, integration: str, rate: Rate, *, queues: bool = True) -> None:
        self._store, self._integration, self._rate = store, integration, rate
        self.queue_s = _QUEUED_CALLS * rate.spacing_s if queues else 0.0
        self._lock = threading.Lock()
        self._permits: deque[_Permit] = deque()
        self._max = max(1, min(_MAX_PERMITS, int(_LEASE_S / rate.spacing_s)))
        self._size = 1
        self._missed = False
        self._taken_at = 0.0

    def acquire(self, longest_wait_s: float) -> float:
        """Wait for a permit and return the seconds waited."""
        began = time.monotonic()
        while True:
            permit = self._next_permit(began + longest_wait_s)
            if (wait_s := permit.begins_at - time.monotonic()) > 0:
                time.sleep(wait_s)
            now = time.monotonic()
            if now <= permit.ends_at:
                return now - began
            self._missed = True  # woke up too late, on a busy machine

    def pause(self, seconds: float) -> None:
        """Block all workers for *seconds*."""
        with self._lock:
            self._permits.clear()
            with self._store.transaction() as work:
                work.execute(_PAUSE, self._values(seconds=seconds + self._burst_s))

    @property
    def _burst_s(self) -> float:
        return (self._rate.burst - 1) * self._rate.spacing_s

    def _next_permit(self, latest: float) -> _Permit:
        with self._lock:
            for _ in range(_MAX_LATE_REPLIES):
                while self._permits and self._permits[0].ends_at < time.monotonic():
                    self._permits.popleft()
                    self._missed = True
                if self._permits:
                    return self._pop_permit(latest)
                self._reserve(max(latest - time.monotonic(), 0.0))
            raise StoreUnavailable(
                f"The hub's database takes longer than {self._rate.slack_s / 2:g} s to issue a permit to call "
                f"{self._integration}, so its rate limit cannot be kept"
            )

    def _pop_permit(self, latest: float) -> _Permit:
        """Take the next permit. One that is too far away stays for a caller that can wait longer."""
        now, permit = time.monotonic(), self._permits[0]
        # The round trip to the database does not count: a permit that is here may be used.
        if permit.begins_at > max(latest, now) + self._rate.slack_s / 2:
            raise self._too_far(permit.begins_at - now)
        return self._permits.popleft()

    def _reserve(self, longest_wait_s: float) -> None:
        """Reserve more permits: twice as many as last time while all are used, half as many after some were missed."""
        if time.monotonic() - self._taken_at > _IDLE_S:
            self._size = 1
        else:
            self._size = max(1, self._size // 2) if self._missed else min(self._max, self._size * 2)
        self._missed = False
        sent_at = time.monotonic()
        with self._store.transaction() as work:
            first_in_s = self._first_in_s(work, self._size, longest_wait_s)
        self._taken_at = time.monotonic()
        for number in range(self._size):
            in_s = max(first_in_s + number * self._rate.spacing_s - self._burst_s, 0.0)
            # The database replied at some time between sending and now: begin counting now, end counting at sending.
            self._permits.append(_Permit(self._taken_at + in_s, sent_at + in_s + self._rate.slack_s / 2))

    def _first_in_s(self, work: Work, count: int, longest_wait_s: float) -> float:
        values = self._values(count=count, span=count * self._rate.spacing_s, longest=longest_wait_s + self._burst_s)
        row = work.execute(_RESERVE, values).fetchone()
        if row is None:
            waiting = work.execute(_NEXT_PERMIT, values).fetchone()
            raise self._too_far(max(waiting[0] - self._burst_s, 0.0) if waiting else longest_wait_s)
        return float(row[0])

    def _too_far(self, wait_s: float) -> RateLimited:
        return RateLimited(
            self._integration,
            f"rate limit of {self._rate.calls} calls per {self._rate.per_s:g} s reached",
            retry_in_s=wait_s,
        )

    def _values(self, **more: float) -> dict[str, str | float]:
        rate = self._rate
        return {"integration": self._integration, "calls": rate.calls, "per_s": rate.per_s, **more}
