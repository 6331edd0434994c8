"""Build the DAGs of syncs and backfills: form, retries, deadline, tasks."""

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
from crossdock.app.airflow.task_failures import cause_of, explained_failures
from crossdock.app.streams import SYNCS
from crossdock.core import ids
from crossdock.core.errors import IntegrationPaused, LeaseLost
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.sync import Sync, extract, load, mark_failed, validate
from crossdock.sync.assets import asset_of
from crossdock.sync.backfill import backfill_request
from crossdock.sync.model import SyncRequest, refuse_renamed

#: One run a day, with the day before as its partition key: each night yesterday is read again, because a source may
#: date changes late; a backfill requests any day by the same key.
EACH_DAY = CronPartitionTimetable("0 3 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")


#: What an operator reads in the UI, below the description in the DAG file.
_TRIAGE = """
| task | what it does | if it failed |
| --- | --- | --- |
| `extract` | reads the window's pages and stores them as they came | the source is down or refuses our requests: the end of the log says which. Clear the task once the source is up again: it continues after the last page that landed. |
| `validate` | decodes, maps and checks with Great Expectations | a rule is declared incorrectly, or a landed page is missing: clear `extract` with its downstream tasks. |
| `load` | commits each batch in one transaction: rows, history, events, quarantine, counts, watermark | the hub's database is down or busy: clear the task; it loads only the batches that are still open. |

**Triage.** A failed task's log ends with what is wrong and what to do. Every task can be cleared at any time. Records
that fail a rule do not fail the run; to see them: `./hub quarantine list`. A run that is *on hold* (`held`) read
nothing or far too little: check the source, and if it is right, run `./hub sync {entity} --full --allow-shrink`.
To see what each run did with every record: `./hub runs`, `./hub run show ID`.
"""


def triage_of(sync: Sync) -> str:
    """Describe in Markdown what to do about a failed task of *sync*."""
    return _TRIAGE.format(entity=sync.entity)


def schedule_of(sync: Sync) -> str | None:
    """Look up the installation's cron for *sync*; None if its schedule is disabled."""
    return settings().schedule_of(sync.entity) or None


def sync_options(sync: Sync) -> dict[str, Any]:
    """
    Build the arguments of `@dag` for a sync, except its schedule: form, retries and deadline.

    The id is the name of the DAG's function, with the installation's prefix.
    """
    return {
        "dag_id": ids.sync_dag(sync.entity),
        # No start date: with one, Airflow starts a run as soon as it first sees the DAG; without one, only at the
        # next tick of the schedule.
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["sync", sync.entity],
        "params": _form(sync),
        "default_args": _task_defaults(sync),
        "deadline": DeadlineAlert(
            name=f"{ids.sync_dag(sync.entity)} is late",
            # Not DAGRUN_QUEUED_AT: with it, Airflow 3.3.2 answers every "clear" of a run with HTTP 500
            # (apache/airflow#70368), and an operator recovers by clearing.
            reference=DeadlineReference.AVERAGE_RUNTIME(max_runs=10, min_runs=1),
            interval=timedelta(minutes=settings().sync_deadline_minutes),
            callback=AsyncCallback(RunIsLate, kwargs={"dag_id": ids.sync_dag(sync.entity)}),
        ),
    }


def backfill_options(sync: Sync) -> dict[str, Any]:
    """
    Build the arguments of `@dag` for a backfill, except its schedule.

    It has no outlets: history triggers no DAG downstream.
    """
    return {
        "dag_id": ids.backfill_dag(sync.entity),
        "catchup": False,
        "max_active_runs": 4,
        "tags": ["backfill", sync.entity],
        "params": {
            "emit_events": Param(
                False, type="boolean", title="Emit events", description="Deliver the events of changes to subscribers"
            ),
        },
        "default_args": _task_defaults(sync),
    }


def sync_tasks(sync: Sync) -> None:
    """
    Add the tasks extract → validate → load to the DAG that is being defined; only the run's id travels between them.

    A sync that is shared among workers has these three tasks once for each shard, in the mapped group `shard`.
    """

    @task(task_id="extract")
    def extract_task(shard: str | None = None, *, params: Any = None, dag_run: Any = None) -> str:
        with explained_failures():
            return _extract(sync, _shard_of_request(request_of(params), shard), dag_run)

    def chain(shard: str | None = None) -> None:
        _load_task(sync, outlets=[Asset(asset_of(sync.entity))])(_validate_task(sync)(extract_task(shard)))

    shards = _shards_of(sync)
    if len(shards) == 1:
        chain()
    else:
        task_group(group_id="shard")(chain).expand(shard=shards)


def _shards_of(sync: Sync) -> list[str]:
    """List the shards into which the installation divides *sync*: `1/2`, `2/2`."""
    # A declared source is read in one range, which cannot be divided.
    of = settings().shards_of(sync.entity) if sync.entity in SYNCS else 1
    return [f"{number}/{of}" for number in range(1, of + 1)]


def _shard_of_request(request: SyncRequest, shard: str | None) -> SyncRequest:
    """
    Restrict *request* to one shard.

    Raises:
        AirflowSkipException: a request with keys or a limit is not divided; the first shard reads all of it.

    """
    if shard is None:
        return request
    if not (request.keys or request.limit):
        return msgspec.structs.replace(request, shard=shard)
    if shard.startswith("1/"):
        return request
    raise AirflowSkipException("A request with keys or a limit is not divided: the first shard reads all of it")


def backfill_tasks(sync: Sync) -> None:
    """Add the same tasks for the day that is the run's partition key."""

    @task(task_id="extract")
    def extract_task(*, params: Any = None, dag_run: Any = None, partition_key: Any = None) -> str:
        with explained_failures():
            refuse_renamed(params)
            request = backfill_request(str(partition_key), emit_events=bool(params["emit_events"]))
            return _extract(sync, request, dag_run)

    _load_task(sync, outlets=[])(_validate_task(sync)(extract_task()))


def _extract(sync: Sync, request: SyncRequest, dag_run: Any) -> str:
    """
    Extract, unless the integration is paused: then nothing is read, and the task is skipped instead of failing.

    Only this first task checks that: pages that have landed need the source no longer, and are loaded.
    """
    try:
        with systems_of(sync, starts=True) as systems:
            return extract(sync, systems, request, dag_id=dag_run.dag_id, dag_run_id=dag_run.run_id)
    except IntegrationPaused as paused:
        with Store.from_connection(settings().store_connection) as store:
            mark_failed(sync, store, dag_run.run_id, str(paused), dag_id=dag_run.dag_id, shard=request.shard)
        raise AirflowSkipException(with_hint(paused)) from None


def _validate_task(sync: Sync) -> Any:
    @task(task_id="validate")
    def validate_task(sync_run: str) -> str:
        with explained_failures(), systems_of(sync) as systems:
            return validate(sync, systems, sync_run)

    return validate_task


def _load_task(sync: Sync, *, outlets: list[Asset]) -> Any:
    @task(task_id="load", outlets=outlets)
    def load_task(sync_run: str) -> dict[str, Any]:
        with explained_failures(), systems_of(sync) as systems:
            return load(sync, systems, sync_run).as_document()

    return load_task


def _form(sync: Sync) -> dict[str, Param]:
    return {
        "full": Param(False, type="boolean", title="Full", description="Read everything, regardless of the watermark"),
        "since": Param(None, type=["null", "string"], format="date-time", title="Modified since"),
        "until": Param(None, type=["null", "string"], format="date-time", title="Modified before"),
        "keys": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Keys",
            description=f"Only records with these keys ({sync.key_field})",
        ),
        "limit": Param(
            0, type="integer", minimum=0, title="Limit", description="Stop after about this many records; 0 for all"
        ),
        "allow_shrink": Param(
            False,
            type="boolean",
            title="Allow shrink",
            description="Accept an empty or much smaller source (disables the shrink check)",
        ),
    }


def _task_defaults(sync: Sync) -> dict[str, Any]:
    return {
        "retries": settings().task_retries,
        "retry_delay": timedelta(seconds=settings().retry_delay_s),
        "retry_policy": RetryByKind(),
        # A declared integration has no pool of its own: the declared rate limits its calls.
        "pool": ids.prefixed(sync.integration) if sync.entity in SYNCS else "default_pool",
        "on_failure_callback": lambda context: end_run(sync, context),
    }


def request_of(params: Mapping[str, Any]) -> SyncRequest:
    """
    Parse the DAG's form, or the `conf` of a REST call.

    Raises:
        BadRequest: a field is unknown or was renamed, or two contradict each other; the message says which.

    """
    return SyncRequest.of({name: value for name, value in params.items() if value not in (None, "", [])})


def end_run(sync: Sync, context: Mapping[str, Any]) -> None:
    """End the run as failed and free its lease, once the retries are used up (`on_failure_callback`)."""
    error, dag_run = cause_of(context.get("exception")), context["dag_run"]
    if isinstance(error, LeaseLost) and error.to_itself:
        return  # A worker that woke too late must not end the run that another worker is carrying out.
    with Store.from_connection(settings().store_connection) as store:
        mark_failed(
            sync,
            store,
            dag_run.run_id,
            str(error or "the task was stopped from outside"),
            dag_id=dag_run.dag_id,
            shard=_shards_of(sync)[index] if (index := context["ti"].map_index) >= 0 else None,
        )
