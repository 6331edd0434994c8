"""./hub backfill STREAM --from --to: read history day by day, by default only missing days."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import day_option
from crossdock.cli.session import find_stream, open_store, running_stack
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from crossdock.core.errors import BadRequest
from crossdock.core.ids import backfill_dag
from crossdock.stack import dag_runs
from crossdock.sync import Stream, ledger
from crossdock.sync.backfill import Only, days_to_run
from crossdock.sync.model import WHOLE, RunState

_CONFLICT = 409


def backfill(
    stream: Annotated[
        str, typer.Argument(help="commercetools.inventory; or inventory, where only one integration has it.")
    ],
    first: Annotated[date, day_option("--from", "The first day, as 2026-01-01.")],
    last: Annotated[date, day_option("--to", "The last day, included.")],
    only: Annotated[Only, typer.Option(help="Which days to run.")] = Only.MISSING,
    emit_events: Annotated[
        bool, typer.Option("--emit-events", help="Deliver the events of changes to subscribers.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the days without starting anything.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Read days of history again. Safe to interrupt and to repeat: finished days are no longer missing."""
    found = find_stream(stream)
    if not found.reads_windows:
        raise BadRequest(f"{found.id} has no backfill: its source cannot be asked for what changed in a window")
    api = running_stack().api()
    with open_store() as store:
        days = days_to_run(store, found.lease(WHOLE), first=first, last=last, only=only)
    if dry_run or not days:
        _show(found.id, days, Counter(), as_json=as_json, started=False)
        return
    api.refuse_paused(backfill_dag(found.id))
    started = {day: _start(api, found.id, day, emit_events=emit_events) for day in days}
    with console.progress(f"backfill {found.id}") as bar:
        states = Counter(
            _end_of(api, found.id, run_id, bar, number, len(days)) for number, run_id in enumerate(started.values())
        )
    _show(found.id, days, states, as_json=as_json, started=True)
    if states["success"] < len(days):
        raise typer.Exit(Exit.FAILED)
    if _any_partial(found, days):
        console.say(f"Some records are in quarantine: ./hub quarantine list --stream {found.id}")
        raise typer.Exit(Exit.PARTIAL)


def _any_partial(stream: Stream, days: list[date]) -> bool:
    """Check whether the last run of one of *days* has records in quarantine."""
    with open_store() as store, store.transaction() as work:
        last = {run.request.backfill_day: run.state for run in reversed(ledger.backfills(work, stream.id))}
    return any(last.get(day.isoformat()) is RunState.PARTIAL for day in days)


def _start(api: AirflowApi, stream: str, day: date, *, emit_events: bool) -> str:
    """Start the DAG run of *day*, or find the one that is still running."""
    dag_id, key = backfill_dag(stream), day.isoformat()
    body: dict[str, Any] = {"partition_key": key, "logical_date": None, "conf": {"emit_events": emit_events}}
    try:
        return str(api.post(f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])
    except AirflowRefused as refused:
        if refused.status != _CONFLICT:
            raise
        return f"partition__{key}"


def _end_of(api: AirflowApi, stream: str, run_id: str, bar: console.Bar, number: int, days: int) -> str:
    def look() -> str | None:
        state = str(api.dag_run(backfill_dag(stream), run_id)["state"])
        return state if state in ("success", "failed") else None

    bar.update(f"{number} of {days} days done", done=number, total=days)
    return dag_runs.wait_for(look, f"DAG run {run_id}", timeout_s=3600)


def _show(stream: str, days: list[date], states: Counter[str], *, as_json: bool, started: bool) -> None:
    if as_json:
        runs = {"started": len(days) if started else 0, "states": dict(states)}
        console.show_json({"stream": stream, "days": [day.isoformat() for day in days], **runs})
    elif not days:
        console.success("0 runs: no days are missing.")
    elif not started:
        console.out.print(f"{len(days)} days: {days[0]} … {days[-1]}")
    else:
        show = console.success if states["success"] == len(days) else console.error
        show(f"{states['success']} of {len(days)} days are done. To see each run: ./hub runs --stream {stream}")
