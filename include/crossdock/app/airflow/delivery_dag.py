"""The delivery of events: one continuous DAG for each worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import task

from crossdock.app.airflow.dag_alerts import dag_failed, dag_succeeded
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.core.ids import OWNER
from crossdock.core.settings import settings

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


def delivery_task(worker_no: int) -> None:
    """Create the one task of a worker's DAG."""

    @task(task_id="deliver")
    def deliver_task() -> dict[str, int]:
        from crossdock.app.airflow import delivery_worker  # noqa: PLC0415  with every subscriber: a DAG needs none to be parsed

        return delivery_worker.run(worker_no)

    deliver_task()
