"""
The terms of calling another system: limits, rate, policy, and the ports that the workers share.

All times are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Protocol

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.http.breaker import BreakerRules, Count, Fraction, Seconds


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one call: time, size and attempts."""

    #: Total time of one attempt: connect, send, wait and read. Waiting for the rate limit does not count.
    timeout_s: Seconds = 20.0
    connect_timeout_s: Seconds = 5.0
    #: Maximum decoded bytes of one response.
    answer_bytes: Count = 32 * 1024 * 1024
    #: Maximum ratio of decoded to received bytes, checked from 4 MiB on. JSON compresses 10 to 30 times, a gzip bomb
    #: about 1,000 times.
    unpacked_ratio: Annotated[float, msgspec.Meta(ge=1)] = 100.0
    #: Number of attempts, including the first.
    attempts: Count = 4
    #: The longest wait between two attempts, and for the rate limit. A longer wait is left to the scheduler, so that
    #: it does not occupy a worker's slot. A read also waits its turn in the queue of a slow rate (`RateLimiter.queue_s`).
    longest_wait_s: Seconds = 8.0

    @property
    def longest_attempt_s(self) -> float:
        """From one attempt's failure to the next one's end, at most: backoff, a slot, a permit, signing and exchange."""
        return 3 * self.longest_wait_s + 2 * self.timeout_s


class KeyRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a system treats idempotency keys, from its documentation."""

    #: How long it replays a key's answer, counted from the first request: 86,400 for Stripe. With 0, which is right where
    #: the documentation does not say, a request that may have arrived is not repeated.
    window_s: float = 0.0
    header: str = "Idempotency-Key"
    #: The status with which it answers while another request with the key is at work (409 by the IETF draft, and Stripe's).
    in_use_status: int = 409
    #: A header of an answer that says `true` where the same request may be sent again with the same key, whatever the
    #: status; empty for a system that has none. Adyen's `transient-error` comes while another with the key is at work.
    retry_header: str = ""


#: What every system takes as a key (Adyen no more than 64 characters), and what cannot inject a header.
_KEY = re.compile(r"[\x21-\x7e]{1,64}")


def checked_key(key: str) -> str:
    """
    Refuse a key that some system would refuse.

    Raises:
        BadRequest: it is not 1 to 64 visible ASCII characters.

    """
    if not _KEY.fullmatch(key):
        raise BadRequest("Invalid idempotency key: use 1 to 64 visible ASCII characters")
    return key


#: The methods of a request that writes.
WriteMethod = Literal["POST", "PUT", "PATCH", "DELETE"]


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rate limit: at most *calls* in any *per_s* seconds, as the server counts them."""

    calls: Count
    per_s: Seconds = 1.0
    #: How many calls may be made at once after a pause. The others are spread evenly.
    burst: Count = 1

    def __post_init__(self) -> None:
        if not (0 < self.burst <= self.calls and self.per_s > 0):
            raise ValueError(f"a rate of {self.calls} calls in {self.per_s:g} s cannot have a burst of {self.burst}")

    @classmethod
    def of_calls_per_s(cls, calls_per_s: float) -> Rate:
        """Convert calls per second, which may be less than one."""
        calls = max(1, int(calls_per_s))
        return cls(calls=calls, per_s=calls / calls_per_s)

    @property
    def slack_s(self) -> float:
        """The delay allowed between a permit and its call's arrival: half for this process, half for the network."""
        return self.per_s / 10

    @property
    def spacing_s(self) -> float:
        """
        Seconds from one permit to the next.

        The window is widened by `slack_s`, so that late calls included, no window of the server holds more than `calls`
        permits. The price is that at most ten elevenths of the rate are used.
        """
        return (self.per_s + self.slack_s) / (self.calls - self.burst + 1)


class CallPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for the hub's calls to one integration."""

    limits: Limits = Limits()
    #: None for a system without a rate limit.
    rate: Rate | None = None
    breaker: BreakerRules = BreakerRules()
    #: Retries earned per call: a system that is down receives a tenth more calls, not four times as many.
    retry_share: Fraction = 0.1
    #: Retries available before any are earned, and at most.
    retry_reserve: Annotated[int, msgspec.Meta(ge=0)] = 10
    #: Calls in flight from one process; Airflow's pool limits the number of processes.
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8


class Outcome(StrEnum):
    """The outcome of one call, as the hub sees it."""

    SUCCESS = "success"
    #: No response in time, a 5xx, or an invalid response.
    FAILURE = "failure"
    #: A 4xx: the system works and refused the request.
    REFUSAL = "refusal"
    #: 429: too many calls.
    THROTTLED = "throttled"
    #: Not made: the circuit breaker was open.
    AVOIDED = "avoided"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its response, for metrics; contains nothing of their content."""

    outcome: Outcome
    duration_s: float = 0.0
    answer_bytes: int = 0
    #: Time spent waiting for the rate limit.
    waited_s: float = 0.0
    is_retry: bool = False


class RateLimiter(Protocol):
    """Permits to call one integration, shared by all workers."""

    @property
    def queue_s(self) -> float:
        """How long a read waits its turn: the rate is then slow, and no failure. A permit further away is paused."""
        ...

    def acquire(self, longest_wait_s: float) -> float:
        """
        Wait for a permit and return the seconds waited. The call must be made at once.

        Raises:
            RateLimited: the next permit is further away than *longest_wait_s*. No permit was taken.

        """
        ...

    def pause(self, seconds: float) -> None:
        """Block all calls for *seconds* (the server sent Retry-After)."""
        ...


class CircuitBreaker(Protocol):
    """The circuit breaker of one integration, shared by all workers."""

    def before_call(self) -> None:
        """
        Admit the call.

        Raises:
            CircuitOpen: the system has been failing, and it is not yet time for a probe.

        """
        ...

    def record(self, *, failure: str | None = None) -> None:
        """Count the result of an admitted call: a success, or the *failure* that it met, in words that may be stored."""
        ...


class CallLog(Protocol):
    """Records calls for metrics."""

    def record(self, call: Call) -> None: ...


@dataclass(frozen=True)
class Token:
    """A bearer token and how long it is valid from now."""

    text: str = field(repr=False)
    valid_for_s: float


class TokenVault(Protocol):
    """A store of tokens that all workers share."""

    def token(
        self, name: str, secret: str, fetch: Callable[[], Token], *, refused: str | None, longest_wait_s: float
    ) -> Token:
        """
        Share the token called *name*, or fetch a new one with *fetch*, in one worker at a time.

        Args:
            name: Identifies the token: server, client and scope.
            fetch: Requests a new token.
            longest_wait_s: How long to wait for another worker that is fetching it.
            secret: The secret that *fetch* uses; a token fetched with another secret is not shared.
            refused: A token that the server has just refused; it is not used again.

        Raises:
            Transient: another worker has been fetching for longer than *longest_wait_s*.

        """
        ...


class Safeguards(msgspec.Struct, frozen=True, kw_only=True):
    """The safeguards that all calls to one integration share; each one is optional."""

    limiter: RateLimiter | None = None
    breaker: CircuitBreaker | None = None
    log: CallLog | None = None
    vault: TokenVault | None = None
