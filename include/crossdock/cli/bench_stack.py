"""./hub bench stack: what a local stack costs."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.meter import refuse_other_systems
from crossdock.bench.stack import steps
from crossdock.bench.stack.outcome import StackOutcome
from crossdock.bench.sync.database import server_version
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json
from crossdock.stack import lifecycle


def bench_stack(
    repeat: Annotated[int, typer.Option(min=1, help="DAG runs of one changed record.")] = 20,
    idle_s: Annotated[float, typer.Option("--idle", min=1, help="Seconds to watch it at rest.")] = 60,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure a stack of its own: its start, its rest, its DAG files and DAG runs; into docs/benchmarks/.

    Example: ./hub bench stack --repeat 3
    """
    refuse_other_systems()
    say = (lambda _: None) if as_json else console.say
    with steps.own_home() as folder:
        starts = tuple(steps.starts(folder, say))
        running = lifecycle.load()
        assert running is not None  # noqa: S101  `starts` has just left it running
        imports = steps.import_seconds(running)
        records = steps.fill(running, say)
        at_rest = steps.at_rest(idle_s, say)
        runs = tuple(steps.delta_runs(running, repeat, say))
        processes = tuple(steps.with_memory_now(at_rest))
        setup = report.setup(as_given(), server_version(running.hub_dsn))
    outcome = StackOutcome(
        setup=setup,
        airflow=metadata.version("apache-airflow"),
        idle_s=idle_s,
        records=records,
        starts=starts,
        processes=processes,
        imports=imports,
        runs=runs,
    )
    files = report.write(out or default_folder(), "stack", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)
