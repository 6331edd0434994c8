"""./hub runs, ./hub run show ID."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli import console, run_reports
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.cli.streams import stream_id
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Inspect one run.")


def runs(
    stream: Annotated[str | None, typer.Option(help="Only runs of this stream.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs to show.")] = 20,
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
    console.say_if_cut(len(found), has_more=found.has_more)


@app.command("show")
def show(
    run_id: Annotated[str, typer.Argument(help="Run ID; to list them: ./hub runs")], as_json: Json = False
) -> None:
    """
    Show what a run read, the outcomes, its calls, and what to do next.

    Example: ./hub run show inventory-20261128T131834-69a92f2b
    """
    run = hub_api().get(path_of("runs", run_id)).document
    if as_json:
        console.show_json({**run_reports.document(run), "calls": run["calls"]})
    else:
        run_reports.show_run(run)
