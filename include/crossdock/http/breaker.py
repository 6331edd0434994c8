"""
The circuit breaker as a pure state machine: stop calling a system that keeps failing, and probe it now and then.

    closed ──(too many failures)──▶ open ──(time is up: one probe)────▶ half open
      ▲                              ▲                                     │
      └──────(enough probes succeed)─┼─────────────────────────────────────┤
                                     └───────────(a probe fails)───────────┘

All times are seconds of one clock; the workers use the database's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

#: Bounds for values that people write into a connection's extra: above 0, and at most one day.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Phase(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for blocking calls to a failing system, and for probing it."""

    #: This many consecutive failures open the breaker.
    failures_in_a_row: Count = 8
    #: It also opens when this fraction of a window's calls failed, once there are `least_calls` of them.
    failure_share: Fraction = 0.5
    least_calls: Count = 20
    window_s: Seconds = 30.0
    #: How long it stays open. The time doubles after each failed probe, up to `longest_open_s`.
    open_s: Seconds = 5.0
    longest_open_s: Seconds = 60.0
    #: Successful probes in the half-open phase that close it.
    successes_to_close: Count = 2
    #: A probe without a result after this time died with its worker; another one is let through.
    probe_s: Seconds = 30.0


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """Why a breaker is not closed. Nothing of it is a countdown: it stays true where it is stored."""

    #: When the first of its calls failed.
    since: float
    #: How many calls failed, those that found it still going on included.
    calls: int
    #: What the last of them met: the status, the host, and what it answered; or why there was no answer.
    reason: str

    @property
    def began_at(self) -> datetime:
        return datetime.fromtimestamp(self.since, UTC)

    def __str__(self) -> str:
        failed = "1 call has" if self.calls == 1 else f"{self.calls:,} calls have"
        return f"{failed} failed since {self.began_at:%Y-%m-%dT%H:%M:%SZ}; the last: {self.reason.rstrip('.') or 'unknown'}"


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    phase: Phase = Phase.CLOSED
    #: When the current phase began.
    since: float = 0.0
    #: Start and counts of the current window; counted only while closed.
    window_began: float = 0.0
    calls: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    #: When the first failure in a row was, and what the last failure met.
    row_began: float = 0.0
    reason: str = ""
    #: What opened it; None while closed.
    outage: Outage | None = None
    #: How often it opened since it was last closed; doubles the open time.
    openings: int = 0
    #: Successful probes since it became half open.
    probes_succeeded: int = 0
    #: When the current probe was let through; None if there is none.
    probe_began: float | None = None

    def opens_for_s(self, rules: BreakerRules) -> float:
        """Compute how long the open phase lasts (exponential, capped)."""
        return min(rules.open_s * 2.0 ** min(max(self.openings - 1, 0), 32), rules.longest_open_s)


def before_call(state: BreakerState, rules: BreakerRules, now: float) -> tuple[BreakerState, float]:
    """Admit or refuse a call: compute the next state and the caller's wait in seconds; 0 admits the call."""
    if state.phase is Phase.CLOSED:
        return state, 0.0
    if state.phase is Phase.OPEN:
        left_s = state.since + state.opens_for_s(rules) - now
        if left_s > 0:
            return state, left_s
        state = msgspec.structs.replace(state, phase=Phase.HALF_OPEN, since=now, probes_succeeded=0, probe_began=None)
    if state.probe_began is not None and now < state.probe_began + rules.probe_s:
        return state, min(rules.open_s, state.probe_began + rules.probe_s - now)
    return msgspec.structs.replace(state, probe_began=now), 0.0


def after_calls(
    state: BreakerState, rules: BreakerRules, now: float, *, successes: int, failures: int, reason: str = ""
) -> BreakerState:
    """Compute the state after *successes* and then *failures*; the last of these met *reason*."""
    if state.phase is Phase.OPEN:
        return state  # these calls were in flight when it opened: they add nothing new
    if state.phase is Phase.HALF_OPEN:
        return _after_probe(state, rules, now, successes=successes, failures=failures, reason=reason)
    if now >= state.window_began + rules.window_s:
        state = msgspec.structs.replace(state, window_began=now, calls=0, failures=0)
    before = 0 if successes else state.failures_in_a_row
    state = msgspec.structs.replace(
        state,
        calls=state.calls + successes + failures,
        failures=state.failures + failures,
        failures_in_a_row=before + failures,
        row_began=state.row_began if before else now,
        reason=reason if failures else state.reason,
    )
    if state.failures_in_a_row >= rules.failures_in_a_row:
        return _opened(state, now, Outage(since=state.row_began, calls=state.failures_in_a_row, reason=state.reason))
    if state.calls >= rules.least_calls and state.failures >= rules.failure_share * state.calls > 0:
        return _opened(state, now, Outage(since=state.window_began, calls=state.failures, reason=state.reason))
    return state


def _after_probe(
    state: BreakerState, rules: BreakerRules, now: float, *, successes: int, failures: int, reason: str
) -> BreakerState:
    if failures:
        # An outage that another version of the hub stored has no cause.
        known = state.outage or Outage(since=state.since, calls=0, reason="")
        return _opened(state, now, Outage(since=known.since, calls=known.calls + failures, reason=reason))
    succeeded = state.probes_succeeded + successes
    if succeeded >= rules.successes_to_close:
        return BreakerState(since=now, window_began=now)
    return msgspec.structs.replace(
        state, probes_succeeded=succeeded, probe_began=None if successes else state.probe_began
    )


def _opened(state: BreakerState, now: float, outage: Outage) -> BreakerState:
    return BreakerState(phase=Phase.OPEN, since=now, openings=state.openings + 1, outage=outage)
