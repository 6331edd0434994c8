"""./hub bench dags: what the DAG files cost Airflow with many integrations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer

from crossdock.app import definitions
from crossdock.app.definitions import Definition
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
    """The seconds that each DAG file took to parse, once for each repetition."""

    setup: report.Setup
    integrations: int
    seconds: dict[str, list[float]]

    @property
    def slowest_s(self) -> float:
        return max(median(taken) for taken in self.seconds.values())

    @property
    def goals(self) -> list[Goal]:
        return [Goal(what="the slowest DAG file", figure=self.slowest_s, limit=_GOAL_S, unit=" s")]

    @property
    def tables(self) -> list[Table]:
        rows = [(name, f"{median(taken):.2f}", f"{max(taken):.2f}") for name, taken in sorted(self.seconds.items())]
        return [report.goals_table(self.goals), Table("Parsing", ["file", "median s", "longest s"], rows)]

    @property
    def page(self) -> str:
        intro = [
            f"DAG files with {self.integrations:,} commercetools integrations. {self.setup.machine}; {self.setup.measured_at}."
        ]
        return report.markdown("Parsing DAG files", intro, self.setup.command, self.tables)


def bench_dags(
    integrations: Annotated[int, typer.Option(min=0, help="How many integrations exist.")] = 500,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure how long Airflow takes to parse each DAG file of the streams; into docs/benchmarks/."""
    with tempfile.TemporaryDirectory() as folder, console.progress("Parsing") as bar:
        bar.update(f"Parsing the DAG files with {integrations:,} integrations")
        seconds = _parse_seconds(Path(folder), integrations)
    setup = report.setup(as_given(), postgres="none: DAG files ask no database")
    outcome = DagsOutcome(setup=setup, integrations=integrations, seconds=seconds)
    files = report.write(out or default_folder(), "dags", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)


def _parse_seconds(folder: Path, integrations: int) -> dict[str, list[float]]:
    url = f"file://{folder}"
    shops = (
        Definition(integration=f"shop_{number}", kind=KIND, title=f"Shop {number}") for number in range(integrations)
    )
    definitions.write_snapshots(shops, url=url)
    files = [project() / "dags" / definitions.file_name(file_no) for file_no in range(definitions.FILES)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crossdock.bench.stack.dag_imports", *map(str, files)],
        env={**os.environ, "AIRFLOW_HOME": str(folder), "HUB_DEFINITIONS_URL": url, "HUB_DECLARATIONS": str(folder)},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"Parsing the DAG files ended with {done.returncode}; its output is above")
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {Path(file).name: seconds for file, seconds in found.items()}
