"""Syncs and their backfills as DAGs: form, retries, deadline, tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from airflow.sdk import (  # type: ignore[attr-defined]  # the stub lags behind
    Asset,
    AsyncCallback,
    CronPartitionTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    task,
    task_group,
)
from airflow.sdk.exceptions import AirflowSkipException

from crossdock.app.airflow.deadlines import RunIsLate
from crossdock.app.airflow.hints import with_hint
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.systems import systems_of
from crossdock.app.streams import SYNCS
from crossdock.core.errors import IntegrationPaused, LeaseLost
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.sync import Sync, extract, load, mark_failed, validate
from crossdock.sync.assets import asset_of
from crossdock.sync.backfill import backfill_request
from crossdock.sync.model import SyncRequest

#: One run a day under the day's own key, for the day before: the nightly second look at yesterday, which
#: catches what a source dated late, and the key by which a backfill asks for any day.
EACH_DAY = CronPartitionTimetable("0 3 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")


#: What a person who is woken reads in the UI, under what the DAG file says of itself.
_TRIAGE = """
| task | what it does | when it is red |
| --- | --- | --- |
| `extract` | reads the window's pages and lands them as they came | the platform is down or refuses us: the log names which. When it is up again, clear the task: it goes on after the last page that landed. |
| `validate` | decodes, maps and checks with Great Expectations | a rule is declared wrongly, or a landed page is gone: clear `extract` with its downstream tasks. |
| `load` | one transaction a batch: rows, history, events, quarantine, counts, watermark | the hub's database is down or busy: clear the task, it loads only what is still open. |

**Triage.** Every task is safe to clear at any time. Rows that fail a rule do not turn a run red: see
`./hub quarantine list`. A run that is *held* read nothing or far too little: look at the source, then
`./hub sync {entity} --full --allow-shrink` if it is right. What each run did with every row:
`./hub runs`, `./hub run show ID`.
"""


def triage_of(sync: Sync) -> str:
    """What to do about a red task of *sync*, as Markdown."""
    return _TRIAGE.format(entity=sync.entity)


def schedule_of(sync: Sync) -> str | None:
    """The installation's cron for *sync*; None for never by itself."""
    return settings().schedule_of(sync.entity) or None


def sync_options(sync: Sync) -> dict[str, Any]:
    """
    What `@dag` is told for a sync beside its schedule: its form, its retries and its deadline.

    The name of the DAG is its function's, as everywhere in Airflow.
    """
    return {
        # No start date: with one, Airflow starts a run the moment it first sees the DAG; without, only for a
        # tick that has just passed.
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["sync", sync.entity],
        "params": _form(sync),
        "default_args": _task_defaults(sync),
        "deadline": DeadlineAlert(
            name=f"sync_{sync.entity} is late",
            # Not DAGRUN_QUEUED_AT: with it, Airflow 3.3.2 answers every "clear" of a run with HTTP 500
            # (apache/airflow#70368), and clearing is how a person recovers.
            reference=DeadlineReference.AVERAGE_RUNTIME(max_runs=10, min_runs=1),
            interval=timedelta(minutes=settings().sync_deadline_minutes),
            callback=AsyncCallback(RunIsLate, kwargs={"dag_id": f"sync_{sync.entity}"}),
        ),
    }


def backfill_options(sync: Sync) -> dict[str, Any]:
    """
    What `@dag` is told for a backfill beside its schedule.

    It has no outlets: nobody downstream is woken by history.
    """
    return {
        "catchup": False,
        "max_active_runs": 4,
        "tags": ["backfill", sync.entity],
        "params": {
            "tell": Param(False, type="boolean", title="Tell", description="Tell subscribers of what changes"),
        },
        "default_args": _task_defaults(sync),
    }


def sync_tasks(sync: Sync) -> None:
    """
    Extract → validate → load of a sync, in the DAG that is being made; only the run's id travels.

    A sync that is shared among workers has these three once for each part, under `part`.
    """

    @task(task_id="extract")
    def extract_task(part: str | None = None, *, params: Any = None, dag_run: Any = None) -> str:
        return _extract(sync, _part_of_request(request_of(params), part), dag_run)

    def chain(part: str | None = None) -> None:
        _load_task(sync, outlets=[Asset(asset_of(sync.entity))])(_validate_task(sync)(extract_task(part)))

    parts = _parts_of(sync)
    if len(parts) == 1:
        chain()
    else:
        task_group(group_id="part")(chain).expand(part=parts)


def _parts_of(sync: Sync) -> list[str]:
    """`1/2`, `2/2`: what the installation shares *sync* into."""
    # A declared system is read in one range, which cannot be shared.
    of = settings().parts_of(sync.entity) if sync.entity in SYNCS else 1
    return [f"{number}/{of}" for number in range(1, of + 1)]


def _part_of_request(request: SyncRequest, part: str | None) -> SyncRequest:
    """
    The share that the task of *part* has of *request*.

    Raises:
        AirflowSkipException: named keys and a limit are not shared; the first part does all of it.

    """
    if part is None:
        return request
    if not (request.keys or request.limit):
        return msgspec.structs.replace(request, part=part)
    if part.startswith("1/"):
        return request
    raise AirflowSkipException("The first part does all of what names keys or a limit")


def backfill_tasks(sync: Sync) -> None:
    """The same for the day that the run's partition key names."""

    @task(task_id="extract")
    def extract_task(*, params: Any = None, dag_run: Any = None, partition_key: Any = None) -> str:
        return _extract(sync, backfill_request(str(partition_key), tell=bool(params["tell"])), dag_run)

    _load_task(sync, outlets=[])(_validate_task(sync)(extract_task()))


def _extract(sync: Sync, request: SyncRequest, dag_run: Any) -> str:
    """
    As `extract`; of a paused integration nothing is read, and the run ends as skipped rather than red.

    Only this first task asks: what has landed needs the source no more, and is brought to its end.
    """
    try:
        with systems_of(sync, starts=True) as systems:
            return extract(sync, systems, request, dag_id=dag_run.dag_id, dag_run_id=dag_run.run_id)
    except IntegrationPaused as paused:
        with Store.from_connection(settings().store_connection) as store:
            mark_failed(sync, store, dag_run.run_id, str(paused), dag_id=dag_run.dag_id, part=request.part)
        raise AirflowSkipException(with_hint(paused)) from None


def _validate_task(sync: Sync) -> Any:
    @task(task_id="validate")
    def validate_task(sync_run: str) -> str:
        with systems_of(sync) as systems:
            return validate(sync, systems, sync_run)

    return validate_task


def _load_task(sync: Sync, *, outlets: list[Asset]) -> Any:
    @task(task_id="load", outlets=outlets)
    def load_task(sync_run: str) -> dict[str, Any]:
        with systems_of(sync) as systems:
            return load(sync, systems, sync_run).as_document()

    return load_task


def _form(sync: Sync) -> dict[str, Param]:
    return {
        "full": Param(False, type="boolean", title="Full", description="Read everything, whatever the watermark says"),
        "since": Param(None, type=["null", "string"], format="date-time", title="Modified since"),
        "until": Param(None, type=["null", "string"], format="date-time", title="Modified before"),
        "keys": Param(
            [], type="array", items={"type": "string"}, title="Keys", description=f"Only these ({sync.key_field})"
        ),
        "limit": Param(0, type="integer", minimum=0, title="Limit", description="Records to read; 0 for all"),
        "accept_shrunken": Param(
            False, type="boolean", title="Accept shrunken", description="An empty or much smaller source is right"
        ),
    }


def _task_defaults(sync: Sync) -> dict[str, Any]:
    return {
        "retries": settings().task_retries,
        "retry_delay": timedelta(seconds=settings().retry_delay_s),
        "retry_policy": RetryByKind(),
        # Declared integrations have no pool of their own: their calls take turns at the declared rate.
        "pool": sync.integration if sync.entity in SYNCS else "default_pool",
        "on_failure_callback": lambda context: end_run(sync, context),
    }


def request_of(params: Mapping[str, Any]) -> SyncRequest:
    """
    The DAG's form, or the `conf` of a REST call, as a request.

    Raises:
        BadRequest: the fields contradict each other; the message says which.

    """
    return SyncRequest.of({name: value for name, value in params.items() if value not in (None, "", [])})


def end_run(sync: Sync, context: Mapping[str, Any]) -> None:
    """For `on_failure_callback`: the retries are used up, so the run ends as failed and its lease is free."""
    error, dag_run = context.get("exception"), context["dag_run"]
    if isinstance(error, LeaseLost) and error.to_itself:
        return  # A worker that woke too late must not end the run that another worker is at.
    with Store.from_connection(settings().store_connection) as store:
        mark_failed(
            sync,
            store,
            dag_run.run_id,
            str(error or "the task was ended from outside"),
            dag_id=dag_run.dag_id,
            part=_parts_of(sync)[index] if (index := context["ti"].map_index) >= 0 else None,
        )
