"""./hub bench dags: what the DAG files cost Airflow with many integrations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer

from crossdock.app import definitions, workflow_snapshots
from crossdock.app.definitions import Definition
from crossdock.app.workflow_snapshots import Deployed, Task
from crossdock.bench import report
from crossdock.bench.report import Goal, Table
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json
from crossdock.connectors.commercetools import KIND
from crossdock.stack.home import project

#: Airflow gives up on a file after 30 s; long before that, a change would be slow to appear.
_GOAL_S = 1.0


class DagsOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What each DAG file took to parse, once for each repetition: seconds, and seconds of CPU."""

    setup: report.Setup
    integrations: int
    workflows: int
    measured: dict[str, list[tuple[float, float]]]

    @property
    def slowest_cpu_s(self) -> float:
        return max(median(cpu_s for _, cpu_s in measured) for measured in self.measured.values())

    @property
    def goals(self) -> list[Goal]:
        return [Goal(what="the slowest DAG file, CPU", figure=self.slowest_cpu_s, limit=_GOAL_S, unit=" s")]

    @property
    def tables(self) -> list[Table]:
        rows = []
        for name, measured in sorted(self.measured.items()):
            walls, cpus = zip(*measured, strict=True)
            rows.append((name, *(f"{figure:.2f}" for figure in (median(cpus), max(cpus), median(walls)))))
        columns = ["file", "median CPU s", "most CPU s", "median wall s"]
        return [report.goals_table(self.goals), Table("Parsing", columns, rows)]

    @property
    def page(self) -> str:
        intro = [
            f"DAG files with {self.integrations:,} commercetools integrations and {self.workflows:,} workflows of ten steps. {self.setup.machine}; {self.setup.measured_at}.",
            "A file is parsed by one process, which waits for nothing: where a core is free, it takes its CPU seconds.",
        ]
        return report.markdown("Parsing DAG files", intro, self.setup.command, self.tables)


def bench_dags(
    integrations: Annotated[int, typer.Option(min=0, help="How many integrations exist.")] = 500,
    workflows: Annotated[int, typer.Option(min=0, help="How many workflows are deployed.")] = 500,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure how long Airflow takes to parse each DAG file of the streams; into docs/benchmarks/.

    Example: ./hub bench dags --integrations 100
    """
    with tempfile.TemporaryDirectory() as folder, console.progress("Parsing") as bar:
        bar.update(f"Parsing the DAG files with {integrations:,} integrations and {workflows:,} workflows")
        measured = _parsed(Path(folder), integrations, workflows)
    setup = report.setup(as_given(), postgres="none: DAG files ask no database")
    outcome = DagsOutcome(setup=setup, integrations=integrations, workflows=workflows, measured=measured)
    files = report.write(out or default_folder(), "dags", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)


def _parsed(folder: Path, integrations: int, workflows: int) -> dict[str, list[tuple[float, float]]]:
    url = f"file://{folder}"
    shops = (
        Definition(integration=f"shop_{number}", kind=KIND, title=f"Shop {number}") for number in range(integrations)
    )
    definitions.write_snapshots(shops, url=url)
    workflow_snapshots.write_snapshots(map(_workflow, range(workflows)), url=url)
    names = [
        *map(definitions.file_name, range(definitions.FILES)),
        *map(workflow_snapshots.file_name, range(workflow_snapshots.FILES)),
    ]
    files = [project() / "dags" / name for name in names]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crossdock.bench.stack.dag_imports", *map(str, files)],
        env={**os.environ, "AIRFLOW_HOME": str(folder), "HUB_DEFINITIONS_URL": url, "HUB_DECLARATIONS": str(folder)},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"Parsing the DAG files ended with {done.returncode}; its output is above")
    found: dict[str, list[tuple[float, float]]] = json.loads(done.stdout.splitlines()[-1])
    return {Path(file).name: measured for file, measured in found.items()}


def _workflow(number: int) -> Deployed:
    """Build a workflow of ten steps, with cases."""
    last = Task(step="choose", makes=["choose"], inside={"case_1": [Task(step="yes", makes=["yes"])]})
    steps = [Task(step=f"step_{step}", makes=[f"step_{step}"]) for step in range(8)]
    return Deployed(
        workflow_id=f"workflow_{number}",
        version=1,
        title=f"Workflow {number}",
        description="",
        params={"sku": {"type": "string"}, "limit": {"type": "integer", "default": 10}},
        cron=None,
        timezone="UTC",
        tasks=[*steps, last],
        event_types=[],
        deployed_at=datetime(2026, 12, 1, tzinfo=UTC),
    )
