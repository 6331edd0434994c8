"""Guard each attempt at a call: circuit breaker, rate limit and metrics, all shared by the workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from crossdock.core.errors import (
    Busy,
    CircuitOpen,
    HubError,
    RateLimited,
    SourceInvalid,
    SystemRefused,
    SystemUnavailable,
    Throttled,
)
from crossdock.http.model import Call, Outcome, Safeguards


@dataclass
class Attempt:
    """The state of an attempt while it runs."""

    began: float = field(default_factory=time.perf_counter)
    #: Time spent waiting for the rate limit.
    waited_s: float = 0.0
    #: None until a response has arrived.
    answer_bytes: int | None = None
    #: Whether the request may have had its effect: a part of it was sent, and no answer says that it was refused.
    in_doubt: bool = False


class CallGuard:
    """Guard the attempts of one client with the *safeguards* of its integration."""

    def __init__(self, safeguards: Safeguards) -> None:
        self._safeguards = safeguards

    @contextmanager
    def attempt(self, *, is_retry: bool) -> Iterator[Attempt]:
        """
        Ask the breaker, run the block, and record how it ended. The block is one attempt.

        Raises:
            CircuitOpen: the breaker is open; the block did not run.

        """
        self._admit()
        attempt = Attempt()
        try:
            yield attempt
        except HubError as error:
            self._record(outcome_of(error), attempt, is_retry=is_retry, failure=_failure_of(error))
            self._pause(error, attempt)
            raise
        self._record(Outcome.SUCCESS, attempt, is_retry=is_retry)

    @property
    def queue_s(self) -> float:
        """How long a read waits its turn at the rate limit; 0 without one."""
        return self._safeguards.limiter.queue_s if self._safeguards.limiter else 0.0

    def acquire(self, attempt: Attempt, longest_wait_s: float) -> None:
        """
        Wait for a permit of the rate limit.

        Raises:
            RateLimited: the next permit is further away than *longest_wait_s*.

        """
        if self._safeguards.limiter is not None:
            attempt.waited_s += self._safeguards.limiter.acquire(longest_wait_s)

    def _admit(self) -> None:
        if self._safeguards.breaker is None:
            return
        try:
            self._safeguards.breaker.before_call()
        except CircuitOpen:
            if self._safeguards.log is not None:
                self._safeguards.log.record(Call(outcome=Outcome.AVOIDED))
            raise

    def _pause(self, error: HubError, attempt: Attempt) -> None:
        """
        Pause all workers for the time that the server requested, not only the worker that received the response.

        Not where it is about what one call wanted.
        """
        is_about_one = isinstance(error, Busy)
        retry_after_s = error.retry_in_s if isinstance(error, SystemUnavailable) and not is_about_one else None
        if retry_after_s and attempt.answer_bytes is not None and self._safeguards.limiter is not None:
            self._safeguards.limiter.pause(retry_after_s)

    def _record(self, outcome: Outcome | None, attempt: Attempt, *, is_retry: bool, failure: str | None = None) -> None:
        if outcome is None:
            return
        if self._safeguards.log is not None:
            self._safeguards.log.record(
                Call(
                    outcome=outcome,
                    duration_s=time.perf_counter() - attempt.began - attempt.waited_s,
                    answer_bytes=attempt.answer_bytes or 0,
                    waited_s=attempt.waited_s,
                    is_retry=is_retry,
                )
            )
        if self._safeguards.breaker is not None:
            self._safeguards.breaker.record(failure=failure)


def _failure_of(error: HubError) -> str | None:
    """
    Find what counts as a failure for the breaker.

    A system that throttles or answers is up, however invalid its content: an open breaker would tell a fault as an outage.
    """
    return error.what if isinstance(error, SystemUnavailable) and outcome_of(error) is Outcome.FAILURE else None


def outcome_of(error: HubError) -> Outcome | None:
    """Classify how the call ended; None if the system had no part in it."""
    if isinstance(error, RateLimited | CircuitOpen):
        return None
    if isinstance(error, Throttled):
        return Outcome.THROTTLED
    if isinstance(error, SystemRefused | Busy):
        return Outcome.REFUSAL
    return Outcome.FAILURE if isinstance(error, SystemUnavailable | SourceInvalid) else None
