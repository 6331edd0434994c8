"""./hub backfill STREAM --from --to: read history day by day, by default only missing days."""

from __future__ import annotations

from collections import Counter
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import day_option
from crossdock.cli.options import Json
from crossdock.cli.session import airflow_api
from crossdock.cli.streams import StreamName, stream_named
from crossdock.client import dag_runs
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest
from crossdock.core.pages import LARGEST_PAGE
from crossdock.core.paths import path_of

_CONFLICT = 409


class Only(StrEnum):
    """The days for which a backfill runs, as the API names them."""

    MISSING = "missing"
    FAILED = "failed"
    ALL = "all"


def backfill(
    stream: StreamName,
    first: Annotated[date, day_option("--from", "The first day, as 2026-01-01.")],
    last: Annotated[date, day_option("--to", "The last day, included.")],
    only: Annotated[Only, typer.Option(help="Which days to run.")] = Only.MISSING,
    emit_events: Annotated[
        bool, typer.Option("--emit-events", help="Deliver the events of changes to subscribers.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the days without starting anything.")] = False,
    as_json: Json = False,
) -> None:
    """Read days of history again. Safe to interrupt and to repeat: finished days are no longer missing."""
    api = airflow_api(starts_runs=not dry_run)
    hub = HubApi(api)
    found = stream_named(hub, stream)
    stream_id, dag_id = found["id"], found["backfill_dag"]
    if dag_id is None:
        raise BadRequest(f"{stream_id} has no backfill: its source cannot be asked for what changed in a window")
    span = {"first": first.isoformat(), "last": last.isoformat()}
    days = hub.get(path_of("streams", stream_id, "backfill-days"), only=only.value, **span).document["days"]
    if dry_run or not days:
        _show(stream_id, days, Counter(), as_json=as_json, started=False)
        return
    api.refuse_paused(dag_id)
    started = {day: _start(api, dag_id, day, emit_events=emit_events) for day in days}
    with console.progress(f"backfill {stream_id}") as bar:
        states = Counter(
            _end_of(api, dag_id, run_id, bar, number, len(days)) for number, run_id in enumerate(started.values())
        )
    _show(stream_id, days, states, as_json=as_json, started=True)
    if states["success"] < len(days):
        raise typer.Exit(Exit.FAILED)
    if _any_partial(hub, dag_id, days):
        console.say(f"Some records are in quarantine: ./hub quarantine list --stream {stream_id}")
        raise typer.Exit(Exit.PARTIAL)


def _any_partial(hub: HubApi, dag_id: str, days: list[str]) -> bool:
    """Check whether the last run of one of *days* has records in quarantine."""
    waiting, cursor = set(days), None
    while waiting:
        page = hub.get("/runs", dag_id=dag_id, limit=LARGEST_PAGE, cursor=cursor).document
        for run in page["runs"]:  # Newest first.
            if run["backfill_day"] in waiting:
                waiting.discard(run["backfill_day"])
                if run["state"] == "partial":
                    return True
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return False


def _start(api: AirflowApi, dag_id: str, day: str, *, emit_events: bool) -> str:
    """Start the DAG run of *day*, or find the one that is still running."""
    body: dict[str, Any] = {"partition_key": day, "logical_date": None, "conf": {"emit_events": emit_events}}
    try:
        return str(api.post(path_of("dags", dag_id, "dagRuns"), body)["dag_run_id"])
    except AirflowRefused as refused:
        if refused.status != _CONFLICT:
            raise
        return f"partition__{day}"


def _end_of(api: AirflowApi, dag_id: str, run_id: str, bar: console.Bar, number: int, days: int) -> str:
    bar.update(f"{number} of {days} days done", done=number, total=days)
    return dag_runs.wait_for_end(api, dag_id, run_id)


def _show(stream: str, days: list[str], states: Counter[str], *, as_json: bool, started: bool) -> None:
    if as_json:
        runs = {"started": len(days) if started else 0, "states": dict(states)}
        console.show_json({"stream": stream, "days": days, **runs})
    elif not days:
        console.success("0 runs: no days are missing.")
    elif not started:
        console.show(f"{len(days)} days: {days[0]} … {days[-1]}")
    else:
        show = console.success if states["success"] == len(days) else console.error
        show(f"{states['success']} of {len(days)} days are done. To see each run: ./hub runs --stream {stream}")
