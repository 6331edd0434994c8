"""One attempt at a call: let through, counted, and its end told to what the workers share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from crossdock.core.errors import (
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
    """What becomes known of an attempt on its way."""

    began: float = field(default_factory=time.perf_counter)
    #: For the rate limit.
    waited_s: float = 0.0
    #: None while nothing has come.
    answer_bytes: int | None = None


class Attempts:
    """The attempts of one client, under *guards*."""

    def __init__(self, guards: Safeguards) -> None:
        self._guards = guards

    @contextmanager
    def one(self, *, is_retry: bool) -> Iterator[Attempt]:
        """
        An attempt that ends with the block, in the way that the block does.

        Raises:
            CircuitOpen: it is not worth making.

        """
        self._admit()
        attempt = Attempt()
        try:
            yield attempt
        except HubError as error:
            self._tell(outcome_of(error), attempt, is_retry=is_retry)
            self._pause(error, attempt)
            raise
        self._tell(Outcome.SUCCESS, attempt, is_retry=is_retry)

    def await_turn(self, attempt: Attempt, longest_wait_s: float) -> None:
        """
        Raises:
            RateLimited: the turn is further away than *longest_wait_s*.

        """
        if self._guards.limiter is not None:
            attempt.waited_s += self._guards.limiter.acquire(longest_wait_s)

    def _admit(self) -> None:
        if self._guards.breaker is None:
            return
        try:
            self._guards.breaker.before_call()
        except CircuitOpen:
            if self._guards.log is not None:
                self._guards.log.record(Call(outcome=Outcome.AVOIDED))
            raise

    def _pause(self, error: HubError, attempt: Attempt) -> None:
        """A wait that the other side named holds for all workers, not only for the one that was told."""
        named_s = error.retry_in_s if isinstance(error, SystemUnavailable) else None
        if named_s and attempt.answer_bytes is not None and self._guards.limiter is not None:
            self._guards.limiter.pause(named_s)

    def _tell(self, outcome: Outcome | None, attempt: Attempt, *, is_retry: bool) -> None:
        if outcome is None:
            return
        if self._guards.log is not None:
            self._guards.log.record(
                Call(
                    outcome=outcome,
                    duration_s=time.perf_counter() - attempt.began - attempt.waited_s,
                    answer_bytes=attempt.answer_bytes or 0,
                    waited_s=attempt.waited_s,
                    is_retry=is_retry,
                )
            )
        if self._guards.breaker is not None:
            self._guards.breaker.record(failed=outcome is Outcome.FAILURE)


def outcome_of(error: HubError) -> Outcome | None:
    """How the call ended; None where the system had no part in it."""
    if isinstance(error, RateLimited | CircuitOpen):
        return None
    if isinstance(error, Throttled):
        return Outcome.THROTTLED
    if isinstance(error, SystemRefused):
        return Outcome.REFUSAL
    return Outcome.FAILURE if isinstance(error, SystemUnavailable | SourceInvalid) else None
