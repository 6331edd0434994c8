"""
Turns to call an integration: one line for all workers, on the database's clock.

A row holds when the next turn is (GCRA's theoretical arrival time); who asks moves it on. A busy worker takes
several turns at once and uses each in its own moment, never later: a turn that was missed is gone, so that
two late workers cannot fall together into one window.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from crossdock.core.errors import RateLimited
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.model import Rate

#: Moves the line on by *count* turns and says when the first of them is, in seconds from now; no row when that
#: is too far away. All in one statement: its row lock is the queue.
_TAKE = b"""
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

_WAIT = b"""
SELECT extract(epoch FROM next_permit_at - clock_timestamp())::float8 FROM rate_limit WHERE integration = %(integration)s
"""

_PAUSE = b"""
INSERT INTO rate_limit AS line (integration, next_permit_at, calls, per_s)
VALUES (%(integration)s, clock_timestamp() + %(seconds)s * interval '1 s', %(calls)s, %(per_s)s)
ON CONFLICT (integration) DO UPDATE SET next_permit_at = greatest(line.next_permit_at, excluded.next_permit_at)
"""

#: The longest stretch of turns that one worker takes at once, so that the others wait no longer than this.
_LEASE_S = 0.25
_MOST_TURNS = 64
#: A worker whose last turns are older than this starts again with one.
_IDLE_S = 1.0
#: Answers of the database that came too late for the turns in them, one after the other.
_LATE_ANSWERS = 20


class _Turn(NamedTuple):
    #: By this process's monotonic clock.
    begins_at: float
    ends_at: float


class SharedRateLimiter:
    """
    A `RateLimiter` over PostgreSQL, for the threads of one process.

    Args:
        store: A connection that threads may share.
        rate: What the other side allows in all; every worker must be told the same.

    """

    def __init__(self, store: Store, integration: str, rate: Rate) -> None:
        self._store, self._integration, self._rate = store, integration, rate
        self._lock = threading.Lock()
        self._turns: deque[_Turn] = deque()
        self._most = max(1, min(_MOST_TURNS, int(_LEASE_S / rate.spacing_s)))
        self._size = 1
        self._missed = False
        self._taken_at = 0.0

    def acquire(self, longest_wait_s: float) -> float:
        began = time.monotonic()
        while True:
            turn = self._next_turn(began + longest_wait_s)
            if (wait_s := turn.begins_at - time.monotonic()) > 0:
                time.sleep(wait_s)
            now = time.monotonic()
            if now <= turn.ends_at:
                return now - began
            self._missed = True  # slept through it, on a busy machine

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._turns.clear()
            with self._store.transaction() as work:
                work.execute(_PAUSE, self._values(seconds=seconds + self._burst_s))

    @property
    def _burst_s(self) -> float:
        return (self._rate.burst - 1) * self._rate.spacing_s

    def _next_turn(self, latest: float) -> _Turn:
        with self._lock:
            for _ in range(_LATE_ANSWERS):
                while self._turns and self._turns[0].ends_at < time.monotonic():
                    self._turns.popleft()
                    self._missed = True
                if self._turns:
                    return self._first_in_time(latest)
                self._take(max(latest - time.monotonic(), 0.0))
            raise StoreUnavailable(
                f"The hub's database takes longer than {self._rate.slack_s / 2:g} s to give out a turn to call "
                f"{self._integration}, so its rate limit cannot be kept"
            )

    def _first_in_time(self, latest: float) -> _Turn:
        """The next turn, unless it is too far away: then it stays for whoever is more patient."""
        now, turn = time.monotonic(), self._turns[0]
        # The way to the database and back is not counted: a turn that is there may be used.
        if turn.begins_at > max(latest, now) + self._rate.slack_s / 2:
            raise self._too_far(turn.begins_at - now)
        return self._turns.popleft()

    def _take(self, longest_wait_s: float) -> None:
        """More turns: twice as many as the last time while all are used, half as many when some were missed."""
        if time.monotonic() - self._taken_at > _IDLE_S:
            self._size = 1
        else:
            self._size = max(1, self._size // 2) if self._missed else min(self._most, self._size * 2)
        self._missed = False
        sent_at = time.monotonic()
        with self._store.transaction() as work:
            first_in_s = self._first_in_s(work, self._size, longest_wait_s)
        self._taken_at = time.monotonic()
        for number in range(self._size):
            in_s = max(first_in_s + number * self._rate.spacing_s - self._burst_s, 0.0)
            # The database answered some time between sending and now: late enough by the one, early enough by the other.
            self._turns.append(_Turn(self._taken_at + in_s, sent_at + in_s + self._rate.slack_s / 2))

    def _first_in_s(self, work: Work, count: int, longest_wait_s: float) -> float:
        values = self._values(count=count, span=count * self._rate.spacing_s, longest=longest_wait_s + self._burst_s)
        row = work.execute(_TAKE, values).fetchone()
        if row is None:
            waiting = work.execute(_WAIT, values).fetchone()
            raise self._too_far(max(waiting[0] - self._burst_s, 0.0) if waiting else longest_wait_s)
        return float(row[0])

    def _too_far(self, wait_s: float) -> RateLimited:
        return RateLimited(
            self._integration,
            f"the next turn under its limit of {self._rate.calls} calls in {self._rate.per_s:g} s is in {wait_s:.1f} s",
            retry_in_s=wait_s,
        )

    def _values(self, **more: float) -> dict[str, str | float]:
        rate = self._rate
        return {"integration": self._integration, "calls": rate.calls, "per_s": rate.per_s, **more}
