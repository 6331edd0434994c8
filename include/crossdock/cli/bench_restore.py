"""./hub bench restore: how long it takes until a lost hub is back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.meter import refuse_other_systems
from crossdock.bench.restore import measure
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json


def bench_restore(
    dataset: Annotated[
        Path, typer.Argument(help="The shop: a parquet file, such as of a real year.", exists=True, dir_okay=False)
    ],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure a backup, its restore, the start and the syncs after it, with the shop of a file; into docs/benchmarks/.

    Example: ./hub bench restore online_retail_2010.parquet
    """
    refuse_other_systems()
    outcome = measure(dataset, as_given(), (lambda _: None) if as_json else console.say)
    files = report.write(out or default_folder(), "restore", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)
