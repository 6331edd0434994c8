"""./hub backfill STREAM --from --to: read history day by day, by default only missing days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest
from crossdock.core.pages import LARGEST_PAGE
from crossdock.core.paths import path_of

_CONFLICT = 409
_SUCCESS = "success"


class Only(StrEnum):
    """The days for which a backfill runs, as the API names them."""

    MISSING = "missing"
    FAILED = "failed"
    ALL = "all"


#: Why there are no days to run.
_NO_DAYS = {
    Only.MISSING: "no days are missing",
    Only.FAILED: "no days have failed",
    Only.ALL: "there are no days in that span",
}


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
    """
    Read days of history again. Safe to interrupt and to repeat: finished days are no longer missing.

    Example: ./hub backfill orders --from 2026-11-01 --to 2026-11-30 --dry-run
    """
    api = airflow_api(starts_runs=not dry_run)
    hub = HubApi(api)
    found = stream_named(hub, stream)
    stream_id, dag_id = found["id"], found["backfill_dag"]
    if dag_id is None:
        raise BadRequest(f"{stream_id} has no backfill: its source cannot be asked for what changed in a window")
    span = {"first": first.isoformat(), "last": last.isoformat()}
    days = hub.get(path_of("streams", stream_id, "backfill-days"), only=only.value, **span).document["days"]
    if dry_run or not days:
        _show_days(stream_id, days, only, as_json=as_json)
        return
    api.refuse_paused(dag_id)
    started = {day: _start(api, dag_id, day, emit_events=emit_events) for day in days}
    with console.progress(f"backfill {stream_id}") as bar:
        ends = _followed(api, dag_id, started, bar)
    runs = _runs_of(hub, dag_id, started)
    _show_ends(stream_id, ends, runs, as_json=as_json)
    if set(ends.values()) != {_SUCCESS}:
        raise typer.Exit(Exit.FAILED)
    if any(run["state"] == "partial" for run in runs.values()):
        console.say(f"Some records are in quarantine: ./hub quarantine list --stream {stream_id}")
        raise typer.Exit(Exit.PARTIAL)


def _runs_of(hub: HubApi, dag_id: str, started: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Read what the ledger has of the DAG runs of *started*, by day. A day is missing whose run did not begin to read."""
    days = {dag_run_id: day for day, dag_run_id in started.items()}
    found: dict[str, dict[str, Any]] = {}
    cursor = None
    while len(found) < len(days):
        page = hub.get("/runs", dag_id=dag_id, limit=LARGEST_PAGE, cursor=cursor).document
        for run in page["runs"]:  # Newest first: of several attempts, the last one.
            if day := days.get(run["dag_run_id"]):
                found.setdefault(day, run)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


def _start(api: AirflowApi, dag_id: str, day: str, *, emit_events: bool) -> str:
    """Start the DAG run of *day*, or find the one that is still running."""
    body: dict[str, Any] = {"partition_key": day, "logical_date": None, "conf": {"emit_events": emit_events}}
    try:
        return str(api.post(path_of("dags", dag_id, "dagRuns"), body)["dag_run_id"])
    except AirflowRefused as refused:
        if refused.status != _CONFLICT:
            raise
        return f"partition__{day}"


def _followed(api: AirflowApi, dag_id: str, started: Mapping[str, str], bar: console.Bar) -> dict[str, str]:
    """Wait until each run of *started* (day → DAG run) has ended; return how, by day."""
    ends: dict[str, str] = {}
    for day, dag_run_id in started.items():
        failed = sum(state != _SUCCESS for state in ends.values())
        bar.update(
            f"{len(ends) - failed} of {counted(len(started), 'day')} done, {failed} failed",
            done=len(ends),
            total=len(started),
        )
        ends[day] = dag_runs.wait_for_end(api, dag_id, dag_run_id)
    return ends


def _show_days(stream: str, days: list[str], only: Only, *, as_json: bool) -> None:
    if as_json:
        console.show_json({"stream": stream, "days": days, "started": 0, "states": {}, "failed": {}})
    elif not days:
        console.say(f"There is nothing to do: {_NO_DAYS[only]}.")
    else:
        console.show(f"{counted(len(days), 'day')}: {days[0]} … {days[-1]}")


def _show_ends(stream: str, ends: Mapping[str, str], runs: Mapping[str, dict[str, Any]], *, as_json: bool) -> None:
    states = Counter(ends.values())
    failed = {day: _reason(runs.get(day)) for day, state in ends.items() if state != _SUCCESS}
    if as_json:
        document = {"stream": stream, "days": list(ends), "started": len(ends)}
        console.show_json({**document, "states": dict(states), "failed": failed})
        return
    for day, reason in failed.items():
        console.error(f"{day}: {reason}")
    show = console.error if failed else console.success
    show(f"{states[_SUCCESS]} of {counted(len(ends), 'day')} done. To see each run: ./hub runs --stream {stream}")
    if failed:
        first, last = min(failed), max(failed)
        console.say(f"Once the cause is gone: ./hub backfill {stream} --from {first} --to {last} --only failed")


def _reason(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "it failed before it began to read; its log is in Airflow"
    return str(run["error"] or f"the run {run['run_id']} is {run['state']}")
