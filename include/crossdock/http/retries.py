"""Retries: after transient failures only, with exponential backoff and full jitter, within a budget."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import tenacity

from crossdock.core.errors import CircuitOpen, RateLimited, Transient
from crossdock.core.log import logger
from crossdock.http.model import KeyRules, Limits

log = logger(__name__)

T = TypeVar("T")


class RetryBudget:
    """
    Limit the retries of one process's calls to one integration. Safe for threads.

    Each call earns a fraction of a retry and each retry costs a whole one, so that a struggling system receives a tenth
    more calls, not four times as many.

    Args:
        share: Retries that each call earns.
        reserve: The initial and maximum balance, because small syncs make few calls to earn from.

    """

    def __init__(self, *, share: float = 0.1, reserve: int = 10) -> None:
        self._share, self._max = share, float(reserve)
        self._left = float(reserve)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Credit one call."""
        with self._lock:
            self._left = min(self._left + self._share, self._max)

    def spend(self) -> bool:
        """Take one retry from the budget; false if none is left."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


@dataclass
class WriteState:
    """The state of a request that writes, over its attempts."""

    #: None for a request without an idempotency key.
    rules: KeyRules | None
    #: Whether any attempt may have had its effect. The refusal of a later attempt does not settle that: a gateway, a
    #: limit or an expired token may refuse it before the system has looked at its key.
    in_doubt: bool = False
    began: float = field(default_factory=time.monotonic)

    def note(self, *, in_doubt: bool) -> None:
        """Note the end of an attempt."""
        self.in_doubt |= in_doubt

    def may_repeat(self, limits: Limits) -> bool:
        """Check whether the next attempt would have no second effect: none was in doubt, or the server knows the key."""
        return not self.in_doubt or self.is_known(limits)

    def is_known(self, limits: Limits) -> bool:
        """Check whether the server would still know the key at the end of one more attempt."""
        ends_in_s = time.monotonic() - self.began + limits.longest_attempt_s
        return self.rules is not None and ends_in_s <= self.rules.window_s


def with_retries(
    call: Callable[[bool], T], limits: Limits, budget: RetryBudget, may_repeat: Callable[[], bool] = lambda: True
) -> T:
    """
    Run *call* until it succeeds or must not be retried. Its argument says whether this is a retry.

    *may_repeat* is asked before each retry.

    Raises:
        HubError: the error of the last attempt.

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
            # The budget comes last: it is spent only if another attempt follows.
            lambda error: (
                _is_retryable(error, limits)
                and attempts < limits.attempts
                and may_repeat()
                and _spend_retry(budget, error)
            )
        ),
        wait=lambda state: _backoff_s(state, limits),
        before_sleep=_log_retry,
        reraise=True,
    )
    return retrying(once)


def _is_retryable(error: BaseException, limits: Limits) -> bool:
    if isinstance(error, CircuitOpen | RateLimited):
        return False  # the worker waited long enough, or must not call: the scheduler can wait for free
    return isinstance(error, Transient) and (error.retry_in_s or 0) <= limits.longest_wait_s


def _spend_retry(budget: RetryBudget, error: BaseException) -> bool:
    if budget.spend():
        return True
    log.warning("Not retried: the retry budget is used up: %s", error)
    return False


def _backoff_s(state: tenacity.RetryCallState, limits: Limits) -> float:
    """Wait as long as the server requested, or else a random part of a doubling span (backoff with full jitter)."""
    error = state.outcome.exception() if state.outcome else None
    retry_after_s = error.retry_in_s if isinstance(error, Transient) else None
    if retry_after_s is not None:
        return retry_after_s + random.uniform(0, 0.25)  # noqa: S311  jitter, not a secret
    return random.uniform(0, min(limits.longest_wait_s, 0.5 * 2**state.attempt_number))  # noqa: S311


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "Retrying in %.1f s (attempt %s): %s",
        state.next_action.sleep if state.next_action else 0,
        state.attempt_number + 1,
        error,
        extra={"attempt": state.attempt_number + 1},
    )
