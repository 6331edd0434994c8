"""The breaker's states: what it promises whatever comes, and its way there and back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdock.http.breaker import BreakerRules, BreakerState, Outage, Phase, after_calls, before_call

RULES = BreakerRules(
    failures_in_a_row=4,
    failure_share=0.5,
    least_calls=10,
    window_s=30,
    open_s=5,
    longest_open_s=40,
    successes_to_close=2,
    probe_s=20,
)
#: Seconds that pass, and then a caller who succeeds or fails if he is let through.
STEPS = st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=80)


def failed(state: BreakerState, now: float, failures: int = 1) -> BreakerState:
    return after_calls(state, RULES, now, successes=0, failures=failures)


def succeeded(state: BreakerState, now: float, successes: int = 1) -> BreakerState:
    return after_calls(state, RULES, now, successes=successes, failures=0)


def opened(now: float = 0.0) -> BreakerState:
    return failed(BreakerState(), now, RULES.failures_in_a_row)


def test_failures_in_a_row_open_it_however_well_it_went_before() -> None:
    """An outage after a busy morning: a share of all calls would take minutes to notice."""
    state = succeeded(BreakerState(), 0, 10_000)

    assert failed(state, 1, 3).phase is Phase.CLOSED
    assert failed(state, 1, 4).phase is Phase.OPEN


def test_eight_failures_in_a_row_open_it_if_nobody_says_otherwise() -> None:
    """As the documentation has it."""
    rules = BreakerRules()

    assert after_calls(BreakerState(), rules, 0, successes=0, failures=7).phase is Phase.CLOSED
    assert after_calls(BreakerState(), rules, 0, successes=0, failures=8).phase is Phase.OPEN


def test_no_share_of_failures_opens_it_where_none_failed() -> None:
    """A share of 0 means any failure, and not every call."""
    rules = BreakerRules(failures_in_a_row=4, failure_share=0, least_calls=1)
    well = after_calls(BreakerState(), rules, 0, successes=5, failures=0)

    assert well.phase is Phase.CLOSED


def test_every_second_call_that_fails_opens_it_too() -> None:
    """Many failures that are never in a row are an outage too."""
    state, calls = BreakerState(), 0
    while state.phase is Phase.CLOSED and calls < 100:
        state = failed(succeeded(state, calls), calls)
        calls += 2

    assert (state.phase, calls) == (Phase.OPEN, RULES.least_calls)


def test_a_failure_now_and_then_does_not_open_it() -> None:
    state = BreakerState()
    for now in range(200):
        state = failed(succeeded(state, now, 9), now)

    assert state.phase is Phase.CLOSED


def test_failures_of_long_ago_do_not_count() -> None:
    """Five before lunch and five after are no outage."""
    state = failed(succeeded(failed(BreakerState(), 0, 3), 1), 1, 2)

    assert succeeded(failed(state, 60), 60, 9).failures == 1


def test_while_it_is_open_no_call_is_admitted_and_each_caller_learns_the_wait() -> None:
    state = opened()

    assert before_call(state, RULES, 1.0) == (state, 4.0)


def test_one_probe_at_a_time_goes_through_when_the_time_is_over() -> None:
    """All workers at once would be the very load under which the system fell."""
    state, wait_s = before_call(opened(), RULES, 5.0)

    assert (state.phase, wait_s) == (Phase.HALF_OPEN, 0)
    assert before_call(state, RULES, 5.1)[1] > 0


def test_probes_that_succeed_close_it() -> None:
    state, _ = before_call(opened(), RULES, 5.0)
    state, wait_s = before_call(succeeded(state, 5.2), RULES, 5.3)

    assert (state.phase, wait_s) == (Phase.HALF_OPEN, 0)
    assert succeeded(state, 5.4) == BreakerState(since=5.4, window_began=5.4)


def test_each_probe_that_fails_doubles_the_time_up_to_the_longest() -> None:
    """A system that is down for the night is not probed every five seconds."""
    state, now, times = opened(), 0.0, []
    for _ in range(6):
        times.append(state.opens_for_s(RULES))
        now += times[-1]
        state = failed(before_call(state, RULES, now)[0], now)

    assert times == [5, 10, 20, 40, 40, 40]


def test_a_probe_without_a_result_does_not_keep_it_half_open_for_ever() -> None:
    """Its worker was killed."""
    state, _ = before_call(opened(), RULES, 5.0)

    assert before_call(state, RULES, 24.9)[1] > 0
    assert before_call(state, RULES, 25.0)[1] == 0


def test_calls_under_way_when_the_breaker_opened_change_nothing() -> None:
    """Eight pages in flight fail together; that is one outage, not two doublings."""
    state = opened()

    assert failed(state, 0.1, 7) == state
    assert succeeded(state, 0.1, 7) == state


def test_it_knows_since_when_and_why_it_is_open() -> None:
    """The first two questions of the person on call; the success before is no part of the outage."""
    state = succeeded(failed(BreakerState(), 10), 20)
    for now in range(21, 25):
        state = after_calls(state, RULES, now, successes=0, failures=1, reason=f"HTTP 503 at {now}")

    assert state.outage == Outage(since=21, calls=4, reason="HTTP 503 at 24")
    state, _ = before_call(state, RULES, 40)
    assert state.outage is not None, "half open, it has not recovered yet"
    state = after_calls(state, RULES, 41, successes=0, failures=1, reason="no answer")
    assert state.outage == Outage(since=21, calls=5, reason="no answer")
    state, _ = before_call(state, RULES, 60)
    assert succeeded(state, 61, 2).outage is None


def test_failures_that_are_not_in_a_row_are_counted_by_their_window() -> None:
    state = BreakerState()
    for now in range(101, 120, 2):
        state = failed(succeeded(state, now), now)
        if state.phase is Phase.OPEN:
            break

    assert state.outage == Outage(since=101, calls=5, reason="")


@given(STEPS)
def test_while_open_no_call_is_let_through_before_its_time(steps: list[tuple[float, bool]]) -> None:
    state, now = BreakerState(), 0.0
    for passed, fails in steps:
        now += passed
        before, (state, wait_s) = state, before_call(state, RULES, now)
        if before.phase is Phase.OPEN:
            assert (wait_s > 0) == (now < before.since + before.opens_for_s(RULES))
        if wait_s == 0:
            state = failed(state, now) if fails else succeeded(state, now)


@given(STEPS, st.integers(1, 50))
@settings(max_examples=max(200, settings.default.max_examples))
def test_a_system_that_is_well_again_is_called_again(steps: list[tuple[float, bool]], impatience_s: int) -> None:
    """After any history: once all calls succeed, it closes automatically within its longest configured times."""
    state, now = BreakerState(), 0.0
    for passed, fails in steps:
        now += passed
        state, wait_s = before_call(state, RULES, now)
        if wait_s == 0:
            state = failed(state, now) if fails else succeeded(state, now)

    ends = now + RULES.longest_open_s + RULES.probe_s + (RULES.successes_to_close + 1) * impatience_s
    while now <= ends:
        state, wait_s = before_call(state, RULES, now)
        if wait_s == 0:
            state = succeeded(state, now)
        now += impatience_s

    assert state.phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("field", "allowed", "refused"),
    [
        ("failures_in_a_row", [1, 1_000_000_000], [0, 1_000_000_001]),
        ("least_calls", [1], [0]),
        ("successes_to_close", [1], [0]),
        ("failure_share", [0, 1], [-0.1, 1.5]),
        ("window_s", [0.001, 86_400], [0, 86_401]),
        ("open_s", [0.001, 86_400], [0, -1]),
        ("probe_s", [1], [0]),
    ],
)
def test_a_rule_is_a_number_that_makes_sense(field: str, allowed: list[float], refused: list[float]) -> None:
    """One failure may open it and one probe may close it; none would block a system that works, or one that does not."""
    for value in allowed:
        assert getattr(msgspec.convert({field: value}, BreakerRules), field) == value
    for value in refused:
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({field: value}, BreakerRules)
