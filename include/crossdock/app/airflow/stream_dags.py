"""Build the DAGs of each stream, its sync and its backfill: form, retries, deadline, tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from airflow.sdk import (  # type: ignore[attr-defined]  # the stub lags behind
    DAG,
    Asset,
    AsyncCallback,
    CronPartitionTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    get_parsing_context,
    task,
    task_group,
)
from airflow.sdk.exceptions import AirflowSkipException

from crossdock.app.airflow.dag_alerts import dag_failed, dag_succeeded, reason_of
from crossdock.app.airflow.deadlines import RunIsLate
from crossdock.app.airflow.hints import with_hint
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.run_account import HubRecordLink, leave_note, note_failure, tell
from crossdock.app.airflow.systems import systems_of
from crossdock.app.airflow.task_failures import cause_of, explained_failures
from crossdock.app.streams import ExistingStream, existing
from crossdock.core import ids
from crossdock.core.errors import BadRequest, IntegrationPaused, LeaseLost
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.sync import Stream, extract, load, mark_failed, validate
from crossdock.sync.assets import asset_of
from crossdock.sync.backfill import backfill_request
from crossdock.sync.model import SyncRequest, refuse_renamed

#: All types of runs but `backfill`: a sync reads what changed since the watermark, and has no interval to read again.
#: Any: Airflow has no public type for them.
_RUN_TYPES: Any = ("scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization")

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

**Triage.** A failed task's log ends with what is wrong and what to do; the run's note has it, too. Nothing is lost. Of a
scheduled run nothing need be done at once: the next one reads what changed and this one did not read. A run with *Full*, *Keys*
or a time of its own is not made up for by a later one: clear its failed task here (*Clear Task Instance*). Every task can be
cleared at any time.

Records that fail a rule do not fail the run; to see them: `./hub quarantine list --stream {stream}`.

A run that is *on hold* (`held`) read nothing or far too little. Check the source, and if it is right, trigger this DAG with
*Full* and *Allow shrink*, or run `./hub sync {stream} --full --allow-shrink`.

What a run did with every record: the button *Run in the hub* of its tasks, or `./hub run show ID`.

Airflow's *Backfill* is not for this DAG: it reads what changed since the watermark, and has no interval to read again.
"""


_BACKFILL_TRIAGE = """
To start it for other days: *Backfill* in this UI (a day counts from its 03:00 UTC on, so choose *To* a day later),
REST `/backfills`, or `./hub backfill {stream} --from 2026-01-01 --to 2026-01-31`, which runs only the missing days.

**Triage.** Every run can be cleared, and days may run in any order and beside the live sync: older
versions never overwrite newer ones, the watermark stays, and no events are delivered unless `emit_events` is set.
A failed task means the same as in `{sync_dag}`.
"""


def define(file_no: int) -> dict[str, DAG]:
    """
    Build the DAGs of one DAG file by ID: two for each of its streams.

    In a task's process only the DAG of the task is built.
    """
    only = get_parsing_context().dag_id
    found: dict[str, DAG] = {}
    for one in existing(file_no):
        sync_id, backfill_id = ids.sync_dag(one.stream.id), ids.backfill_dag(one.stream.id)
        if only in (None, sync_id):
            found[sync_id] = _sync_dag(one)
        if one.stream.reads_windows and only in (None, backfill_id):
            found[backfill_id] = _backfill_dag(one)
    return found


def _sync_dag(one: ExistingStream) -> DAG:
    """Build the DAG of a sync. A sync in shards has its three tasks once for each shard."""
    stream = one.stream
    described = f"Sync the {stream.dataset.name} of {one.title} into the hub"
    with DAG(
        dag_id=ids.sync_dag(stream.id),
        description=described,
        schedule=one.schedule,
        doc_md=f"{described}.\n{_TRIAGE.format(stream=stream.id)}",
        # No start date: with one, Airflow starts a run as soon as it first sees the DAG; without one, only at the
        # next tick of the schedule.
        catchup=False,
        allowed_run_types=_RUN_TYPES,
        max_active_runs=1,
        tags=["sync", *_tags(stream)],
        default_args=_task_defaults(one),
        deadline=DeadlineAlert(
            # Airflow shows it at each run, whether or not it was missed.
            name=f"no later than usual + {settings().sync_deadline_minutes:g} min",
            # Not DAGRUN_QUEUED_AT: with it, Airflow 3.3.2 answers every "clear" of a run with HTTP 500
            # (apache/airflow#70368), and an operator recovers by clearing.
            reference=DeadlineReference.AVERAGE_RUNTIME(max_runs=10, min_runs=1),
            interval=timedelta(minutes=settings().sync_deadline_minutes),
            callback=AsyncCallback(RunIsLate, kwargs={"dag_id": ids.sync_dag(stream.id), "stream": stream.id}),
        ),
    ) as dag:
        _sync_tasks(one)
    _add_form(dag, _form(stream))
    return dag


def _backfill_dag(one: ExistingStream) -> DAG:
    """Build the DAG of a backfill. It has no outlets: history triggers no DAG downstream."""
    stream = one.stream
    described = f"Read one day of the {stream.dataset.name} of {one.title} again; each night, yesterday"
    triage = _BACKFILL_TRIAGE.format(stream=stream.id, sync_dag=ids.sync_dag(stream.id))
    emit_events = Param(
        False, type=["null", "boolean"], title="Emit events", description="Deliver the events of changes to subscribers"
    )
    with DAG(
        dag_id=ids.backfill_dag(stream.id),
        description=described,
        schedule=EACH_DAY,
        doc_md=f"{described}.\n{triage}",
        catchup=False,
        max_active_runs=4,
        tags=["backfill", *_tags(stream)],
        default_args=_task_defaults(one),
    ) as dag:
        _backfill_tasks(stream)
    _add_form(dag, {"emit_events": emit_events})
    return dag


def _add_form(dag: DAG, form: Mapping[str, Param]) -> None:
    """
    Add the *form* of a run to a DAG that has its tasks already.

    Its tasks read it from the DAG. One that is given to the DAG at first is checked against the JSON Schema of JSON Schema
    and copied four times for each task, which is more than half of what parsing costs.
    """
    for name, param in form.items():
        dag.params[name] = param


def _tags(stream: Stream) -> list[str]:
    return [stream.integration, stream.dataset.name]


def _sync_tasks(one: ExistingStream) -> None:
    """
    Add the tasks extract → validate → load to the DAG that is being defined; only the run's id travels between them.

    A sync that is shared among workers has these three tasks once for each shard, in the mapped group `shard`.
    """
    stream = one.stream

    @task(task_id="extract")
    def extract_task(shard: str | None = None, *, params: Any = None, dag_run: Any = None, ti: Any = None) -> str:
        with explained_failures():
            refuse_backfill(stream, dag_run)
            return _extract(stream, _shard_of_request(request_of(params), shard), dag_run, ti)

    def chain(shard: str | None = None) -> None:
        loads = _load_task(stream, Asset(asset_of(stream.integration, stream.dataset.name)))
        _chained(extract_task(shard), _validate_task(stream), loads)

    shards = _shard_names(one.shards)
    if len(shards) == 1:
        chain()
    else:
        task_group(group_id="shard")(chain).expand(shard=shards)


def _shard_names(of: int) -> list[str]:
    """Name the shards into which a sync is divided: `1/2`, `2/2`."""
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


def refuse_backfill(stream: Stream, dag_run: Any) -> None:
    """
    Refuse a run that Airflow's backfill started before `allowed_run_types` kept it from doing so.

    Raises:
        BadRequest: it is one; the message names the command to use.

    """
    if dag_run.run_type != "backfill":
        return
    day = f"{dag_run.logical_date:%Y-%m-%d}" if dag_run.logical_date else "DAY"
    instead = f"backfill {stream.id} --from {day} --to {day}" if stream.reads_windows else f"sync {stream.id} --full"
    raise BadRequest(
        f"A run of {dag_run.dag_id} reads what changed since the watermark, not the interval of a backfill. "
        f"Nothing was read. Use: ./hub {instead}"
    )


def _backfill_tasks(stream: Stream) -> None:
    """Add the same tasks for the day that is the run's partition key."""

    @task(task_id="extract")
    def extract_task(*, params: Any = None, dag_run: Any = None, ti: Any = None, partition_key: Any = None) -> str:
        with explained_failures():
            refuse_renamed(params)
            request = backfill_request(str(partition_key), emit_events=bool(params["emit_events"]))
            return _extract(stream, request, dag_run, ti)

    _chained(extract_task(), _validate_task(stream), _load_task(stream, on_success=dag_succeeded))


def _chained(extracted: Any, validates: Any, loads: Any) -> None:
    """Put the tasks one after the other, each with the button that opens the hub's record of the run."""
    validated = validates(extracted)
    for one in (extracted, validated, loads(validated)):
        one.operator.operator_extra_links = (HubRecordLink(),)


def _extract(stream: Stream, request: SyncRequest, dag_run: Any, ti: Any) -> str:
    """
    Extract, unless the integration is paused: then nothing is read, and the task is skipped instead of failing.

    Only this first task checks that: pages that have landed need the source no longer, and are loaded.
    """
    try:
        with systems_of(stream, starts=True) as systems:
            return extract(stream, systems, request, dag_id=dag_run.dag_id, dag_run_id=dag_run.run_id)
    except IntegrationPaused as paused:
        with Store.from_connection(settings().store_connection) as store:
            mark_failed(stream, store, dag_run.run_id, str(paused), dag_id=dag_run.dag_id, shard=request.shard)
        leave_note(ti, with_hint(paused))
        raise AirflowSkipException(with_hint(paused)) from None


def _validate_task(stream: Stream) -> Any:
    @task(task_id="validate")
    def validate_task(sync_run: str) -> str:
        with explained_failures(), systems_of(stream) as systems:
            return validate(stream, systems, sync_run)

    return validate_task


def _load_task(stream: Stream, asset: Asset | None = None, *, on_success: Any = None) -> Any:
    """Load; tell what became of each record, in the event of *asset*, too."""

    @task(task_id="load", outlets=[asset] if asset else [], on_success_callback=on_success)
    def load_task(sync_run: str, *, ti: Any = None, outlet_events: Any = None) -> dict[str, Any]:
        with explained_failures(), systems_of(stream) as systems:
            report = load(stream, systems, sync_run)
            tell(systems.store, sync_run, ti=ti, event=outlet_events[asset] if asset else None)
            return report.as_document()

    return load_task


def _form(stream: Stream) -> dict[str, Param]:
    """Describe the form. Every field may be empty: Airflow marks one that does not accept null as required."""
    return {
        "full": Param(
            False,
            type=["null", "boolean"],
            title="Full",
            description="Read everything, regardless of the watermark",
        ),
        "since": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified since",
            description="Read what was modified at this time or later, by the source's clock",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified before",
            description="Read what was modified before this time; the watermark stays",
        ),
        "keys": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="Keys",
            description=f"Only records with these keys ({stream.key_field}), one a line",
        ),
        "limit": Param(
            0,
            type=["null", "integer"],
            minimum=0,
            title="Limit",
            description="Stop after about this many records; 0 or empty for all",
        ),
        "allow_shrink": Param(
            False,
            type=["null", "boolean"],
            title="Allow shrink",
            description="Accept an empty or much smaller source (disables the shrink check)",
        ),
    }


def _task_defaults(one: ExistingStream) -> dict[str, Any]:
    return {
        "owner": ids.OWNER,
        "retries": settings().task_retries,
        "retry_delay": timedelta(seconds=settings().retry_delay_s),
        "retry_policy": RetryByKind(),
        # The pool is made with the integration. A file alone makes none; there the declared rate limits the calls.
        "pool": ids.prefixed(one.stream.integration) if one.registered else "default_pool",
        "on_failure_callback": [lambda context: end_run(one, context), note_failure],
    }


def request_of(params: Mapping[str, Any]) -> SyncRequest:
    """
    Parse the DAG's form, or the `conf` of a REST call.

    Raises:
        BadRequest: a field is unknown or was renamed, or two contradict each other; the message says which.

    """
    return SyncRequest.of({name: value for name, value in params.items() if value not in (None, "", [])})


def end_run(one: ExistingStream, context: Mapping[str, Any]) -> None:
    """End the run as failed and free its lease, once the retries are used up (`on_failure_callback`)."""
    error, dag_run = cause_of(context.get("exception")), context["dag_run"]
    if isinstance(error, LeaseLost) and error.to_itself:
        return  # A worker that woke too late must not end the run that another worker is carrying out.
    shard = _shard_names(one.shards)[index] if (index := context["ti"].map_index) >= 0 else None
    with Store.from_connection(settings().store_connection) as store:
        if mark_failed(
            one.stream,
            store,
            dag_run.run_id,
            str(error or "the task was stopped from outside"),
            dag_id=dag_run.dag_id,
            shard=shard,
        ):
            return
    if dag_run.dag_id == ids.backfill_dag(one.stream.id):
        dag_failed(context, integration=one.stream.integration, stream=one.stream.id)
    else:
        _sync_failed_early(one.stream, SyncRequest(shard=shard), context)


def _sync_failed_early(stream: Stream, request: SyncRequest, context: Mapping[str, Any]) -> None:
    """Open the alert of a run that the ledger does not know; the next one of the same lease that ends well closes it."""
    what = Found(
        f"The sync of {stream.id} failed before it began: {reason_of(context.get('exception'))}",
        examples=(f"run {context['dag_run'].run_id}",),
        integration=stream.integration,
        stream=stream.id,
    )
    with Store.from_connection(settings().store_connection) as store, store.transaction() as work:
        alerts.add(work, Kind.RUN_FAILED, str(stream.lease(request.lease_shard)), what)
