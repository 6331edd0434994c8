"""Which tasks of a DAG run failed, and why: from Airflow, for the page of a run that may not even have begun to read."""

from __future__ import annotations

from typing import NamedTuple

from crossdock.api.airflow_lookups import AirflowUnavailable, is_of_airflows_database, lookups
from crossdock.core.ids import RUN_NOTE

_WHAT = "it knows which task failed"
#: Shards of one run; a person reads the first few.
_MOST = 20


class FailedTask(NamedTuple):
    task_id: str
    #: Which of several of its name; None where there is one.
    map_index: int | None
    tries: int
    #: What went wrong and what to do next, as the task said it; None where its process was gone before it could.
    reason: str | None


def failed_tasks(dag_id: str, dag_run_id: str) -> list[FailedTask]:
    """
    Find the failed tasks of a DAG run, in the order in which they ended.

    Raises:
        AirflowUnavailable: Airflow's database does not answer.

    """
    return lookups().ask_now(_WHAT, lambda: _find(dag_id, dag_run_id))


def _find(dag_id: str, dag_run_id: str) -> list[FailedTask]:
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415  this room is imported by all of Airflow
    from airflow.models.xcom import XComModel  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    tasks = (
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.try_number)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == dag_run_id, TaskInstance.state == "failed")
        .order_by(TaskInstance.end_date, TaskInstance.task_id, TaskInstance.map_index)
        .limit(_MOST)
    )
    said = select(XComModel.task_id, XComModel.map_index, XComModel.value).where(
        XComModel.dag_id == dag_id, XComModel.run_id == dag_run_id, XComModel.key == RUN_NOTE
    )
    try:
        with create_session() as session:
            failed = session.execute(tasks).all()
            reasons = {
                (row.task_id, row.map_index): str(XComModel.deserialize_value(row)) for row in session.execute(said)
            }
    except Exception as error:
        if not is_of_airflows_database(error):
            raise
        raise AirflowUnavailable(_WHAT) from error
    return [
        FailedTask(
            row.task_id,
            row.map_index if row.map_index >= 0 else None,
            row.try_number,
            reasons.get((row.task_id, row.map_index)),
        )
        for row in failed
    ]
