"""Open an alert when a task of a DAG has failed for good, and close it when the DAG works again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.app.airflow.task_failures import cause_of
from crossdock.core.errors import HubError
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind


def dag_failed(context: Mapping[str, Any]) -> None:
    """Open the alert of the DAG (`on_failure_callback` of a task)."""
    dag_run = context["dag_run"]
    what = Found(
        f"The DAG {dag_run.dag_id} failed: {reason_of(context.get('exception'))}", examples=(f"run {dag_run.run_id}",)
    )
    with Store.from_connection(settings().store_connection) as store, store.transaction() as work:
        alerts.add(work, Kind.DAG_FAILED, dag_run.dag_id, what)


def dag_succeeded(context: Mapping[str, Any]) -> None:
    """Close the alert of the DAG (`on_success_callback` of its last task)."""
    with Store.from_connection(settings().store_connection) as store, store.transaction() as work:
        alerts.close(work, Kind.DAG_FAILED, subject=context["dag_run"].dag_id)


def reason_of(exception: BaseException | str | None) -> str:
    """Say why a task failed. Of an error that is not ours only its type: its text may quote a value."""
    error = cause_of(exception)
    if isinstance(error, HubError | str):
        return str(error)
    return type(error).__name__ if error else "the task was stopped from outside"
