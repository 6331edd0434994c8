"""
The circuit breaker as a pure state machine: what is known of a system's trouble, and what follows from it.

    closed ──(too many failures)──▶ open ──(time is over: one probe)──▶ half open
      ▲                              ▲                                     │
      └──────(enough probes succeed)─┼─────────────────────────────────────┤
                                     └───────────(a probe fails)───────────┘

Times are seconds of one clock, whichever: workers share the database's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

#: What a connection's extra may say, since people write it: more than nothing, and no more than a day.
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Phase(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to stop calling, and when to ask again."""

    #: So many failures one after the other open it, whatever was before.
    failures_in_a_row: Count = 8
    #: So does this share of the calls of a window, once there are enough of them.
    failure_share: Share = 0.5
    least_calls: Count = 20
    window_s: Seconds = 30.0
    #: How long it stays open; twice as long after each probe that fails, up to the longest.
    open_s: Seconds = 5.0
    longest_open_s: Seconds = 60.0
    #: Successes in the half-open phase that close it.
    successes_to_close: Count = 2
    #: A probe that has not told its end by now has died with its worker; another is let through.
    probe_s: Seconds = 30.0


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    phase: Phase = Phase.CLOSED
    #: When this phase began.
    since: float = 0.0
    #: Of the window that is running; only counted while closed.
    window_began: float = 0.0
    calls: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    #: How often it opened since it was last closed.
    openings: int = 0
    #: Successes since it is half open.
    probes_succeeded: int = 0
    #: When the probe that is under way was let through; None for none.
    probe_began: float | None = None

    def opens_for_s(self, rules: BreakerRules) -> float:
        """How long the open phase lasts."""
        return min(rules.open_s * 2.0 ** min(max(self.openings - 1, 0), 32), rules.longest_open_s)


def before_call(state: BreakerState, rules: BreakerRules, now: float) -> tuple[BreakerState, float]:
    """The state after somebody asks to call, and how long that caller has to wait: 0 is a yes."""
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
    """The state after so many successes and then so many failures."""
    if state.phase is Phase.OPEN:
        return state  # of calls that were under way when it opened: they tell nothing new
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
    return _opened(state, now) if _is_too_much(state, rules) else state


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


def _is_too_much(state: BreakerState, rules: BreakerRules) -> bool:
    if state.failures_in_a_row >= rules.failures_in_a_row:
        return True
    return state.calls >= rules.least_calls and state.failures >= rules.failure_share * state.calls > 0


def _opened(state: BreakerState, now: float) -> BreakerState:
    return BreakerState(phase=Phase.OPEN, since=now, openings=state.openings + 1)
