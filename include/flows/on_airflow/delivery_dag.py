"""The delivery of events as a DAG that is always due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    task,
)

from include.flows.deliver_events import Pace, Place, Rules, deliver
from include.flows.on_airflow.retries import RetryByKind
from include.flows.on_airflow.systems import systems_of
from include.flows.pull_keys import Puller
from include.flows.settings import settings
from include.store.database import Store


def delivery_options() -> dict[str, Any]:
    """What `@dag` is told for the delivery of events beside its schedule: one run after the other, for ever."""
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
            "execution_timeout": settings().event_reader_lifetime + timedelta(minutes=5),
        },
    }


def delivery_tasks() -> None:
    """A mapped task: one worker of the delivery each, and each with its number."""

    @task(task_id="deliver")
    def deliver_task(worker_no: int) -> dict[str, int]:
        place = Place(worker_no, workers=settings().event_readers, partitions=settings().event_partitions)
        return deliver(
            lambda: Store.from_connection(settings().store_connection),
            place,
            lifetime=settings().event_reader_lifetime,
            pace=Pace(lease_life=settings().event_lease_life),
            puller=Puller(lambda sync: systems_of(sync, starts=True)),
            rules=Rules(
                retention=timedelta(days=settings().event_retention_days),
                horizon_alarm_s=settings().event_horizon_alarm_s,
            ),
        ).events

    deliver_task.expand(worker_no=list(range(settings().event_readers)))
