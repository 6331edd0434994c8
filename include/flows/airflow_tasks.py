"""
The one module of the flows that knows Airflow: our errors as its retry decisions, its callbacks as ours.

Everything else in this room runs without a scheduler, which is how the tests run it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseNotifier, RetryDecision, RetryPolicy

from include.flows.settings import settings
from include.flows.sync import Sync, Systems, mark_failed
from include.model.errors import Terminal, Transient
from include.model.sync import SyncRequest
from include.store import alerts
from include.store.database import Store
from include.store.landing import Landing

log = logging.getLogger(__name__)

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


class RunIsLate(BaseNotifier):
    """Tells that a DAG run has not ended in time: an alert in the hub, seen by `./hub status`, and a warning."""

    def __init__(self, dag_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dag_id = dag_id

    async def async_notify(self, context: Mapping[str, Any]) -> None:
        dag_run = context.get("dag_run") or {}
        # A failed run never satisfies its deadline; its failure has been told already.
        if dag_run.get("state") == "failed":
            return
        await asyncio.to_thread(self._tell, str(dag_run.get("dag_run_id")))

    def notify(self, context: Mapping[str, Any]) -> None:
        asyncio.run(self.async_notify(context))

    def _tell(self, dag_run_id: str) -> None:
        message = f"{self.dag_id} run {dag_run_id} is still at work after {settings().sync_deadline_minutes:g} minutes"
        log.warning(message, extra={"event": "run_late"})
        with Store.from_connection(settings().store_connection) as store, store.transaction() as work:
            alerts.add(work, kind="run_late", subject=dag_run_id, message=message)


def systems_of(sync: Sync) -> Systems:
    """The systems of *sync* behind Airflow's connections. Call it inside a task, never at parse time."""
    from include.connectors.commercetools import Commercetools  # noqa: PLC0415  requests is not needed to parse

    if sync.integration != Commercetools.name:
        raise Terminal(f"No connector for {sync.integration}; the one there is: {Commercetools.name}")
    return Systems(
        source=Commercetools.from_connection(settings().commercetools_connection),
        store=Store.from_connection(settings().store_connection),
        landing=Landing(settings().landing_url),
        overlap=settings().overlap,
    )


def request_of(params: Mapping[str, Any]) -> SyncRequest:
    """
    The DAG's form, or the `conf` of a REST call, as a request.

    Raises:
        BadRequest: the fields contradict each other; the message says which.

    """
    return SyncRequest.of({name: value for name, value in params.items() if value not in (None, "", [])})


def end_run(sync: Sync, context: Mapping[str, Any]) -> None:
    """For `on_failure_callback`: the retries are used up, so the run ends as failed and its lease is free."""
    error = context.get("exception")
    with Store.from_connection(settings().store_connection) as store:
        mark_failed(sync, store, context["dag_run"].run_id, str(error or "the task was ended from outside"))
