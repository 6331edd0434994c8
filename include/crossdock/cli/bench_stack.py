"""./hub bench stack: what a local stack costs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from crossdock.bench.stack import report as stack_report
from crossdock.bench.stack import steps as stack_steps
from crossdock.bench.stack.figures import StackOutcome, StackSetting
from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync import report
from crossdock.cli import console
from crossdock.cli.bench import Json, as_given
from crossdock.core.errors import BadRequest
from crossdock.stack import stack
from crossdock.stack.home import project


def bench_stack(
    repeat: Annotated[int, typer.Option(min=1, help="DAG runs of one changed record.")] = 20,
    idle_s: Annotated[float, typer.Option("--idle", min=1, help="Seconds to watch it do nothing.")] = 60,
    out: Annotated[Path | None, typer.Option(help="Where the tables and the samples go.")] = None,
    as_json: Json = False,
) -> None:
    """A stack of its own: its start, its rest, its DAG files and DAG runs, with verdicts; into docs/benchmarks/."""
    if sys.platform != "linux":
        raise BadRequest("CPU and memory are read from /proc, which only Linux has")
    tell = (lambda _: None) if as_json else console.say
    with stack_steps.own_home() as folder:
        starts = tuple(stack_steps.starts(folder, tell))
        running = stack.load()
        assert running is not None  # noqa: S101  `starts` has just left it running
        imports = stack_steps.import_seconds(running)
        records = stack_steps.filled(running, tell)
        at_rest = stack_steps.at_rest(idle_s, tell)
        runs = tuple(stack_steps.delta_runs(running, repeat, tell))
        processes = tuple(stack_steps.with_memory_now(at_rest))
        postgres = measuring.server_version(running.hub_dsn)
    setting = StackSetting(
        command=as_given(),
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=report.machine(),
        airflow=metadata.version("apache-airflow"),
        postgres=postgres,
        idle_s=idle_s,
        records=records,
    )
    outcome = StackOutcome(setting=setting, starts=starts, processes=processes, imports=imports, runs=runs)
    files = stack_report.write(outcome, out or project() / "docs" / "benchmarks")
    if as_json:
        console.show_json({"goals": report.documents(outcome.goals), "files": [str(file) for file in files]})
        return
    rows = [[goal.what, goal.figure and f"{goal.figure:.2f}{goal.unit}", goal.verdict] for goal in outcome.goals]
    console.show_table("Goals", ["goal", "figure", "verdict"], rows, empty="No goals.")
    console.praise(f"Written: {', '.join(str(file) for file in files)}")
