"""Decide whether and when Airflow retries a task, by the kind of its error."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from airflow.sdk import (
    RetryDecision,
    RetryPolicy,
)

from crossdock.app.airflow.dag_alerts import reason_of
from crossdock.app.airflow.task_failures import cause_of
from crossdock.core.errors import OutcomeUnknown, Terminal, Transient
from crossdock.core.settings import settings

#: The longest Retry-After that is honoured: a source that asks for a day is read by the next run instead.
LONGEST_WAIT = timedelta(minutes=15)


class RetryByKind(RetryPolicy):
    """
    Retry transient errors with backoff, and fail terminal ones at once.

    An unknown outcome fails at once as well: another try could repeat an effect. Whoever resolved it clears the task.
    A Retry-After is honoured up to LONGEST_WAIT. Otherwise the backoff doubles from the configured first
    delay, with random jitter: Airflow's own jitter is the same for every run without a logical date, so
    all of them would come back at the same moment.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002  Airflow's signature
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        error = cause_of(exception)
        if isinstance(error, Terminal):
            return RetryDecision.fail(f"{type(error).__name__} is not retried: the result would be the same")
        if isinstance(error, OutcomeUnknown):
            return RetryDecision.fail("OutcomeUnknown is not retried: the request may have had its effect")
        # Airflow keeps it with the try, and the page of the run shows it.
        why = reason_of(exception)
        if isinstance(error, Transient) and error.retry_in_s is not None:
            requested = timedelta(seconds=error.retry_in_s)
            return RetryDecision.retry(min(requested, LONGEST_WAIT) + _jitter(), why)
        doubled = timedelta(seconds=settings().retry_delay_s * 2 ** (try_number - 1) * random.uniform(0.5, 1.5))  # noqa: S311
        return RetryDecision.retry(min(doubled, LONGEST_WAIT), why)


def _jitter() -> timedelta:
    return timedelta(seconds=random.uniform(0, 2))  # noqa: S311  spreads callers; no secret
