"""./hub bench workflows: how soon a deployed workflow can be executed."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.meter import refuse_other_systems
from crossdock.bench.workflows import measure
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json


def bench_workflows(
    deployments: Annotated[int, typer.Option(min=1, max=1000, help="How many deployments are timed.")] = 50,
    beside: Annotated[int, typer.Option(min=1, max=5000, help="How many other workflows are deployed.")] = 500,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure from a deployment to a run that Airflow takes, and deploy while executions run; into docs/benchmarks/.

    Example: ./hub bench workflows --deployments 5 --beside 20
    """
    refuse_other_systems()
    with console.progress("Measuring") as bar:
        found = measure(deployments, beside, as_given(), bar.update)
    files = report.write(out or default_folder(), "workflows", found.page, found)
    show(found.goals, found.tables, files, as_json=as_json)
