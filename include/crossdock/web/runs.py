"""Runs: the list, one run with the account of its rows, its rows by outcome, and the runs of a DAG run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from crossdock.api.access import guard
from crossdock.api.dependencies import (
    PLAIN,
    AirflowUnavailable,
    FailedTask,
    OpenStore,
    RetryingTask,
    Router,
    RowCursor,
    cursor_like,
    cursor_of_row,
    failed_tasks,
    place_of_row,
    retrying_tasks,
)
from crossdock.app import personal_data, shown_runs
from crossdock.app.streams import dataset_of, existing
from crossdock.core.ids import workflow_of_dag
from crossdock.core.roles import Caller, Role
from crossdock.http import call_metrics
from crossdock.sync import landing, ledger, run_rows_repository, run_steps_repository
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState
from crossdock.sync.run_rows_repository import Outcome
from crossdock.sync.run_steps_repository import Step
from crossdock.web.filters import Filter
from crossdock.web.page import go_to, show
from crossdock.workflows import repository as engine
from crossdock.workflows.declared.executions import subject_of

router = Router()

RunId = Annotated[str, Path(max_length=200, pattern=PLAIN)]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
_ON_A_PAGE = 50
#: States of a run after which there is no failed task to look for.
_WELL = frozenset({RunState.DONE, RunState.PARTIAL})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@router.get("/runs")
def runs(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    stream: Filter = None,
    integration: Filter = None,
    state: Annotated[str | None, Query(pattern=rf"^({'|'.join(RunState)})?$")] = None,
    dag_id: Filter = None,
    dag_run_id: Filter = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,16}\.[A-Za-z0-9_.-]{1,150}$")] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        found = ledger.page(
            work,
            stream=stream,
            integration=integration,
            state=RunState(state) if state else None,
            dag_id=dag_id,
            dag_run_id=dag_run_id,
            after=_place_of(cursor) if cursor else None,
            limit=_ON_A_PAGE + 1,
        )
    page = found[:_ON_A_PAGE]
    asked = {
        "stream": stream,
        "integration": integration,
        "state": state or None,
        "dag_id": dag_id,
        "dag_run_id": dag_run_id,
    }
    return show(
        request,
        caller,
        "runs.html",
        runs=page,
        asked=asked,
        streams=sorted({one.stream.id for one in existing()} | ({stream} if stream else set())),
        states=list(RunState),
        cursor=cursor,
        next_cursor=_cursor_of(page[-1]) if len(found) > _ON_A_PAGE else None,
    )


@router.get("/runs/{run_id}")
def run(request: Request, store: OpenStore, caller: Viewer, run_id: RunId) -> HTMLResponse:
    with store.transaction() as work:
        found = ledger.get(work, run_id)
        before = ledger.before(work, found)
        steps = run_steps_repository.steps_of(work, run_id)
        calls = call_metrics.usage_of_run(work, run_id)
        # Shown of a failed run only: a large one has thousands of pages.
        pages = landing.pages_of(work, run_id) if found.state is RunState.FAILED else []
    return show(
        request,
        caller,
        "run.html",
        run=found,
        keys=personal_data.masked_keys(found.request.keys, found.dataset),
        warnings=shown_runs.shown_warnings(found),
        before=before,
        waterfall=_waterfall(found, steps),
        calls=calls,
        landed=sum(page.records for page in pages),
        **_failure_of(found.dag_id, found.dag_run_id, state=found.state, shard=found.shard),
    )


@router.get("/runs/{run_id}/rows")
def rows(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    run_id: RunId,
    outcome: Outcome | None = None,
    cursor: RowCursor = None,
) -> HTMLResponse:
    with store.transaction() as work:
        found = ledger.get(work, run_id)
        after = place_of_row(cursor) if cursor else None
        listed = run_rows_repository.rows_of(
            work, dataset_of(found.dataset), found, outcome=outcome, after=after, limit=_ON_A_PAGE + 1
        )
    page = listed[:_ON_A_PAGE]
    return show(
        request,
        caller,
        "run_rows.html",
        run=found,
        outcome=outcome,
        outcomes=list(Outcome),
        rows=[shown_runs.shown_row(row, found.dataset) for row in page],
        cursor=cursor,
        next_cursor=cursor_of_row(page[-1].place) if len(listed) > _ON_A_PAGE else None,
    )


@router.get("/dag-run")
def dag_run(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    dag_id: Annotated[str, Query(max_length=250, pattern=PLAIN)],
    run_id: Annotated[str, Query(max_length=250, pattern=PLAIN)],
) -> Response:
    """Show what the hub did in a DAG run of Airflow: its run, or all of them where several workers shared it."""
    with store.transaction() as work:
        found = ledger.page(work, dag_id=dag_id, dag_run_id=run_id, limit=_ON_A_PAGE)
        if workflow_id := workflow_of_dag(dag_id):
            executed = engine.of_subject(work, subject_of(workflow_id, run_id))
            if executed:
                return go_to(request, "executions", executed[0].execution_id)
    if len(found) == 1:
        return go_to(request, "runs", found[0].run_id)
    failure = _failure_of(dag_id, run_id)
    return show(request, caller, "dag_run.html", runs=found, dag_id=dag_id, dag_run_id=run_id, **failure)


def _failure_of(
    dag_id: str | None, dag_run_id: str | None, *, state: RunState | None = None, shard: str = ""
) -> dict[str, Any]:
    """Ask Airflow which tasks failed, or are tried again, and why; a page without the answer says so."""
    failed: list[FailedTask] = []
    retrying: list[RetryingTask] = []
    is_known = True
    if dag_id and dag_run_id and state not in _WELL:
        try:
            if state is not RunState.RUNNING:
                failed = failed_tasks(dag_id, dag_run_id, shard)
            if state in (None, RunState.RUNNING):
                retrying = retrying_tasks(dag_id, dag_run_id, shard)
        except AirflowUnavailable:
            is_known = False
    return {"failed": failed, "retrying": retrying, "is_known": is_known}


def _waterfall(found: Run, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Place each step within the time of the run: where it begins and how wide it is, in percent."""
    began, whole = found.started_at, max(found.seconds, 0.001)
    names = {"pages": ("Read", "page", "pages"), "batches": ("Validate and load", "batch", "batches")}
    placed = []
    for step in steps:
        if not step.parts:
            continue
        first, last = step.first_at or began, step.last_at or began
        start = 0.0 if step.name == "pages" else _percent((first - began).total_seconds(), whole)
        end = max(_percent((last - began).total_seconds(), whole), start + 1)
        title, one, many = names[step.name]
        placed.append(
            {
                "title": title,
                "what": f"{step.done:,} of {step.parts:,} {one if step.parts == 1 else many}",
                "records": step.records,
                "start": start,
                "width": end - start,
                "from_s": 0.0 if step.name == "pages" else (first - began).total_seconds(),
                "until_s": (last - began).total_seconds(),
            }
        )
    return placed


def _percent(seconds: float, whole: float) -> float:
    return round(min(max(100 * seconds / whole, 0.0), 99.0), 2)


def _cursor_of(found: Run) -> str:
    return f"{(found.started_at - _EPOCH) // timedelta(microseconds=1)}.{found.run_id}"


def _place_of(cursor: str) -> tuple[datetime, str]:
    microseconds, _, run_id = cursor.partition(".")
    return _EPOCH + timedelta(microseconds=int(microseconds)), run_id
