"""./hub runs, ./hub run show ID."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from crossdock.cli import console, run_reports
from crossdock.cli.command_groups import Verbs
from crossdock.cli.session import open_store, refuse_unknown
from crossdock.http import call_metrics as call_counts
from crossdock.sync import ledger

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="One run.")
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def runs(
    entity: Annotated[str | None, typer.Option(help="Only runs of this entity.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """The ledger: what each run did with every row."""
    refuse_unknown(entity)
    with open_store() as store, store.transaction() as work:
        found = ledger.newest(work, entity=entity, limit=limit)
    if as_json:
        console.show_json({"runs": [run_reports.document(run) for run in found]})
    else:
        run_reports.show_runs(found)


@app.command("show")
def show(run_id: Annotated[str, typer.Argument(help="As ./hub runs has it.")], as_json: Json = False) -> None:
    """What one run read, what became of it, which calls it made, and what to do next."""
    with open_store() as store:
        if as_json:
            with store.transaction() as work:
                run = ledger.get(work, run_id)
                usage = call_counts.usage_of_run(work, run_id)
            console.show_json({**run_reports.document(run), "calls": msgspec.to_builtins(usage)})
        else:
            run_reports.show_run(store, run_id)
