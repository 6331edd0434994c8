"""./hub runs, ./hub run show ID, ./hub run rows ID."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli import console, run_reports
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.completion import ids_of, streams
from crossdock.cli.options import Json
from crossdock.cli.session import airflow_api, hub_api
from crossdock.cli.streams import stream_id
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

RunId = Annotated[
    str,
    typer.Argument(help="Run ID; to list them: ./hub runs", autocompletion=ids_of("/runs", "runs", "run_id")),
]
_MOST_RUNS = 1000

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Inspect one run.")


def runs(
    stream: Annotated[str | None, typer.Option(help="Only runs of this stream.", autocompletion=streams)] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST_RUNS, help="How many runs to show.")] = 20,
    as_json: Json = False,
) -> None:
    """
    List runs, with the outcome of every record.

    Example: ./hub runs --stream inventory --limit 5
    """
    api = hub_api()
    found = api.pages("/runs", "runs", limit=limit, stream=stream_id(api, stream))
    if as_json:
        console.show_json({"runs": [run_reports.document(run) for run in found], "has_more": found.has_more})
        return
    run_reports.show_runs(found)
    console.say_if_cut(len(found), has_more=found.has_more, most=_MOST_RUNS)


@app.command("show")
def show(run_id: RunId, as_json: Json = False) -> None:
    """
    Show what a run read, the outcomes, its calls, and what to do next.

    Example: ./hub run show inventory-20261128T131834-69a92f2b
    """
    api = airflow_api()
    run = HubApi(api).get(path_of("runs", run_id)).document
    if as_json:
        more = {name: run[name] for name in ("landed", "calls", "failed_tasks", "retries")}
        console.show_json({**run_reports.document(run), **more})
    else:
        run_reports.show_run(run, airflow_url=api.url)


@app.command("rows")
def rows(
    run_id: RunId,
    outcome: Annotated[
        str | None, typer.Option(help=f"Only rows with this outcome: {', '.join(run_reports.LISTED)}.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_OF_LONG_LISTS, help="How many rows to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List the records that a run inserted, updated, rejected or put off.

    Unchanged and stale records are counted only: the hub does not keep which ones they were.

    Example: ./hub run rows inventory-20261128T131834-69a92f2b --outcome updated
    """
    _refuse_unlisted(outcome)
    api = hub_api()
    path = path_of("runs", run_id)
    found = api.pages(f"{path}/rows", "rows", limit=limit, outcome=outcome)
    counts = api.get(path).document["counts"]
    if as_json:
        console.show_json({"run_id": run_id, "counts": counts, "rows": found, "has_more": found.has_more})
    else:
        run_reports.show_rows(run_id, found, counts, outcome=outcome)
        console.say_if_cut(len(found), has_more=found.has_more, most=console.MOST_OF_LONG_LISTS)


def _refuse_unlisted(outcome: str | None) -> None:
    outcomes = ", ".join(run_reports.LISTED)
    if outcome in run_reports.COUNTED:
        raise BadRequest(
            f"The hub only counts {outcome} records and does not keep which ones they were. It lists: {outcomes}"
        )
    if outcome is not None and outcome not in run_reports.LISTED:
        raise BadRequest(f"There is no outcome {outcome!r}. Outcomes: {outcomes}")
