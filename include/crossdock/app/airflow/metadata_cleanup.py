"""
Clean Airflow's own tables: `python -m crossdock.app.airflow.metadata_cleanup --days 30 [--dry-run]`, by `airflow db clean`'s function.

A process of its own, since Airflow closes its database to tasks; whoever starts it gives it the address. It prints one JSON
document as its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import Transient
from crossdock.core.log import logger

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logger(__name__)

#: Those that grow with runs, events and logins. Not `dag` (who paused what is there) nor `trigger`: what a deferred task waits for
#: may be older than any limit, and Airflow itself deletes those that nobody waits for.
TABLES = (
    "asset_event",
    "callback",
    "celery_taskmeta",
    "celery_tasksetmeta",
    "dag_run",
    "dag_version",
    "deadline",
    "import_error",
    "job",
    "log",
    "partitioned_asset_key_log",
    "revoked_token",
    "session",
    "task_instance",
    "task_instance_history",
    "task_reschedule",
    "task_state_store",
    "xcom",
)
ADDRESS = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
#: Rows of one transaction.
_ROWS = 5_000
_TIMEOUT_S = 3_600.0
_COUNTED = re.compile(r"Checking table (\w+)\nFound (\d+) rows")


class CleanedTables(msgspec.Struct, frozen=True, kw_only=True):
    """Airflow's tables after a cleaning, or before one that only counts."""

    #: Table → rows deleted; without those that went with the row that they belong to.
    rows: dict[str, int]
    #: What is older was deleted: at most the limit, and never later than the oldest run that has not ended.
    before: datetime
    #: The DAGs of old runs that have not ended, which hold that back.
    held_by: list[str]
    #: The size does not shrink: PostgreSQL writes the next rows where these were.
    size_bytes: int


prepare(CleanedTables)


class CleaningFailed(Transient):
    """Airflow's tables could not be cleaned."""


def run(days: int, *, dry_run: bool, environment: Mapping[str, str]) -> CleanedTables:
    """
    Clean in a process of its own with *environment*, which has the address of Airflow's database.

    Raises:
        CleaningFailed: it ended with an error, or took longer than an hour; what was deleted stays deleted.

    """
    words = [sys.executable, "-P", "-m", __name__, "--days", str(days), *(["--dry-run"] if dry_run else [])]
    try:
        ended = subprocess.run(
            words,
            env=dict(environment),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CleaningFailed(f"Airflow's tables were not cleaned within {_TIMEOUT_S:.0f} s") from error
    if ended.returncode:
        raise CleaningFailed(f"Airflow's tables were not cleaned: {ended.stderr.strip()[-500:]}")
    return msgspec.json.decode(ended.stdout.strip().splitlines()[-1], type=CleanedTables)


def clean(session: Session, before: datetime, *, dry_run: bool) -> CleanedTables:
    """
    Delete the rows of TABLES that are older than *before*, without an archive; of each DAG the last scheduled run stays.

    Nothing as young as the oldest run that has not ended is deleted: Airflow looks at the age alone, and a run that waits for a
    person would lose its tasks. (Its option to leave out DAGs fails for the tables that do not name one.)
    """
    import pendulum  # noqa: PLC0415  only in the process that cleans
    from airflow.utils.db_cleanup import config_dict, run_cleanup  # noqa: PLC0415  only in the process that cleans
    from sqlalchemy import func, select  # noqa: PLC0415  only in the process that cleans

    held_by, oldest = _unfinished(session, before)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        run_cleanup(
            clean_before_timestamp=pendulum.instance(min(before, oldest)),
            table_names=[name for name in TABLES if name in config_dict],
            dry_run=dry_run,
            confirm=False,
            skip_archive=True,
            batch_size=_ROWS,
            error_on_cleanup_failure=True,
            session=session,
        )
    rows = {table: int(number) for table, number in _COUNTED.findall(said.getvalue())}
    size_bytes = int(session.scalar(select(func.pg_database_size(func.current_database()))) or 0)
    return CleanedTables(rows=rows, before=min(before, oldest), held_by=held_by, size_bytes=size_bytes)


def _unfinished(session: Session, before: datetime) -> tuple[list[str], datetime]:
    """Find the DAGs with a run, or a task, that began before that instant and has not ended; and when the first of them began."""
    from airflow.models.dagrun import DagRun  # noqa: PLC0415  only in the process that cleans
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415  only in the process that cleans
    from airflow.utils.state import State  # noqa: PLC0415  only in the process that cleans
    from sqlalchemy import select  # noqa: PLC0415  only in the process that cleans

    runs = select(DagRun.dag_id, DagRun.start_date).where(
        DagRun.start_date < before, DagRun.state.in_(State.unfinished_dr_states)
    )
    tasks = select(TaskInstance.dag_id, TaskInstance.start_date).where(
        TaskInstance.start_date < before, TaskInstance.state.in_([state for state in State.unfinished if state])
    )
    found = [*session.execute(runs), *session.execute(tasks)]
    return sorted({dag_id for dag_id, _ in found}), min((started_at for _, started_at in found), default=before)


def main() -> None:
    """Clean as the arguments say."""
    given = argparse.ArgumentParser()
    given.add_argument("--days", type=int, required=True)
    given.add_argument("--dry-run", action="store_true")
    options = given.parse_args()
    # As Airflow's own servers, which may use its database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    from airflow.utils.session import create_session  # noqa: PLC0415  only in the process that cleans

    with create_session() as session:
        found = clean(session, datetime.now(UTC) - timedelta(days=options.days), dry_run=options.dry_run)
    sys.stdout.write(f"{msgspec.json.encode(found).decode()}\n")


if __name__ == "__main__":
    main()
