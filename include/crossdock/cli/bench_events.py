"""./hub bench events: the event store beside a plain log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.events.run import QUICK, Plan, run
from crossdock.cli import console
from crossdock.cli.bench import as_given, show
from crossdock.cli.options import Json


def bench_events(
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the time; figures to look at, not to quote.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="A folder for events.md and events.json.", file_okay=False, exists=True)
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Measure publish and processing of events: throughput, waits by rate, during a sync, one reader and two.

    Example: ./hub bench events --quick
    """
    with console.progress("Measuring") as bar:
        found = run(QUICK if quick else Plan(), as_given(), bar.update)
    files = report.write(out, "events", found.page, found) if out else []
    if as_json:
        console.show_json(found)
    else:
        show(found.goals, found.tables, files, as_json=False)
