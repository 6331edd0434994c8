"""Which tasks of a DAG run failed or are tried again, and why: from Airflow, for a run that may not even have begun to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from crossdock.api.airflow_lookups import AirflowUnavailable, is_of_airflows_database, lookups
from crossdock.core.ids import RUN_NOTE

_WHAT = "it knows which task failed"
#: Shards of one run; a person reads the first few.
_MOST = 20
#: What names a task of a run in Airflow, and the states of one that is tried again: it waits, or has begun.
_IDENTITY = ("dag_id", "run_id", "task_id", "map_index")
_WAITS, _BEGUN = "up_for_retry", ("scheduled", "queued", "running", "restarting")


class FailedTask(NamedTuple):
    task_id: str
    #: Which of several of its name; None where there is one.
    map_index: int | None
    tries: int
    #: What went wrong and what to do next, as the task said it; None where its process was gone before it could.
    reason: str | None


class RetryingTask(NamedTuple):
    """A task whose last try failed, and that is tried again."""

    task_id: str
    #: Which of several of its name; None where there is one.
    map_index: int | None
    #: The tries that failed, and how many there are at most.
    tries: int
    most_tries: int
    #: Why the last of them failed; None where its process was gone before it could say so.
    reason: str | None
    #: When Airflow starts the next one; None where that is queued or running.
    next_try_at: datetime | None


def retrying_tasks(dag_id: str, dag_run_id: str, shard: str) -> list[RetryingTask]:
    """
    Find the tasks of a DAG run that are tried again.

    Args:
        dag_id: The DAG.
        dag_run_id: Its run.
        shard: Of which shard: the first of `1/2` is the first of several. All where there is no such number.

    Raises:
        AirflowUnavailable: Airflow's database does not answer.

    """
    return lookups().ask_now(_WHAT, lambda: _find_retrying(dag_id, dag_run_id, shard))


def _find_retrying(dag_id: str, dag_run_id: str, shard: str) -> list[RetryingTask]:
    return [
        RetryingTask(
            row.task_id,
            row.map_index if row.map_index >= 0 else None,
            row.try_number if row.state == _WAITS else row.try_number - 1,
            row.max_tries + 1,
            row.retry_reason,
            _next_try(row),
        )
        for row in _rows(_retrying(dag_id, dag_run_id, _map_index_of(shard)))
        # A task that was cleared had its tries, too; their end was no retry, and has no reason.
        if row.state == _WAITS or row.retry_reason
    ]


def _next_try(row: Any) -> datetime | None:
    if row.state != _WAITS or row.end_date is None or row.retry_delay_override is None:
        return None
    ended_at: datetime = row.end_date
    return ended_at + timedelta(seconds=row.retry_delay_override)


def _retrying(dag_id: str, dag_run_id: str, map_index: int | None) -> Any:
    """
    Select the tasks that wait for their next try or have begun it; of these the reason is kept with the try before.

    With *map_index*, only that one of several, and those of which there is one.
    """
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415  this room is imported by all of Airflow
    from airflow.models.taskinstancehistory import TaskInstanceHistory  # noqa: PLC0415
    from sqlalchemy import and_, func, or_, select  # noqa: PLC0415

    same = [getattr(TaskInstance, name) == getattr(TaskInstanceHistory, name) for name in _IDENTITY]
    mine = [TaskInstance.map_index.in_((-1, map_index))] if map_index is not None else []
    return (
        select(
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance.max_tries,
            TaskInstance.end_date,
            TaskInstance.retry_delay_override,
            func.coalesce(TaskInstance.retry_reason, TaskInstanceHistory.retry_reason).label("retry_reason"),
        )
        .outerjoin(TaskInstanceHistory, and_(*same, TaskInstanceHistory.try_number == TaskInstance.try_number - 1))
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == dag_run_id, *mine)
        .where(or_(TaskInstance.state == _WAITS, and_(TaskInstance.state.in_(_BEGUN), TaskInstance.try_number > 1)))
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
        .limit(_MOST)
    )


def _rows(query: Any) -> Sequence[Any]:
    from airflow.utils.session import create_session  # noqa: PLC0415

    try:
        with create_session() as session:
            found: Sequence[Any] = session.execute(query).all()
    except Exception as error:
        if not is_of_airflows_database(error):
            raise
        raise AirflowUnavailable(_WHAT) from error
    return found


def failed_tasks(dag_id: str, dag_run_id: str, shard: str = "") -> list[FailedTask]:
    """
    Find the failed tasks of a DAG run, in the order in which they ended; of which *shard*, as `retrying_tasks`.

    Raises:
        AirflowUnavailable: Airflow's database does not answer.

    """
    return lookups().ask_now(_WHAT, lambda: _find(dag_id, dag_run_id, _map_index_of(shard)))


def _map_index_of(shard: str) -> int | None:
    """Find which of several tasks of one name are those of a shard: the first of `1/2` is 0; None where there are no shards."""
    number, divided, _ = shard.partition("/")
    return int(number) - 1 if divided else None


def _find(dag_id: str, dag_run_id: str, map_index: int | None) -> list[FailedTask]:
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415  this room is imported by all of Airflow
    from airflow.models.xcom import XComModel  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    tasks = (
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.try_number)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == dag_run_id, TaskInstance.state == "failed")
        .where(*([TaskInstance.map_index.in_((-1, map_index))] if map_index is not None else []))
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
