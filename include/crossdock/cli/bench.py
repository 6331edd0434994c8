"""./hub bench sync: our sync beside other loaders."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from crossdock.bench import report
from crossdock.bench.report import Goal, Table
from crossdock.bench.server import ROOMY_OPTIONS, database_server
from crossdock.bench.sync import database, scaling
from crossdock.bench.sync.figures import FULL, OURS, START, lines_of
from crossdock.bench.sync.loaders import loaders_for
from crossdock.bench.sync.outcome import Outcome
from crossdock.bench.sync.processes import Bench, SourceProcess
from crossdock.bench.sync.records import DEFAULT_ROWS
from crossdock.bench.sync.rounds import run_rounds
from crossdock.cli import console
from crossdock.cli.command_groups import LazyCommand, LazyCommandGroup
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.core.errors import BadRequest
from crossdock.stack.home import project


class Benchmarks(LazyCommandGroup):
    lazy_commands: ClassVar[Mapping[str, LazyCommand]] = {
        "alerts": LazyCommand(
            "crossdock.cli.bench_alerts:bench_alerts", "Measure the way from a cause to its message."
        ),
        "dags": LazyCommand("crossdock.cli.bench_dags:bench_dags", "Measure DAG files with many integrations."),
        "events": LazyCommand("crossdock.cli.bench_events:bench_events", "Measure publish and processing of events."),
        "event-store": LazyCommand(
            "crossdock.cli.bench_event_store:bench_event_store", "Measure status and replay counts on a large store."
        ),
        "growth": LazyCommand("crossdock.cli.bench_growth:bench_growth", "Measure what webhooks leave behind per day."),
        "faults": LazyCommand("crossdock.cli.bench_faults:bench_faults", "Kill, freeze and fill each part of a stack."),
        "orders": LazyCommand("crossdock.cli.bench_orders:bench_orders", "Measure orders, from request to confirmed."),
        "pages": LazyCommand("crossdock.cli.bench_pages:bench_pages", "Measure the pages of a hub that has grown."),
        "restore": LazyCommand(
            "crossdock.cli.bench_restore:bench_restore", "Measure a backup, its restore, and what follows it."
        ),
        "workflows": LazyCommand(
            "crossdock.cli.bench_workflows:bench_workflows", "Measure how soon a deployed workflow can be executed."
        ),
        "stack": LazyCommand("crossdock.cli.bench_stack:bench_stack", "Measure a whole stack at work."),
    }


app = typer.Typer(cls=Benchmarks, no_args_is_help=True, help="Measure speed and cost, beside others.")

#: Names the folder of the peers' scripts where `--peers-from` does not.
PEERS_VARIABLE = "HUB_BENCH_PEERS"

Entity = Annotated[str, typer.Option(help=", ".join(DEFAULT_ROWS))]
Rows = Annotated[int | None, typer.Option(min=1, help="Records of the source. Default: 100,000, 20,000 or all.")]
DatasetFile = Annotated[
    Path | None, typer.Option(help="For orders: the real shop of this parquet file.", exists=True, dir_okay=False)
]
Ids = Annotated[str, typer.Option(help="random, as commercetools' are, or ascending.")]
Out = Annotated[Path | None, typer.Option(help="The folder for the tables and the samples.")]


@app.callback()
def bench() -> None:
    """Measure speed and cost, beside others."""


@app.command("sync")
def sync(
    entity: Entity = "inventory",
    rows: Rows = None,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds; the tables show their medians.")] = 5,
    peers_from: Annotated[
        Path | None,
        typer.Option(envvar=PEERS_VARIABLE, exists=True, file_okay=False, help="The folder of the peers' scripts."),
    ] = None,
    peers: Annotated[str, typer.Option(help="Only these loaders, separated by commas; empty for all.")] = "",
    dataset: DatasetFile = None,
    ids: Ids = "random",
    latency: Annotated[bool, typer.Option(help="Also with 100 ms a page: pages in flight, two workers.")] = True,
    large: Annotated[int, typer.Option(min=0, help="Also run one full load with this many rows; 0 for none.")] = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Compare our three tasks with a floor and with peers: interleaved, medians, verdicts; into docs/benchmarks/.

    Example: ./hub bench sync --entity inventory --rows 100000
    """
    count = row_count(entity, rows, ids)
    programs = loaders_for(entity, peers_from, [name.strip() for name in peers.split(",") if name.strip()])
    say = (lambda _: None) if as_json else console.say
    with database_server(ROOMY_OPTIONS) as server:
        say(f"Making a source of {count:,} {entity}")
        with SourceProcess(entity, count, dataset=dataset, ids=ids) as source:
            at = Bench(source, server)
            runs = tuple(run_rounds(at, entity, programs, repeat=repeat, say=say))
            idle = [run.sample.peak_pss_mb for run in runs if (run.loader, run.step) == (OURS, START)]
            extra = {"idle_pss_mb": min(idle)}
            if latency:
                extra |= scaling.pages_in_flight_gain(at, entity, say) | scaling.scale_out(at, entity, say)
        if large:
            say(f"Making a source of {large:,} {entity}")
            usual = next(line for line in lines_of(runs) if (line.loader, line.step) == (OURS, FULL))
            with SourceProcess(entity, large, dataset=dataset, ids=ids) as source:
                extra |= scaling.large_load(Bench(source, server), entity, large, usual, count, say)
        setup = report.setup(as_given(), database.server_version(server.dsn))
    outcome = Outcome(
        setup=setup,
        entity=entity,
        rows=count,
        repeat=repeat,
        ids=ids,
        left_out=_left_out(entity, peers_from, dataset, large),
        runs=runs,
        extra=extra,
    )
    files = report.write(out or default_folder(), f"sync-{entity}", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)
    if any(line.problems for line in outcome.lines):
        raise typer.Exit(Exit.FAILED)


def row_count(entity: str, rows: int | None, ids: str) -> int:
    """
    Check the options of a source and fill in its number of rows.

    Raises:
        BadRequest: an unknown entity or kind of ids.

    """
    if entity not in DEFAULT_ROWS:
        raise BadRequest(f"There is no benchmark of {entity!r}. Use one of: {', '.join(DEFAULT_ROWS)}")
    if ids not in {"random", "ascending"}:
        raise BadRequest(f"IDs are random or ascending, not {ids!r}")
    return rows or DEFAULT_ROWS[entity]


def _left_out(entity: str, peers_from: Path | None, dataset: Path | None, large: int) -> tuple[str, ...]:
    """List what this run does not measure, in sentences."""
    sentences = {
        f"Left out: the peers, since their folder is not named (`--peers-from` or {PEERS_VARIABLE}).": not peers_from,
        "Left out: the peers, which know no orders; our own floor is there.": entity == "orders",
        "The orders are made up: name real ones with `--dataset`.": entity == "orders" and not dataset,
        "Left out: a much larger source (`--large 3000000`).": not large,
    }
    return tuple(sentence for sentence, holds in sentences.items() if holds)


def as_given() -> str:
    """Repeat the command as it was given, without the folders of this machine."""
    words = [Path(word).name if word.startswith(("/", "~", "..")) else word for word in sys.argv[1:]]
    variable = f"{PEERS_VARIABLE}=… " if PEERS_VARIABLE in os.environ else ""
    return f"{variable}./hub {shlex.join(words)}"


def default_folder() -> Path:
    return project() / "docs" / "benchmarks"


def show(goals: Sequence[Goal], tables: Sequence[Table], files: Sequence[Path], *, as_json: bool) -> None:
    """Show the report on the terminal, or its goals as one JSON document."""
    if as_json:
        console.show_json({"goals": [goal.document for goal in goals], "files": [str(file) for file in files]})
        return
    show_tables(tables)
    if files:
        console.success(f"Written: {', '.join(str(file) for file in files)}")


def show_tables(tables: Sequence[Table]) -> None:
    for table in tables:
        console.show_table(table.title, table.head, table.rows, empty=f"{table.title}: nothing was measured.")
        if table.note:
            console.show(table.note)
