"""The delivery of events: one continuous DAG for each worker."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.sdk import (
    task,
)

from crossdock.app import watched
from crossdock.app.airflow.dag_alerts import dag_failed, dag_succeeded
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.task_failures import explained_failures
from crossdock.app.delivery import background_tasks
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.ids import OWNER
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.events.delivery import PartitionAssignment, PollingConfig, deliver
from crossdock.maintenance.housekeeping import HousekeepingConfig
from crossdock.maintenance.retention import RetentionPeriods

#: A worker that is killed, or stopped with its stack, uses up a try; nothing it does is lost or done twice. A run of a
#: quarter of an hour may be restarted so often before it counts as failed.
_RESTARTS = 10


def delivery_dags() -> list[str]:
    """Name the DAG of each delivery worker."""
    return settings().delivery_dags


def delivery_options() -> dict[str, Any]:
    """Build the options of `@dag` for a delivery worker, except its name: one run after the other, without end."""
    return {
        "description": "Deliver every event to every subscriber",
        # Airflow needs a start date for a continuous DAG.
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["events"],
        "default_args": {
            "owner": OWNER,
            "retries": _RESTARTS,
            "retry_delay": timedelta(seconds=settings().retry_delay_s),
            "retry_policy": RetryByKind(),
            "on_failure_callback": dag_failed,
            "on_success_callback": dag_succeeded,
            # Airflow ends a subscriber that hangs for ever; another worker took over its partitions long before.
            "execution_timeout": 2 * settings().delivery_worker_lifetime + timedelta(minutes=5),
        },
    }


def housekeeping() -> HousekeepingConfig:
    """Read what housekeeping keeps, and watches, from the settings."""
    return HousekeepingConfig(
        retention=timedelta(days=settings().event_retention_days),
        alarms=watched.thresholds(),
        watched=watched.conditions(),
        landing_url=settings().landing_url,
        keep=_retention(),
    )


def _retention() -> RetentionPeriods:
    days = {
        "landing": settings().landing_days,
        "ledger": settings().ledger_days,
        "fetch_runs": settings().fetch_run_days,
        "identities": settings().event_identity_days,
        "closed": settings().closed_days,
        "consumers": settings().removed_subscriber_days,
        "attempts": settings().attempt_days,
        "payments": settings().payment_days,
    }
    return RetentionPeriods(**{name: timedelta(days=number) for name, number in days.items()})


def delivery_task(worker_no: int) -> None:
    """Create the one task of a worker's DAG."""

    @task(task_id="deliver")
    def deliver_task() -> dict[str, int]:
        assignment = PartitionAssignment(
            worker_no, workers=settings().delivery_workers, partitions=settings().event_partitions
        )
        open_store = partial(Store.from_connection, settings().store_connection)
        orphaned = threading.Event()
        with explained_failures(stop=orphaned.set), closing(services()) as provided:
            known = subscribers(provided)
            return deliver(
                open_store,
                assignment,
                subscribers=known,
                lifetime=assignment.lifetime(settings().delivery_worker_lifetime, datetime.now(UTC)),
                polling=PollingConfig(lease_life=settings().event_lease_life),
                background=background_tasks(open_store, known, housekeeping=housekeeping(), orders=provided.orders),
                stop=orphaned,
            ).events

    deliver_task()
