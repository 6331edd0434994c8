"""When a call is tried again: for passing reasons, after growing random waits, within a budget."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from crossdock.core.errors import CircuitOpen, RateLimited, Transient
from crossdock.http.model import Limits

log = logging.getLogger(__name__)

T = TypeVar("T")


class RetryBudget:
    """
    How many retries one process may make of its calls to one integration. Safe for threads.

    Each call earns a share of a retry and each retry costs a whole one, so that a system on its knees is asked a
    tenth more often, not four times as often.

    Args:
        share: Retries that a call earns.
        reserve: What there is at first, and at most: small syncs have few calls to earn by.

    """

    def __init__(self, *, share: float = 0.1, reserve: int = 10) -> None:
        self._share, self._most = share, float(reserve)
        self._left = float(reserve)
        self._lock = threading.Lock()

    def earn(self) -> None:
        with self._lock:
            self._left = min(self._left + self._share, self._most)

    def spend(self) -> bool:
        """Whether there is one left, which is then taken."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


def with_retries(call: Callable[[bool], T], limits: Limits, budget: RetryBudget) -> T:
    """
    What *call* returns; it is told whether this is a retry.

    Raises:
        HubError: as *call*, from the last attempt.

    """
    budget.earn()
    attempts = 0

    def once() -> T:
        nonlocal attempts
        attempts += 1
        return call(attempts > 1)

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(limits.attempts),
        retry=tenacity.retry_if_exception(
            # The budget is asked last, and only where there is another attempt to pay for.
            lambda error: _may_pass(error, limits) and attempts < limits.attempts and _paid(budget, error)
        ),
        wait=lambda state: _wait_s(state, limits),
        before_sleep=_log_retry,
        reraise=True,
    )
    return retrying(once)


def _may_pass(error: BaseException, limits: Limits) -> bool:
    if isinstance(error, CircuitOpen | RateLimited):
        return False  # waited for as long as a worker should, or not worth it: the scheduler can wait for free
    return isinstance(error, Transient) and (error.retry_in_s or 0) <= limits.longest_wait_s


def _paid(budget: RetryBudget, error: BaseException) -> bool:
    if budget.spend():
        return True
    log.warning("Not tried again, the budget of retries is used up: %s", error)
    return False


def _wait_s(state: tenacity.RetryCallState, limits: Limits) -> float:
    """What the server asked for, or a random share of a doubling span (full jitter)."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_in_s if isinstance(error, Transient) else None
    if asked_s is not None:
        return asked_s + random.uniform(0, 0.25)  # noqa: S311  spreads callers; no secret
    return random.uniform(0, min(limits.longest_wait_s, 0.5 * 2**state.attempt_number))  # noqa: S311


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "Trying again in %.1f s (attempt %s): %s",
        state.next_action.sleep if state.next_action else 0,
        state.attempt_number + 1,
        error,
        extra={"attempt": state.attempt_number + 1},
    )
