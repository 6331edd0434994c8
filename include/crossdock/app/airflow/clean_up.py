"""The DAG that cleans what Airflow leaves behind; what the hub leaves is removed by its housekeeping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from crossdock.app.airflow.metadata_cleanup import ADDRESS, run
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.task_failures import explained_failures
from crossdock.core.ids import OWNER, prefixed
from crossdock.core.log import logger
from crossdock.core.settings import settings
from crossdock.maintenance import task_logs

log = logger(__name__)

#: The Airflow connection with the address of Airflow's own database, which tasks do not have otherwise.
CONNECTION = "airflow_db"


def clean_airflow_tables() -> str:
    """
    Clean Airflow's tables; return the instant before which there is nothing left.

    Raises:
        AirflowSkipException: Airflow has no connection `airflow_db`.
        TaskFailed: the database failed; run it again.

    """
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415  not while the file is parsed

    address = _address()
    if address is None:
        raise AirflowSkipException(
            f"Airflow has no connection {prefixed(CONNECTION)} with the address of its own database. Add it, or clean the "
            "tables elsewhere: docs/how-to/operate.md"
        )
    # Airflow blocks both in a task, and says to its children that they are of a task.
    blocked = {"AIRFLOW__CORE__SQL_ALCHEMY_CONN", "_AIRFLOW_PROCESS_CONTEXT"}
    environment = {name: value for name, value in os.environ.items() if name not in blocked}
    with explained_failures():
        found = run(settings().airflow_kept_days, dry_run=False, environment={**environment, ADDRESS: address})
    rows = {table: number for table, number in found.rows.items() if number}
    log.info("Deleted rows from before %s: %s", f"{found.before:%Y-%m-%d}", rows or "none")
    if found.held_by:
        log.warning("Nothing younger is deleted: a run of %s has not ended since then", ", ".join(found.held_by))
    return found.before.isoformat()


def clean_task_logs(before: str | None = None) -> int:
    """Delete the logs of runs to which nothing was written since *before*; return how many folders there were."""
    from airflow.configuration import conf  # noqa: PLC0415  not while the file is parsed

    limit = datetime.now(UTC) - timedelta(days=settings().airflow_kept_days)
    root = Path(conf.get_mandatory_value("logging", "base_log_folder"))
    found = task_logs.clean(root, datetime.fromisoformat(before) if before else limit)
    log.info("Deleted the logs of %s runs and days, %.1f MB", f"{found.folders:,}", found.bytes / 1e6)
    return found.folders


def _address() -> str | None:
    from airflow.sdk import Connection  # noqa: PLC0415  not while the file is parsed
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415  not while the file is parsed

    try:
        found = Connection.get(prefixed(CONNECTION))
    except AirflowNotFoundException:
        return None
    scheme, _, rest = found.get_uri().partition("://")
    return f"postgresql+psycopg2://{rest}" if scheme.startswith("postgres") else None


def clean_up_schedule() -> str | None:
    """Read when it runs, as cron; None: never by itself."""
    return settings().clean_up_schedule or None


def clean_up_options() -> Mapping[str, Any]:
    """Build the options of `@dag`, except its schedule."""
    return {
        "dag_id": prefixed("clean_up"),
        "description": "Delete old rows of Airflow's tables and old logs of tasks",
        "start_date": datetime(2026, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["maintenance"],
        "default_args": {"owner": OWNER, "retries": settings().task_retries, "retry_policy": RetryByKind()},
    }
