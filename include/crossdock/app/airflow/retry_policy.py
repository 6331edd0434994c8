"""What Airflow does with an error of ours."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from airflow.sdk import (
    RetryDecision,
    RetryPolicy,
)

from crossdock.core.errors import Terminal, Transient
from crossdock.core.settings import settings

#: The longest that a Retry-After is honoured: a source that asks for a day is tried again by the next run.
LONGEST_WAIT = timedelta(minutes=15)


class RetryByKind(RetryPolicy):
    """
    Retries what may pass, fails at once what will not.

    A wait that the other side named is honoured up to LONGEST_WAIT; else the waits double from the
    configured first one, with a random share, because Airflow's own jitter is the same for every run
    without a logical date and would send all of them back at once.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002  Airflow's signature
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        if isinstance(exception, Terminal):
            return RetryDecision.fail(f"{type(exception).__name__} does not pass by itself")
        if isinstance(exception, Transient) and exception.retry_in_s is not None:
            asked = timedelta(seconds=exception.retry_in_s)
            return RetryDecision.retry(min(asked, LONGEST_WAIT) + _spread(), "the other side named the wait")
        doubled = timedelta(seconds=settings().retry_delay_s * 2 ** (try_number - 1) * random.uniform(0.5, 1.5))  # noqa: S311
        return RetryDecision.retry(min(doubled, LONGEST_WAIT), type(exception).__name__)


def _spread() -> timedelta:
    return timedelta(seconds=random.uniform(0, 2))  # noqa: S311  spreads callers; no secret
