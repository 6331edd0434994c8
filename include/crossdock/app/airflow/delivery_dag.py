"""The delivery of events: a DAG for each worker, always due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.sdk import (
    task,
)

from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.systems import systems_of
from crossdock.app.delivery import background_of
from crossdock.app.fetch_records import Puller
from crossdock.app.subscribers import SUBSCRIBERS
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.events.delivery import Pace, Place, deliver
from crossdock.maintenance.alarms import Limits
from crossdock.maintenance.housekeeping import Rules
from crossdock.maintenance.retention import Keep


def delivery_options() -> dict[str, Any]:
    """What `@dag` is told for a worker of the delivery beside its name: one run after the other, for ever."""
    return {
        # Airflow wants a first day for a DAG that is always due.
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["events"],
        "default_args": {
            "retries": settings().task_retries,
            "retry_delay": timedelta(seconds=settings().retry_delay_s),
            "retry_policy": RetryByKind(),
            # A handler that hangs for good is ended from outside; its partitions went to another worker long before.
            "execution_timeout": 2 * settings().delivery_worker_lifetime + timedelta(minutes=5),
        },
    }


def _rules() -> Rules:
    return Rules(
        retention=timedelta(days=settings().event_retention_days),
        alarms=Limits(horizon_s=settings().event_horizon_alarm_s),
        landing_url=settings().landing_url,
        keep=_keep(),
    )


def _keep() -> Keep:
    days = {
        "landing": settings().landing_days,
        "ledger": settings().ledger_days,
        "pulls": settings().fetch_run_days,
        "identities": settings().event_identity_days,
        "closed": settings().closed_days,
        "readers": settings().removed_subscriber_days,
    }
    return Keep(**{name: timedelta(days=number) for name, number in days.items()})


def delivery_task(worker_no: int) -> None:
    """The one task of the DAG of a worker."""

    @task(task_id="deliver")
    def deliver_task() -> dict[str, int]:
        place = Place(worker_no, workers=settings().delivery_workers, partitions=settings().event_partitions)
        open_store = partial(Store.from_connection, settings().store_connection)
        with Puller(lambda sync: systems_of(sync, starts=True)) as puller:
            return deliver(
                open_store,
                place,
                subscribers=SUBSCRIBERS,
                lifetime=place.lifetime(settings().delivery_worker_lifetime, datetime.now(UTC)),
                pace=Pace(lease_life=settings().event_lease_life),
                puller=puller,
                background=background_of(open_store, SUBSCRIBERS, rules=_rules(), puller=puller),
            ).events

    deliver_task()
