"""./hub profile sync: where the time of a sync goes, room by room and statement by statement."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from crossdock.bench.report import Table
from crossdock.bench.server import ROOMY_OPTIONS, database_server
from crossdock.bench.sync import database
from crossdock.bench.sync.figures import AGAIN, DELTA, FULL, Sample
from crossdock.bench.sync.processes import Bench, SourceProcess, WarmWorker
from crossdock.bench.sync.profile import Spot, py_spy, sampled, spots, summed
from crossdock.bench.sync.rounds import CHANGED_SHARE, empty_hub
from crossdock.cli import console
from crossdock.cli.bench import DatasetFile, Entity, Ids, Rows, row_count, show_tables
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.options import Json
from crossdock.core.errors import BadRequest

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Show where the time goes.")

_SCHEMA = "bench_profile"
#: The server counts statements only when it loads this at its start.
_COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "on"}


@app.callback()
def profile() -> None:
    """Show where the time goes."""


@app.command("sync")
def sync(
    entity: Entity = "inventory",
    rows: Rows = None,
    step: Annotated[str, typer.Option(help="full, again (nothing changed) or delta.")] = FULL,
    dataset: DatasetFile = None,
    ids: Ids = "random",
    top: Annotated[int, typer.Option(min=1, help="Functions and statements to show.")] = 15,
    as_json: Json = False,
) -> None:
    """
    Profile one step of a warm worker: its CPU by room, file and library, and PostgreSQL's time by statement.

    Example: ./hub profile sync --entity orders --rows 100000
    """
    count = row_count(entity, rows, ids)
    if step not in {FULL, AGAIN, DELTA}:
        raise BadRequest(f"Unknown step {step!r}. Use {FULL}, {AGAIN} or {DELTA}")
    py_spy()
    with (
        console.progress("Profiling") as bar,
        database_server({**ROOMY_OPTIONS, **_COUNTING}) as server,
        SourceProcess(entity, count, dataset=dataset, ids=ids) as source,
    ):
        bench, raw = Bench(source, server), server.folder / "stacks.txt"
        bar.update(f"Profiling {step} with {count:,} {entity}")
        empty_hub(bench, _SCHEMA)
        with WarmWorker(bench, entity, _SCHEMA) as worker:
            if step != FULL:
                worker.run(FULL)
            if step == DELTA:
                source.mutate(CHANGED_SHARE)
            database.reset_statements(server.dsn)
            with sampled(worker.pid, raw):
                sample = worker.run(step)
        statements = database.costliest_statements(server.dsn, top)
        found = spots(raw.read_text(), sample.client_cpu_s)
    if as_json:
        console.show_json(_document(sample, found, statements))
    else:
        _show(sample, found, statements, top)


def _show(sample: Sample, found: dict[Spot, float], statements: list[database.Statement], top: int) -> None:
    tasks = ", ".join(f"{task} {seconds:.2f} s" for task, seconds in sample.tasks.items())
    console.show(
        f"wall {sample.wall_s:.2f} s ({tasks}); client {sample.client_cpu_s:.2f} CPU s; PostgreSQL"
        f" {sample.postgres_cpu_s:.2f} CPU s; peak {sample.peak_pss_mb:.0f} MiB; {sample.log_mb:.1f} MB of log"
    )
    names = {
        "room": lambda spot: spot.room or "(none of ours)",
        "file": lambda spot: spot.file or "(none of ours)",
        "library": lambda spot: spot.library or "(our own code)",
        "function": lambda spot: (
            f"{spot.file or '(none of ours)'} {spot.function} {spot.library and f'→ {spot.library}'}"
        ),
    }
    tables = [
        Table(
            f"By {name}",
            [name, "CPU s", "%", "in libraries"],
            [
                [what, f"{total_s:.3f}", f"{total_s / sample.client_cpu_s:.1%}", f"{library_s:.3f}"]
                for what, (total_s, library_s) in list(summed(found, key).items())[:top]
            ],
        )
        for name, key in names.items()
    ]
    rows = [[s.text[:100], s.calls, f"{s.seconds:.3f}", s.rows, f"{s.log_bytes / 1024**2:.1f}"] for s in statements]
    show_tables([*tables, Table("PostgreSQL's statements", ["statement", "calls", "seconds", "rows", "log MB"], rows)])


def _document(sample: Sample, found: dict[Spot, float], statements: list[database.Statement]) -> dict[str, object]:
    return {
        "sample": msgspec.to_builtins(sample),
        "rooms": {name: round(total_s, 4) for name, (total_s, _) in summed(found, lambda spot: spot.room).items()},
        "functions": [{**spot._asdict(), "cpu_s": round(seconds, 4)} for spot, seconds in found.items()],
        "statements": [statement._asdict() for statement in statements],
    }
