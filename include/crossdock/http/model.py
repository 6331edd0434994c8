"""
The words of calling another system: how long, how often, how many at once, and what stands in for it.

`connectors` makes the calls and `store` shares the counting between workers; each names here what it needs of
the other. All times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from crossdock.http.breaker import BreakerRules, Count, Seconds, Share


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how much one call may take."""

    #: Connect, send, wait and read together, for one attempt. Waiting for the rate limit is not in it.
    timeout_s: Seconds = 20.0
    connect_timeout_s: Seconds = 5.0
    #: Decoded bytes of one answer.
    answer_bytes: Count = 32 * 1024 * 1024
    #: How many times larger than what was sent an answer may become; JSON packs to a tenth or a thirtieth,
    #: a gzip bomb to a thousandth. Asked from 4 MiB on.
    unpacked_ratio: Annotated[float, msgspec.Meta(ge=1)] = 100.0
    #: Attempts in all, the first included.
    attempts: Count = 4
    #: The longest wait between two attempts, and for the rate limit. A longer one is handed to the scheduler
    #: instead of sleeping on a worker's slot.
    longest_wait_s: Seconds = 8.0


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most *calls* in any *per_s* seconds, at the other side's door."""

    calls: Count
    per_s: Seconds = 1.0
    #: How many of them may come at once after a pause. The rest is spread evenly.
    burst: Count = 1

    def __post_init__(self) -> None:
        if not (0 < self.burst <= self.calls and self.per_s > 0):
            raise ValueError(f"a rate of {self.calls} calls in {self.per_s:g} s cannot have a burst of {self.burst}")

    @classmethod
    def of_calls_per_s(cls, calls_per_s: float) -> Rate:
        """So many calls a second, of which there may be less than one."""
        calls = max(1, int(calls_per_s))
        return cls(calls=calls, per_s=calls / calls_per_s)

    @property
    def slack_s(self) -> float:
        """How late a call may reach the door after its turn: half of it here, half on its way."""
        return self.per_s / 10

    @property
    def spacing_s(self) -> float:
        """
        From one turn to the next.

        A window that a call can reach from `slack_s` before it holds at most `calls` turns then, bursts included;
        the price is that no more than ten elevenths of the rate are used.
        """
        return (self.per_s + self.slack_s) / (self.calls - self.burst + 1)


class CallPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the hub may call one integration."""

    limits: Limits = Limits()
    #: None for a system that names no limit.
    rate: Rate | None = None
    breaker: BreakerRules = BreakerRules()
    #: Retries for each call that is made, over time; a system that is down gets that much more, not four times as much.
    retry_share: Share = 0.1
    #: Retries that may be made before the share counts.
    retry_reserve: Annotated[int, msgspec.Meta(ge=0)] = 10
    #: Calls in flight from one process; Airflow's pool says how many processes there are.
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8


class Outcome(StrEnum):
    """How one call ended, from the hub's side."""

    SUCCESS = "success"
    #: No answer in time, a 5xx, or an answer that is not what it claims to be.
    FAILURE = "failure"
    #: A 4xx: the system works and says no.
    REFUSAL = "refusal"
    #: 429: too many calls.
    THROTTLED = "throttled"
    #: Not made: the breaker was open.
    AVOIDED = "avoided"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer, for statistics; nothing of what was asked or said."""

    outcome: Outcome
    duration_s: float = 0.0
    answer_bytes: int = 0
    #: Spent waiting for the rate limit before it.
    waited_s: float = 0.0
    is_retry: bool = False


class RateLimiter(Protocol):
    """Turns to call one integration, shared by all workers."""

    def acquire(self, longest_wait_s: float) -> float:
        """
        Returns when it is this call's turn, with the seconds that it waited. The call has to be made at once.

        Raises:
            RateLimited: the turn is further away than *longest_wait_s*. Nothing was taken.

        """
        ...

    def pause(self, seconds: float) -> None:
        """No turns for anybody for so long: the other side asked for it."""
        ...


class CircuitBreaker(Protocol):
    """Whether calling makes sense at all, shared by all workers."""

    def before_call(self) -> None:
        """
        Raises:
            CircuitOpen: the system has been failing, and it is not yet time to ask it again.

        """
        ...

    def record(self, *, failed: bool) -> None: ...


class CallLog(Protocol):
    def record(self, call: Call) -> None: ...


@dataclass(frozen=True)
class Token:
    """A bearer token and how long it is good for from now."""

    text: str = field(repr=False)
    good_for_s: float


class TokenVault(Protocol):
    """One token for all workers."""

    def token(
        self, name: str, secret: str, fetch: Callable[[], Token], *, refused: str | None, longest_wait_s: float
    ) -> Token:
        """
        The token called *name*: another worker's, while it is good, or what *fetch* gets, by one worker at a time.

        Args:
            name: What it is a token of: the server, the client and the scope.
            fetch: Gets a new one.
            longest_wait_s: For another worker that is at it.
            secret: What *fetch* proves itself with; a token that was fetched with another is not given out.
            refused: A token that the other side has just refused; it is not given out again.

        Raises:
            Transient: another worker has been fetching for longer than *longest_wait_s*.

        """
        ...


class Safeguards(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls to one integration share; each part may be missing."""

    limiter: RateLimiter | None = None
    breaker: CircuitBreaker | None = None
    log: CallLog | None = None
    vault: TokenVault | None = None
