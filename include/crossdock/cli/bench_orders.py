"""./hub bench orders: orders at rising load."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.meter import refuse_other_systems
from crossdock.bench.orders.run import QUICK, Plan, run
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json


def bench_orders(
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the time; figures to look at, not to quote.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure orders, from request to confirmed, at rising load, and where the CPU of one order goes; into docs/benchmarks/.

    Example: ./hub bench orders --quick
    """
    refuse_other_systems()
    with console.progress("Measuring") as bar:
        found = run(QUICK if quick else Plan(), as_given(), bar.update)
    files = report.write(out or default_folder(), "orders", found.page, found)
    show(found.goals, found.tables, files, as_json=as_json)
