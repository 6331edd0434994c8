"""What the DAG files `dags/workflows_0.py` and so on define. Light: most of them have nothing to define in most hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossdock.app import workflow_snapshots
from crossdock.app.airflow import code_watch

if TYPE_CHECKING:
    from airflow.sdk import DAG


def define(file_no: int) -> dict[str, DAG]:
    """Build the DAGs of one DAG file, by ID."""
    if not workflow_snapshots.read(file_no):
        return {}
    code_watch.load_for_task("crossdock.app.airflow.workflow_dags")
    from crossdock.app.airflow.workflow_dags import define as define_all  # noqa: PLC0415  imports the connectors

    return define_all(file_no)
