"""When a call is tried again, how long it waits before, and how many retries all calls of a process have together."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import pytest

from crossdock.core.errors import CircuitOpen, HubError, RateLimited, SystemRefused, SystemUnavailable
from crossdock.http.model import KeyRules, Limits
from crossdock.http.retries import RetryBudget, WriteState, with_retries

LIMITS = Limits(timeout_s=1, connect_timeout_s=1, attempts=4, longest_wait_s=30)


@dataclass
class System:
    """A system that raises *errors*, one for each call, and then answers."""

    errors: list[HubError]
    #: What each call was told of itself: whether it is a retry.
    calls: list[bool] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    #: The bounds between which each wait was drawn.
    drawn: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, is_retry: bool) -> str:
        self.calls.append(is_retry)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System([])

    def uniform(low: float, high: float) -> float:
        made.drawn.append((low, high))
        return high

    monkeypatch.setattr(time, "sleep", made.slept.append)
    monkeypatch.setattr(random, "uniform", uniform)
    return made


def down(retry_in_s: float | None = None) -> SystemUnavailable:
    return SystemUnavailable("acme", "HTTP 503", retry_in_s=retry_in_s)


def test_a_passing_failure_is_retried_and_each_retry_knows_that_it_is_one(system: System) -> None:
    system.errors = [down(), down(), down()]

    assert with_retries(system, LIMITS, RetryBudget()) == "answer"
    assert system.calls == [False, True, True, True]


def test_the_last_attempt_raises_its_own_error(system: System) -> None:
    system.errors = [down() for _ in range(9)]
    last = system.errors[3]

    with pytest.raises(SystemUnavailable) as raised:
        with_retries(system, LIMITS, RetryBudget())

    assert raised.value is last
    assert len(system.calls) == 4


@pytest.mark.parametrize(
    "error",
    [
        SystemRefused("acme", 400, "no"),
        CircuitOpen("acme", "", retry_in_s=1),
        RateLimited("acme", "", retry_in_s=1),
        down(30.1),
    ],
)
def test_what_another_attempt_cannot_change_is_not_retried(system: System, error: HubError) -> None:
    """Nor what would have a worker wait longer than it may: the scheduler waits for nothing."""
    system.errors = [error]

    with pytest.raises(type(error)):
        with_retries(system, LIMITS, RetryBudget())

    assert system.calls == [False]


def test_each_wait_is_drawn_from_a_doubling_span_up_to_the_longest(system: System) -> None:
    """From nought on: workers that failed together must not come back together."""
    many = Limits(timeout_s=1, connect_timeout_s=1, attempts=9, longest_wait_s=30)
    system.errors = [down() for _ in range(8)]
    with_retries(system, many, RetryBudget())

    assert system.drawn == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 30), (0, 30), (0, 30)]
    assert system.slept == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_server_that_says_how_long_to_wait_is_obeyed(system: System) -> None:
    system.errors = [down(30), down(0)]
    with_retries(system, LIMITS, RetryBudget())

    assert system.slept == [30.25, 0.25]
    assert system.drawn == [(0, 0.25), (0, 0.25)]


def test_ten_retries_and_one_for_each_ten_calls_are_all_that_a_process_has(system: System) -> None:
    """A struggling system receives a tenth more calls, not four times as many."""
    budget = RetryBudget()
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]

    for _ in range(9):
        assert with_retries(system, LIMITS, budget) == "answer"
    assert not budget.spend()
    for _ in range(2):
        with_retries(system, LIMITS, budget)
    assert [budget.spend(), budget.spend()] == [True, False]
    for _ in range(1_000):
        budget.earn()
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]


def test_without_a_budget_the_error_is_raised_at_once(system: System) -> None:
    system.errors = [down()]

    with pytest.raises(SystemUnavailable):
        with_retries(system, LIMITS, RetryBudget(share=0, reserve=0))

    assert system.slept == []


def test_an_attempt_that_does_not_follow_costs_no_retry(system: System) -> None:
    budget = RetryBudget(share=0, reserve=4)
    for may_repeat in (True, False):
        system.errors = [down() for _ in range(4)]
        with pytest.raises(SystemUnavailable):
            with_retries(system, LIMITS, budget, lambda answer=may_repeat: answer)

    assert [budget.spend(), budget.spend()] == [True, False]


def test_a_write_in_doubt_is_repeated_only_where_the_server_knows_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, or after the server forgot it, the second attempt would be a second order."""
    rules = KeyRules(window_s=100 + LIMITS.longest_attempt_s)
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with_key, without = WriteState(rules, began=1_000.0), WriteState(None, began=1_000.0)
    assert with_key.may_repeat(LIMITS)
    assert without.may_repeat(LIMITS)

    for state in (with_key, without):
        state.note(in_doubt=True)
        state.note(in_doubt=False)

    assert not without.may_repeat(LIMITS)
    assert with_key.may_repeat(LIMITS)
    clock[0] = 1_100.0
    assert with_key.may_repeat(LIMITS)
    clock[0] = 1_100.5
    assert not with_key.may_repeat(LIMITS)
