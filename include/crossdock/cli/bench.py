"""./hub bench sync: our flow beside other loaders."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from crossdock.bench.sync import beside, report
from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync.figures import FULL, OURS, START, Run, lines_of
from crossdock.bench.sync.loaders import loaders_for
from crossdock.bench.sync.place import bench_of, database_server
from crossdock.bench.sync.records import DEFAULT_ROWS, ENTITIES
from crossdock.bench.sync.rounds import measured
from crossdock.cli import console
from crossdock.cli.command_groups import LazyVerbs, Verb
from crossdock.cli.exit_codes import Exit
from crossdock.core.errors import BadRequest
from crossdock.stack.home import project


class Benchmarks(LazyVerbs):
    verbs: ClassVar[Mapping[str, Verb]] = {
        "events": Verb("crossdock.cli.bench_events:bench_events", "Measure publish and processing of events."),
        "stack": Verb("crossdock.cli.bench_stack:bench_stack", "Measure a whole stack at work."),
    }


app = typer.Typer(cls=Benchmarks, no_args_is_help=True)

#: Names the folder of the peers' scripts where `--peers-from` does not.
PEERS_VARIABLE = "HUB_BENCH_PEERS"

Entity = Annotated[str, typer.Option(help=", ".join(ENTITIES))]
Rows = Annotated[int | None, typer.Option(min=1, help="Records of the source; else 100,000, 20,000 or all.")]
DatasetFile = Annotated[
    Path | None, typer.Option(help="For orders: the real shop of this parquet file.", exists=True, dir_okay=False)
]
Ids = Annotated[str, typer.Option(help="random, as the platform's are, or ascending.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.callback()
def bench() -> None:
    """How fast it is, measured beside others."""


@app.command("sync")
def sync(
    entity: Entity = "inventory",
    rows: Rows = None,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds; the table has their medians.")] = 5,
    peers_from: Annotated[
        Path | None,
        typer.Option(
            envvar=PEERS_VARIABLE, exists=True, file_okay=False, help="The folder with the peers' scripts, set up."
        ),
    ] = None,
    peers: Annotated[str, typer.Option(help="Only these loaders, with commas between; empty for all.")] = "",
    dataset: DatasetFile = None,
    ids: Ids = "random",
    latency: Annotated[bool, typer.Option(help="Also with 100 ms a page: pages in flight, two workers.")] = True,
    large: Annotated[int, typer.Option(min=0, help="Also one full load of so many rows; 0 for none.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Where the table, the plot and the samples go.")] = None,
    as_json: Json = False,
) -> None:
    """Our flow's three tasks, a floor, and the peers: interleaved, medians, with verdicts; into docs/benchmarks/."""
    count = refuse_or_fill(entity, rows, ids)
    programs = loaders_for(entity, peers_from, [name.strip() for name in peers.split(",") if name.strip()])
    left_out = _left_out(entity, peers_from, dataset, large)
    tell = (lambda _: None) if as_json else console.say
    with database_server() as server:
        tell(f"Making a source of {count:,} {entity}")
        with bench_of(server, entity, count, dataset=dataset, ids=ids) as measured_at:
            runs = tuple(measured(measured_at, entity, programs, repeat=repeat, tell=tell))
            extra = _idle(runs)
            if latency:
                extra |= beside.pages_in_flight_gain(measured_at, entity, tell)
                extra |= beside.scale_out(measured_at, entity, tell)
        if large:
            tell(f"Making a source of {large:,} {entity}")
            usual = next(line for line in lines_of(runs) if (line.loader, line.step) == (OURS, FULL))
            with bench_of(server, entity, large, dataset=dataset, ids=ids) as measured_at:
                extra |= beside.large_load(measured_at, entity, large, usual, count, tell)
        postgres = measuring.server_version(server[0])
    setting = report.Setting(
        entity=entity,
        rows=count,
        repeat=repeat,
        ids=ids,
        command=as_given(),
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=report.machine(),
        postgres=postgres,
        left_out=tuple(left_out),
    )
    outcome = report.Outcome(setting=setting, runs=runs, extra=extra)
    files = report.write(outcome, out or project() / "docs" / "benchmarks")
    _show(outcome, files, as_json=as_json)
    if any(line.problems for line in outcome.lines):
        raise typer.Exit(Exit.FAILED)


def refuse_or_fill(entity: str, rows: int | None, ids: str) -> int:
    """
    How many rows there are to be.

    Raises:
        BadRequest: no such entity, or no such kind of ids.

    """
    if entity not in ENTITIES:
        raise BadRequest(f"There is no benchmark of {entity!r}. There are: {', '.join(ENTITIES)}")
    if ids not in {"random", "ascending"}:
        raise BadRequest(f"Ids are random or ascending, not {ids!r}")
    return rows or DEFAULT_ROWS[entity]


def _idle(runs: tuple[Run, ...]) -> dict[str, float]:
    sizes = [run.sample.peak_pss_mb for run in runs if (run.loader, run.step) == (OURS, START)]
    return {"idle_pss_mb": min(sizes)}


def _left_out(entity: str, peers_from: Path | None, dataset: Path | None, large: int) -> list[str]:
    """What this run does not measure, in sentences."""
    return [
        *(
            [f"Left out: the peers, since no folder of theirs is named (`--peers-from` or {PEERS_VARIABLE})."]
            if peers_from is None
            else []
        ),
        *(["Left out: the peers, which know no orders; our own floor is there."] if entity == "orders" else []),
        *(["The orders are made up: name real ones with `--dataset`."] if entity == "orders" and not dataset else []),
        *([] if large else ["Left out: a much larger source (`--large 3000000`)."]),
    ]


def as_given() -> str:
    """The command as it was given, without the folders of this machine."""
    words = [Path(word).name if word.startswith(("/", "~", "..")) else word for word in sys.argv[1:]]
    variable = f"{PEERS_VARIABLE}=… " if PEERS_VARIABLE in os.environ else ""
    return f"{variable}./hub {shlex.join(words)}"


def _show(outcome: report.Outcome, files: list[Path], *, as_json: bool) -> None:
    found = outcome.goals
    if as_json:
        document: dict[str, Any] = {"goals": report.documents(found), "lines": outcome.lines, "extra": outcome.extra}
        console.show_json({**document, "files": [str(file) for file in files]})
        return
    columns = [
        "step",
        "loader",
        "net wall s",
        "client CPU s",
        "PostgreSQL CPU s",
        "net CPU s",
        "peak PSS MiB",
        "adds up",
    ]
    console.show_table("Medians", columns, report.as_rows(outcome.lines), empty="Nothing was measured.")
    rows = [[goal.what, goal.figure and f"{goal.figure:.2f}{goal.unit}", goal.verdict] for goal in found]
    console.show_table("Goals", ["goal", "figure", "verdict"], rows, empty="No goals.")
    console.praise(f"Written: {', '.join(str(file) for file in files)}")
