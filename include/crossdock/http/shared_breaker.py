"""The circuit breaker of each integration: one state for all workers, and the history of its changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from crossdock.core.errors import CircuitOpen
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http import breaker
from crossdock.http.breaker import BreakerRules, BreakerState, Phase

log = logging.getLogger(__name__)

_FIRST = b"""
INSERT INTO breaker (integration, state) VALUES (%(integration)s, %(state)s) ON CONFLICT DO NOTHING
"""

#: FOR UPDATE: what two workers report at once adds up.
_READ = b"""
SELECT state, extract(epoch FROM clock_timestamp())::float8 FROM breaker WHERE integration = %(integration)s FOR UPDATE
"""

_WRITE = b"""
UPDATE breaker SET state = %(state)s, changed_at = clock_timestamp() WHERE integration = %(integration)s
"""

_NOTE = b"""
INSERT INTO breaker_change (integration, from_phase, to_phase, calls, failures)
VALUES (%(integration)s, %(from_phase)s, %(to_phase)s, %(calls)s, %(failures)s)
"""

_PHASES = b"SELECT integration, state FROM breaker WHERE integration = ANY(%(names)s)"

_HISTORY = b"""
SELECT at, from_phase, to_phase, calls, failures FROM breaker_change
 WHERE integration = %(integration)s ORDER BY id DESC LIMIT %(limit)s
"""

_EXPIRE = b"DELETE FROM breaker_change WHERE at < clock_timestamp() - %(keep)s"

#: How long a worker goes by what it last knew: an outage that others met reaches it by then.
_FRESH_S = 1.0

#: A state and the database's now → the state after it.
_Step = Callable[[BreakerState, float], BreakerState]


class Change(msgspec.Struct, frozen=True):
    """The breaker went from one phase to another."""

    at: datetime
    from_phase: Phase
    to_phase: Phase
    #: Of the window that ended with it.
    calls: int
    failures: int


class SharedBreaker:
    """
    A `CircuitBreaker` over PostgreSQL, for the threads of one process.

    While all is well it costs one short transaction a second. A failure is told at once; once open, callers are
    sent away without asking the database until it is time.
    """

    def __init__(self, store: Store, integration: str, rules: BreakerRules) -> None:
        self._store, self._integration, self._rules = store, integration, rules
        self._lock = threading.Lock()
        self._phase = Phase.CLOSED
        self._known_at = 0.0
        self._ask_again_at = 0.0
        #: Not told yet.
        self._successes = 0

    def before_call(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._ask_again_at:
                raise self._open(self._ask_again_at - now)
            if self._phase is Phase.CLOSED and now - self._known_at < _FRESH_S:
                return
            if wait_s := self._asked(now):
                raise self._open(wait_s)

    def record(self, *, failed: bool) -> None:
        with self._lock:
            self._successes += not failed
            if failed or self._phase is not Phase.CLOSED or time.monotonic() - self._known_at >= _FRESH_S:
                self._tell_if_possible(failures=int(failed))

    def close(self) -> None:
        """Tells what has not been told."""
        with self._lock:
            if self._successes:
                self._tell_if_possible(failures=0)

    def _asked(self, now: float) -> float:
        """How long this caller has to wait, 0 for not at all."""
        waits_s = 0.0

        def step(state: BreakerState, at: float) -> BreakerState:
            nonlocal waits_s
            if state.phase is Phase.CLOSED:
                state = breaker.after_calls(state, self._rules, at, successes=self._successes, failures=0)
            state, waits_s = breaker.before_call(state, self._rules, at)
            return state

        self._step(step)
        if waits_s:
            # Half open it may close at any moment; then somebody else's probe is worth asking for.
            self._ask_again_at = now + (waits_s if self._phase is Phase.OPEN else min(waits_s, _FRESH_S))
        return waits_s

    def _tell_if_possible(self, *, failures: int) -> None:
        """A good answer is not thrown away because the database was busy for a moment."""
        try:
            self._tell(failures=failures)
        except StoreUnavailable as error:
            log.warning("The breaker of %s was not told of a call: %s", self._integration, error)

    def _tell(self, *, failures: int) -> None:
        def step(state: BreakerState, at: float) -> BreakerState:
            return breaker.after_calls(state, self._rules, at, successes=self._successes, failures=failures)

        self._step(step)

    def _step(self, step: _Step) -> None:
        with self._store.transaction() as work:
            self._phase = _changed(work, self._integration, step).phase
        self._successes = 0
        self._known_at = time.monotonic()

    def _open(self, wait_s: float) -> CircuitOpen:
        return CircuitOpen(
            self._integration,
            f"its calls have been failing, so it is left alone and asked again in {wait_s:.1f} s",
            retry_in_s=wait_s,
        )


def phase_of(work: Work, integration: str) -> Phase:
    """What the breaker of *integration* is now; closed where nobody has called yet."""
    return phases_of(work, [integration])[integration]


def phases_of(work: Work, integrations: Sequence[str]) -> dict[str, Phase]:
    """The same for each of *integrations*."""
    rows: dict[str, Any] = dict(work.execute(_PHASES, {"names": list(integrations)}).fetchall())
    return {
        name: msgspec.convert(rows[name], BreakerState).phase if name in rows else Phase.CLOSED for name in integrations
    }


def history(work: Work, integration: str, *, limit: int = 20) -> list[Change]:
    """Its newest changes, newest first."""
    rows = work.execute(_HISTORY, {"integration": integration, "limit": limit})
    return [Change(at, Phase(before), Phase(after), calls, failures) for at, before, after, calls, failures in rows]


def expire(work: Work, keep: timedelta) -> None:
    """The changes older than *keep*, gone."""
    work.execute(_EXPIRE, {"keep": keep})


def _changed(work: Work, integration: str, step: _Step) -> BreakerState:
    row = work.execute(_READ, {"integration": integration}).fetchone()
    if row is None:
        work.execute(_FIRST, {"integration": integration, "state": Jsonb(msgspec.to_builtins(BreakerState()))})
        row = work.execute(_READ, {"integration": integration}).fetchone()
    if row is None:  # nothing deletes from this table
        raise LookupError(integration)
    before = msgspec.convert(row[0], BreakerState)
    after = step(before, row[1])
    if after != before:
        work.execute(_WRITE, {"integration": integration, "state": Jsonb(msgspec.to_builtins(after))})
    if after.phase is not before.phase:
        _note(work, integration, before, after)
    return after


def _note(work: Work, integration: str, before: BreakerState, after: BreakerState) -> None:
    log.warning("Circuit breaker of %s: %s, was %s", integration, after.phase, before.phase)
    phases = {"from_phase": before.phase.value, "to_phase": after.phase.value}
    counts = {"calls": before.calls, "failures": before.failures}
    work.execute(_NOTE, {"integration": integration, **phases, **counts})
