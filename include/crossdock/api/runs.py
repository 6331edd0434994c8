"""REST resources of the ledger: each run, with the outcome of every record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Path, Query
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.airflow_lookups import AirflowUnavailable
from crossdock.api.dependencies import OpenStore
from crossdock.api.failed_tasks import failed_tasks, retrying_tasks
from crossdock.api.integration_health import CallsDocument
from crossdock.api.pagination import Limit, RowCursor, cursor_like, cursor_of_row, place_of_row
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN
from crossdock.app import personal_data, shown_runs
from crossdock.app.streams import dataset_of
from crossdock.core.roles import Role
from crossdock.http import call_metrics
from crossdock.sync import landing, ledger, run_rows_repository
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts, Mode, RunState
from crossdock.sync.run_rows_repository import Outcome, Row

T = TypeVar("T")

router = Router(prefix="/runs", tags=["runs"])


class CountsDocument(BaseModel):
    """The outcomes of records: read = the sum of the others."""

    read: int
    inserted: int
    updated: int
    unchanged: int
    stale: int
    rejected: int = Field(description="Records in quarantine, each with its reason.")
    held: int


class WarningDocument(BaseModel):
    rule: str
    message: str
    records: int
    examples: list[str] = Field(description="IDs of some of the records, masked where they may be a personal key.")


class RunDocument(BaseModel):
    run_id: str
    stream: str = Field(examples=["commercetools.inventory"])
    integration: str
    dataset: str
    shard: str = Field(description="`all`, or the shard of the ids that the run read.")
    mode: Mode
    state: RunState
    keys: list[str] = Field(
        description="The keys that it was asked for, each once, masked where they are personal; empty for all records."
    )
    backfill_day: str | None = Field(description="The day that a backfill's run is for, as 2026-11-21.")
    dag_id: str | None
    dag_run_id: str | None
    attempt: int = Field(description="Counts the runs of the same shard of the same DAG run.")
    window_low: datetime | None
    window_high: datetime | None
    counts: CountsDocument
    lines: CountsDocument = Field(description="The same counts for the lines of the records.")
    balanced: bool = Field(description="Whether each record and line that was read has exactly one outcome.")
    drift: list[dict[str, Any]] | None
    warnings: list[WarningDocument] = Field(
        description="Rules of the level `warn` that loaded records fail. The records are in the hub."
    )
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    seconds: float


class FailedTaskDocument(BaseModel):
    """A task for which the run failed."""

    task_id: str
    map_index: int | None = Field(description="Which of several tasks of this name; null where there is one.")
    tries: int = Field(description="How often it was tried.")
    reason: str | None = Field(
        description="Why the last try failed; null where its process was gone before it could say so."
    )


class RetryDocument(BaseModel):
    """A task of the run whose last try failed, and that Airflow tries again."""

    task_id: str
    map_index: int | None = Field(description="Which of several tasks of this name; null where there is one.")
    tries: int = Field(description="How many tries have failed.")
    most_tries: int = Field(description="How many tries there are at most.")
    reason: str | None = Field(
        description="Why the last try failed; null where its process was gone before it could say so."
    )
    next_try_at: datetime | None = Field(
        description="When Airflow starts the next try; null where that is queued or running."
    )


class RunDetailDocument(RunDocument):
    """One run with its progress and its calls."""

    expected_records: int | None = Field(description="How many records the source reported for the window, if it did.")
    landed: int = Field(description="Records in the run's pages, while they are kept.")
    calls: CallsDocument
    failed_tasks: list[FailedTaskDocument] = Field(
        description="The failed tasks of a failed run's DAG run; empty where Airflow has it no more, or does not answer."
    )
    retries: list[RetryDocument] = Field(
        description="Tasks of a running run that failed and are tried again; empty where none is, or Airflow does not answer."
    )


class RunsPage(BaseModel):
    runs: list[RunDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


class RowDocument(BaseModel):
    """What became of one version of a record."""

    outcome: Outcome
    record_id: str = Field(description="Masked where it is the business key, and that is personal.")
    record_key: str | None = Field(
        description="The business key, masked where it is personal; null if it is not known."
    )
    version: int | None = Field(description="Null for a record that is held: the next run reads it again.")
    item_id: int | None = Field(description="The item in quarantine of a record that was rejected.")
    cause: str | None = Field(description="The first rule that a rejected record failed, when it was read last.")


class RowsPage(BaseModel):
    """Rows of a run, by the record's ID."""

    run_id: str
    stream: str
    counts: CountsDocument = Field(
        description="All outcomes. Of `unchanged` and `stale` records the hub keeps only the number."
    )
    rows: list[RowDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last page.")


RunId = Annotated[str, Path(max_length=200, pattern=PLAIN)]
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDocument, "description": "There is no such run."}}

#: Microseconds since 1970, and the run's id.
_CURSOR = r"^[0-9]{1,16}\.[A-Za-z0-9_.-]{1,150}$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@router.get("", summary="List runs, newest first", dependencies=[guard(Role.VIEWER)])
def list_runs(
    store: OpenStore,
    stream: Annotated[str | None, Query(max_length=200, pattern=PLAIN)] = None,
    integration: Annotated[str | None, Query(max_length=100, pattern=PLAIN)] = None,
    state: RunState | None = None,
    dag_id: Annotated[str | None, Query(max_length=250, pattern=PLAIN)] = None,
    dag_run_id: Annotated[str | None, Query(max_length=250, pattern=PLAIN)] = None,
    cursor: Annotated[str | None, cursor_like(_CURSOR)] = None,
    limit: Limit = 50,
) -> RunsPage:
    with store.transaction() as work:
        found = ledger.page(
            work,
            stream=stream,
            integration=integration,
            state=state,
            dag_id=dag_id,
            dag_run_id=dag_run_id,
            after=_place_of(cursor) if cursor else None,
            limit=limit + 1,
        )
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    return RunsPage(
        runs=[_document(run) for run in page],
        next_cursor=_cursor_of(last) if last else None,
    )


@router.get(
    "/{run_id}",
    summary="Get a run",
    dependencies=[guard(Role.VIEWER)],
    responses=_NONE,
)
def show_run(store: OpenStore, run_id: RunId) -> RunDetailDocument:
    with store.transaction() as work:
        run = ledger.get(work, run_id)
        landed = sum(page.records for page in landing.pages_of(work, run_id))
        usage = call_metrics.usage_of_run(work, run_id)
    return RunDetailDocument(
        **_document(run).model_dump(),
        expected_records=run.expected_records,
        landed=landed,
        calls=CallsDocument.of(usage),
        failed_tasks=[FailedTaskDocument(**task._asdict()) for task in _tasks_of(run, RunState.FAILED, failed_tasks)],
        retries=[RetryDocument(**task._asdict()) for task in _tasks_of(run, RunState.RUNNING, retrying_tasks)],
    )


def _tasks_of(run: Run, state: RunState, find: Callable[[str, str, str], list[T]]) -> list[T]:
    """Find tasks of a run that is in *state*; none where Airflow does not answer."""
    if run.state is state and run.dag_id and run.dag_run_id:
        with suppress(AirflowUnavailable):
            return find(run.dag_id, run.dag_run_id, run.shard)
    return []


@router.get("/{run_id}/rows", summary="List the rows of a run", dependencies=[guard(Role.VIEWER)], responses=_NONE)
def list_rows(
    store: OpenStore,
    run_id: RunId,
    outcome: Annotated[Outcome | None, Query(description="Only rows with this outcome.")] = None,
    cursor: RowCursor = None,
    limit: Limit = 50,
) -> RowsPage:
    """
    List what became of each record of a run: those that it inserted, updated or rejected, and those that are still held.

    Records that were unchanged or stale are counted only. A record that several runs held is listed for the first and the last
    of them. Personal keys are masked.
    """
    with store.transaction() as work:
        run = ledger.get(work, run_id)
        found = run_rows_repository.rows_of(
            work,
            dataset_of(run.dataset),
            run,
            outcome=outcome,
            after=place_of_row(cursor) if cursor else None,
            limit=limit + 1,
        )
    page = found[:limit]
    return RowsPage(
        run_id=run_id,
        stream=run.stream,
        counts=_counts(run.counts),
        rows=[_row(row, run.dataset) for row in page],
        next_cursor=cursor_of_row(page[-1].place) if len(found) > limit else None,
    )


def _row(row: Row, dataset: str) -> RowDocument:
    return RowDocument(**msgspec.structs.asdict(shown_runs.shown_row(row, dataset)))


def _cursor_of(run: Run) -> str:
    return f"{(run.started_at - _EPOCH) // timedelta(microseconds=1)}.{run.run_id}"


def _place_of(cursor: str) -> tuple[datetime, str]:
    microseconds, _, run_id = cursor.partition(".")
    return _EPOCH + timedelta(microseconds=int(microseconds)), run_id


_COMPUTED = frozenset({"counts", "lines", "balanced", "keys", "backfill_day", "warnings"})


def _document(run: Run) -> RunDocument:
    fields = {name: getattr(run, name) for name in RunDocument.model_fields.keys() - _COMPUTED}
    return RunDocument(
        **fields,
        keys=personal_data.masked_keys(run.request.keys, run.dataset),
        backfill_day=run.request.backfill_day,
        counts=_counts(run.counts),
        lines=_counts(run.lines),
        warnings=[WarningDocument(**msgspec.structs.asdict(warned)) for warned in shown_runs.shown_warnings(run)],
        balanced=run.counts.balanced and run.lines.balanced,
    )


def _counts(counts: Counts) -> CountsDocument:
    return CountsDocument(**msgspec.structs.asdict(counts))
