"""The circuit breaker of each integration: one state for all workers, and the history of its changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.core.errors import CircuitOpen
from crossdock.core.log import logger
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http import breaker
from crossdock.http.breaker import BreakerRules, BreakerState, Outage, Phase

prepare(BreakerState)

log = logger(__name__)

_FIRST = b"""
INSERT INTO breaker (integration, state) VALUES (%(integration)s, %(state)s) ON CONFLICT DO NOTHING
"""

#: FOR UPDATE, so that concurrent reports of two workers add up.
_READ = b"""
SELECT state, extract(epoch FROM clock_timestamp())::float8 FROM breaker WHERE integration = %(integration)s FOR UPDATE
"""

_WRITE = b"""
UPDATE breaker SET state = %(state)s, changed_at = clock_timestamp() WHERE integration = %(integration)s
"""

_ADD_CHANGE = b"""
INSERT INTO breaker_change (integration, from_phase, to_phase, calls, failures)
VALUES (%(integration)s, %(from_phase)s, %(to_phase)s, %(calls)s, %(failures)s)
"""

_STATES = b"SELECT integration, state FROM breaker WHERE integration = ANY(%(names)s)"

_HISTORY = b"""
SELECT at, from_phase, to_phase, calls, failures FROM breaker_change
 WHERE integration = %(integration)s ORDER BY id DESC LIMIT %(limit)s
"""

_FORGET = b"DELETE FROM breaker WHERE integration = %(integration)s"

_EXPIRE = b"DELETE FROM breaker_change WHERE at < clock_timestamp() - %(keep)s"

_NOT_CLOSED = b"SELECT integration, state FROM breaker WHERE state->>'phase' <> 'closed' ORDER BY integration"

#: The longest text of a reason: a system may answer at length.
_REASON_CHARACTERS = 500

#: How long a worker trusts its last known state; it learns of an outage that others met within this time.
_FRESH_S = 1.0

#: A state and the database's current time → the next state.
_Step = Callable[[BreakerState, float], BreakerState]


class Change(msgspec.Struct, frozen=True):
    """A change of the breaker from one phase to another."""

    at: datetime
    from_phase: Phase
    to_phase: Phase
    #: Counts of the window that ended with the change.
    calls: int
    failures: int


class SharedBreaker:
    """
    A `CircuitBreaker` over PostgreSQL, for the threads of one process.

    While the system works it costs one short transaction per second. A failure is reported at once. While the breaker
    is open, calls are refused without a query until the next probe is due.
    """

    def __init__(self, store: Store, integration: str, rules: BreakerRules) -> None:
        self._store, self._integration, self._rules = store, integration, rules
        self._lock = threading.Lock()
        self._state = BreakerState()
        self._known_at = 0.0
        self._retry_at = 0.0
        #: Successes not reported yet.
        self._successes = 0

    def before_call(self) -> None:
        """Admit the call, or raise CircuitOpen."""
        with self._lock:
            now = time.monotonic()
            if now < self._retry_at:
                raise self._open(self._retry_at - now)
            if self._state.phase is Phase.CLOSED and now - self._known_at < _FRESH_S:
                return
            if wait_s := self._request_admission(now):
                raise self._open(wait_s)

    def record(self, *, failure: str | None = None) -> None:
        """Count a call's result; report it at once if it is a *failure* or the breaker is not closed."""
        with self._lock:
            self._successes += failure is None
            is_stale = time.monotonic() - self._known_at >= _FRESH_S
            if failure is not None or self._state.phase is not Phase.CLOSED or is_stale:
                self._try_to_report(failure)

    def close(self) -> None:
        """Report the pending successes."""
        with self._lock:
            if self._successes:
                self._try_to_report(None)

    def _request_admission(self, now: float) -> float:
        """Ask the shared state for admission; return the seconds to wait, 0 if admitted."""
        wait_s = 0.0

        def step(state: BreakerState, at: float) -> BreakerState:
            nonlocal wait_s
            if state.phase is Phase.CLOSED:
                state = breaker.after_calls(state, self._rules, at, successes=self._successes, failures=0)
            state, wait_s = breaker.before_call(state, self._rules, at)
            return state

        self._step(step)
        if wait_s:
            # Half open, it may close at any moment: check again soon whether another worker's probe succeeded.
            self._retry_at = now + (wait_s if self._state.phase is Phase.OPEN else min(wait_s, _FRESH_S))
        return wait_s

    def _try_to_report(self, failure: str | None) -> None:
        """Report, but never discard a good response because the database was briefly busy."""
        try:
            self._report(failure)
        except StoreUnavailable as error:
            log.warning("A call was not reported to the circuit breaker of %s: %s", self._integration, error)

    def _report(self, failure: str | None) -> None:
        failures, reason = int(failure is not None), (failure or "")[:_REASON_CHARACTERS]

        def step(state: BreakerState, at: float) -> BreakerState:
            return breaker.after_calls(
                state, self._rules, at, successes=self._successes, failures=failures, reason=reason
            )

        self._step(step)

    def _step(self, step: _Step) -> None:
        with self._store.transaction() as work:
            self._state = _apply(work, self._integration, step)
        self._successes = 0
        self._known_at = time.monotonic()

    def _open(self, wait_s: float) -> CircuitOpen:
        # Without the seconds: the text ends up in the ledger and in alerts, and stays there.
        cause = self._state.outage or "too many calls failed"
        return CircuitOpen(self._integration, f"{cause}. Its circuit breaker is open", retry_in_s=wait_s)


def state_of(work: Work, integration: str) -> BreakerState:
    """Read the breaker of *integration*; closed if it was never called."""
    return _states_of(work, [integration])[integration]


def phase_of(work: Work, integration: str) -> Phase:
    """Read the breaker's phase for *integration*; closed if it was never called."""
    return state_of(work, integration).phase


def outage_of(work: Work, integration: str) -> Outage | None:
    """Read why the breaker of *integration* is not closed; None if it is."""
    return state_of(work, integration).outage


def phases_of(work: Work, integrations: Sequence[str]) -> dict[str, Phase]:
    """Read the breaker's phase for each of *integrations*."""
    return {name: state.phase for name, state in _states_of(work, integrations).items()}


def outages(work: Work) -> dict[str, Outage | None]:
    """Find the integrations whose breaker is not closed, and why; None where an earlier version of the hub opened it."""
    return {name: msgspec.convert(state, BreakerState).outage for name, state in work.execute(_NOT_CLOSED)}


def _states_of(work: Work, integrations: Sequence[str]) -> dict[str, BreakerState]:
    rows: dict[str, Any] = dict(work.execute(_STATES, {"names": list(integrations)}).fetchall())
    return {
        name: msgspec.convert(rows[name], BreakerState) if name in rows else BreakerState() for name in integrations
    }


def history(work: Work, integration: str, *, limit: int = 20) -> list[Change]:
    """List the latest changes, newest first."""
    rows = work.execute(_HISTORY, {"integration": integration, "limit": limit})
    return [Change(at, Phase(before), Phase(after), calls, failures) for at, before, after, calls, failures in rows]


def forget(work: Work, integration: str) -> None:
    """Forget that the calls of *integration* failed: nobody calls it any more. Its history stays."""
    work.execute(_FORGET, {"integration": integration})


def expire(work: Work, keep: timedelta) -> None:
    """Delete the changes older than *keep*."""
    work.execute(_EXPIRE, {"keep": keep})


def _apply(work: Work, integration: str, step: _Step) -> BreakerState:
    row = work.execute(_READ, {"integration": integration}).fetchone()
    if row is None:
        work.execute(_FIRST, {"integration": integration, "state": Jsonb(msgspec.to_builtins(BreakerState()))})
        row = work.execute(_READ, {"integration": integration}).fetchone()
    if row is None:  # cannot happen: nothing deletes from this table
        raise LookupError(integration)
    before = msgspec.convert(row[0], BreakerState)
    after = step(before, row[1])
    if after != before:
        work.execute(_WRITE, {"integration": integration, "state": Jsonb(msgspec.to_builtins(after))})
    if after.phase is not before.phase:
        _record_change(work, integration, before, after)
    return after


def _record_change(work: Work, integration: str, before: BreakerState, after: BreakerState) -> None:
    why = f": {after.outage}" if after.phase is Phase.OPEN else ""
    log.warning("Circuit breaker of %s: %s, was %s%s", integration, after.phase, before.phase, why)
    phases = {"from_phase": before.phase.value, "to_phase": after.phase.value}
    counts = {"calls": before.calls, "failures": before.failures}
    work.execute(_ADD_CHANGE, {"integration": integration, **phases, **counts})
