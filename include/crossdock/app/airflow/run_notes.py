"""
Write the note of a DAG run when it ends: what its tasks say that they did, where Airflow's list of runs shows it.

A listener of Airflow, registered by `plugins/hub_plugin.py`. It runs in the scheduler, inside its transaction: a task can set
no note, since Airflow's execution API has none. So it reads a few rows of Airflow's own database, asks no other system, and
leaves every other DAG alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from crossdock.core.ids import RUN_NOTE, prefixed
from crossdock.core.log import logger

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

log = logger(__name__)

#: As long as Airflow's column.
_LONGEST = 1000


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    write_note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    write_note(dag_run)


def write_note(dag_run: DagRun) -> None:
    """Write the note of a run of ours, unless a person wrote one. Raises nothing: the listeners after it would not be called."""
    if not dag_run.dag_id.startswith((prefixed("sync_"), prefixed("backfill_"))):
        return
    try:
        _write_note(dag_run)
    except Exception:
        log.exception("The note of run %s of %s could not be written", dag_run.run_id, dag_run.dag_id)


def _write_note(dag_run: DagRun) -> None:
    from sqlalchemy.orm import object_session  # noqa: PLC0415  tasks import this module, too

    session = object_session(dag_run)
    if session is None:
        return
    # In a savepoint: a query that fails must not undo what the scheduler does in the same transaction. Not the session's own: the
    # scheduler forbids that a listener commits, and means savepoints, too.
    with session.no_autoflush, session.connection().begin_nested():
        written = dag_run.dag_run_note
        if written is not None and written.user_id is not None:
            return
        sentences = _sentences(dag_run, session)
    if sentences:
        dag_run.note = _cut("\n\n".join(sentences))


def _sentences(dag_run: DagRun, session: Session) -> list[str]:
    """Read what the tasks of the run left, in the order of their shards."""
    from airflow.models.xcom import XComModel  # noqa: PLC0415  tasks import this module, too

    query: Select[Any] = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key=RUN_NOTE)
    found = session.scalars(query).all()
    ordered = sorted(found, key=lambda xcom: (xcom.map_index, xcom.task_id))
    return [str(XComModel.deserialize_value(xcom)) for xcom in ordered]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
