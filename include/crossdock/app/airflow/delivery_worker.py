"""What a delivery worker does in its task; loaded anew when its code has changed."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

from crossdock.app import watched
from crossdock.app.airflow.code_watch import ended_by_new_code
from crossdock.app.airflow.task_failures import explained_failures
from crossdock.app.airflow.workflow_watch import ended_by_new_triggers
from crossdock.app.delivery import background_tasks
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.events.delivery import PartitionAssignment, PollingConfig, deliver
from crossdock.maintenance.housekeeping import HousekeepingConfig
from crossdock.maintenance.retention import RetentionPeriods


def run(worker_no: int) -> dict[str, int]:
    """Deliver until the worker's time is over, its supervisor has ended or its code has changed; count events by subscriber."""
    assignment = PartitionAssignment(
        worker_no, workers=settings().delivery_workers, partitions=settings().event_partitions
    )
    open_store = partial(Store.from_connection, settings().store_connection)
    stop = threading.Event()
    with (
        explained_failures(stop=stop.set),
        closing(services()) as provided,
        ended_by_new_code(worker_no, stop.set),
        ended_by_new_triggers(stop.set),
    ):
        known = subscribers(provided)
        return deliver(
            open_store,
            assignment,
            subscribers=known,
            lifetime=assignment.lifetime(settings().delivery_worker_lifetime, datetime.now(UTC)),
            polling=PollingConfig(lease_life=settings().event_lease_life),
            background=background_tasks(open_store, known, housekeeping=housekeeping(), orders=provided.orders),
            stop=stop,
        ).events


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
