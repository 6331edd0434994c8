"""
The circuit breaker as a pure state machine: stop calling a system that keeps failing, and probe it now and then.

    closed ──(too many failures)──▶ open ──(time is up: one probe)────▶ half open
      ▲                              ▲                                     │
      └──────(enough probes succeed)─┼─────────────────────────────────────┤
                                     └───────────(a probe fails)───────────┘

All times are seconds of one clock; the workers use the database's.
"""

from __future__ import annotations

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


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    phase: Phase = Phase.CLOSED
    #: When the current phase began.
    since: float = 0.0
    #: Start and counts of the current window; counted only while closed.
    window_began: float = 0.0
    calls: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
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


def after_calls(state: BreakerState, rules: BreakerRules, now: float, *, successes: int, failures: int) -> BreakerState:
    """Compute the state after *successes* and then *failures*."""
    if state.phase is Phase.OPEN:
        return state  # these calls were in flight when it opened: they add nothing new
    if state.phase is Phase.HALF_OPEN:
        return _after_probe(state, rules, now, successes=successes, failures=failures)
    if now >= state.window_began + rules.window_s:
        state = msgspec.structs.replace(state, window_began=now, calls=0, failures=0)
    state = msgspec.structs.replace(
        state,
        calls=state.calls + successes + failures,
        failures=state.failures + failures,
        failures_in_a_row=failures + (0 if successes else state.failures_in_a_row),
    )
    return _opened(state, now) if _must_open(state, rules) else state


def _after_probe(
    state: BreakerState, rules: BreakerRules, now: float, *, successes: int, failures: int
) -> BreakerState:
    if failures:
        return _opened(state, now)
    succeeded = state.probes_succeeded + successes
    if succeeded >= rules.successes_to_close:
        return BreakerState(since=now, window_began=now)
    return msgspec.structs.replace(
        state, probes_succeeded=succeeded, probe_began=None if successes else state.probe_began
    )


def _must_open(state: BreakerState, rules: BreakerRules) -> bool:
    if state.failures_in_a_row >= rules.failures_in_a_row:
        return True
    return state.calls >= rules.least_calls and state.failures >= rules.failure_share * state.calls > 0


def _opened(state: BreakerState, now: float) -> BreakerState:
    return BreakerState(phase=Phase.OPEN, since=now, openings=state.openings + 1)
