"""./hub profile sync: where the time of a sync goes, room by room and statement by statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync.figures import AGAIN, DELTA, FULL, Sample
from crossdock.bench.sync.place import bench_of, database_server
from crossdock.bench.sync.processes import WarmWorker
from crossdock.bench.sync.rounds import CHANGED_SHARE, fresh_hub
from crossdock.cli import console
from crossdock.cli.bench import DatasetFile, Entity, Ids, Json, Rows, refuse_or_fill
from crossdock.cli.command_groups import Verbs
from crossdock.core.errors import BadRequest

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="Where the time goes.")

_SCHEMA = "bench_profile"
#: The server counts statements only when it loads this at its start.
_COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "on"}

#: File below `include/`, function, library, CPU seconds: as the sampler has it.
Spots = Sequence[tuple[str, str, str, float]]


@app.callback()
def profile() -> None:
    """Where the time goes."""


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
    """The client's CPU by room, file and library, and PostgreSQL's time by statement, of one step of a warm worker."""
    count = refuse_or_fill(entity, rows, ids)
    if step not in {FULL, AGAIN, DELTA}:
        raise BadRequest(f"A step is {FULL}, {AGAIN} or {DELTA}, not {step!r}")
    with (
        console.progress("Profiling") as bar,
        database_server(_COUNTING) as server,
        bench_of(server, entity, count, dataset=dataset, ids=ids) as place,
    ):
        bar.tell(f"Profiling {step} with {count:,} {entity}")
        fresh_hub(place, _SCHEMA)
        with WarmWorker(place, entity, _SCHEMA, sample=True) as worker:
            for before in {FULL: (), AGAIN: (FULL,), DELTA: (FULL,)}[step]:
                worker.run(before)
            if step == DELTA:
                place.source.mutate(CHANGED_SHARE)
            measuring.forget_statements(place.dsn)
            sample = worker.run(step)
        statements = measuring.costliest_statements(place.dsn, top)
        spots = worker.samples
    if as_json:
        console.show_json(_document(sample, spots, statements))
    else:
        _show(sample, spots, statements, top)


def by_room(spots: Spots) -> list[tuple[str, float, float]]:
    """Room, CPU seconds, and how many of them in libraries that it called; the most first."""
    return _summed((file.split("/")[0] or "(no code of ours)", library, seconds) for file, _, library, seconds in spots)


def by_file(spots: Spots) -> list[tuple[str, float, float]]:
    return _summed((file or "(no code of ours)", library, seconds) for file, _, library, seconds in spots)


def by_library(spots: Spots) -> list[tuple[str, float]]:
    """Library, CPU seconds in it whoever called; our own code is one of them."""
    sums: dict[str, float] = defaultdict(float)
    for _, _, library, seconds in spots:
        sums[library or "(our own code)"] += seconds
    return sorted(sums.items(), key=lambda item: -item[1])


def _summed(parts: Any) -> list[tuple[str, float, float]]:
    sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for name, library, seconds in parts:
        whole, outside = sums[name]
        sums[name] = whole + seconds, outside + (seconds if library else 0.0)
    return sorted(((name, *both) for name, both in sums.items()), key=lambda row: -row[1])


def _show(sample: Sample, spots: Spots, statements: Sequence[measuring.Statement], top: int) -> None:
    seen = sum(spot[3] for spot in spots)
    tasks = ", ".join(f"{task} {seconds:.2f} s" for task, seconds in sample.tasks.items())
    console.out.print(
        f"wall {sample.wall_s:.2f} s ({tasks}); client {sample.client_cpu_s:.2f} CPU s, of which {seen:.2f} in"
        f" Python's threads; PostgreSQL {sample.postgres_cpu_s:.2f} CPU s; peak {sample.peak_pss_mb:.0f} MiB;"
        f" {sample.log_mb:.1f} MB of log"
    )
    columns = ["CPU s", "%", "in libraries"]
    for title, found in (("Rooms", by_room(spots)), ("Files", by_file(spots)[:top])):
        rows = [[name, f"{whole:.3f}", f"{whole / seen:.1%}", f"{outside:.3f}"] for name, whole, outside in found]
        console.show_table(title, [title[:-1].lower(), *columns], rows, empty="Nothing was seen.")
    libraries = [[name, f"{seconds:.3f}", f"{seconds / seen:.1%}"] for name, seconds in by_library(spots)[:top]]
    console.show_table("Libraries", ["library", "CPU s", "%"], libraries, empty="Nothing was seen.")
    functions = [[f"{file}:{name}", library, f"{s:.3f}", f"{s / seen:.1%}"] for file, name, library, s in spots[:top]]
    console.show_table("Functions", ["function", "library", "CPU s", "%"], functions, empty="Nothing was seen.")
    console.show_table(
        "PostgreSQL's statements",
        ["statement", "calls", "seconds", "rows", "log MB"],
        [
            [found.text[:100], found.calls, f"{found.seconds:.3f}", found.rows, f"{found.log_bytes / 1024**2:.1f}"]
            for found in statements
        ],
        empty="The server counted none.",
    )


def _document(sample: Sample, spots: Spots, statements: Sequence[measuring.Statement]) -> dict[str, Any]:
    return {
        "sample": msgspec.to_builtins(sample),
        "rooms": {name: round(whole, 4) for name, whole, _ in by_room(spots)},
        "files": {name: round(whole, 4) for name, whole, _ in by_file(spots)},
        "libraries": {name: round(seconds, 4) for name, seconds in by_library(spots)},
        "functions": [
            {"file": file, "function": name, "library": library, "cpu_s": round(seconds, 4)}
            for file, name, library, seconds in spots
        ],
        "statements": [found._asdict() for found in statements],
    }
