"""Loaders take turns: in each round each of them starts, loads everything, loads it again, and loads what changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from crossdock.app.database import migrate
from crossdock.app.streams import SYNCS
from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync.figures import AGAIN, DELTA, FULL, OURS, START, Run, Sample
from crossdock.bench.sync.loaders import filled_in
from crossdock.bench.sync.processes import Bench, WarmWorker, run_program
from crossdock.bench.sync.worker import SYNC_OF

#: How much of the source changes before a delta.
CHANGED_SHARE = 0.01

Tell = Callable[[str], None]


def measured(
    bench: Bench, entity: str, programs: Mapping[str, Sequence[str]], *, repeat: int, tell: Tell
) -> Iterator[Run]:
    """Every step of every loader, *repeat* times, ours first in each round."""
    for round_no in range(1, repeat + 1):
        for loader in (OURS, *programs):
            steps = _ours(bench, entity) if loader == OURS else _theirs(bench, entity, loader, programs[loader])
            bench.source.reset()
            for step, sample in steps:
                tell(
                    f"round {round_no} of {repeat}  {loader:24s} {step:6s} wall {sample.wall_s:7.2f} s  client"
                    f" {sample.client_cpu_s:6.2f}  PostgreSQL {sample.postgres_cpu_s:5.2f} CPU s  peak"
                    f" {sample.peak_pss_mb:4.0f} MiB  {sample.problem or 'adds up'}"
                )
                yield Run(loader=loader, round_no=round_no, step=step, sample=sample)


def fresh_hub(bench: Bench, schema: str) -> None:
    """An empty hub in *schema*, and no landed page."""
    measuring.drop_schema(bench.dsn, schema)
    migrate(bench.dsn, schema=schema)
    shutil.rmtree(bench.folder / "landing" / schema, ignore_errors=True)


def _ours(bench: Bench, entity: str) -> Iterator[tuple[str, Sample]]:
    schema = "bench_ours"
    fresh_hub(bench, schema)
    table = SYNCS[SYNC_OF[entity]].table
    tables = (table.name, table.history, "event")
    with WarmWorker(bench, entity, schema) as worker:
        yield START, msgspec.structs.replace(worker.start, peak_pss_mb=worker.idle_pss_mb)
        for step in (FULL, AGAIN, DELTA):
            if step == DELTA:
                bench.source.mutate(CHANGED_SHARE)
            before = measuring.traces(bench.dsn, schema, tables) if step == AGAIN else {}
            sample = worker.run(step)
            wrote = before != measuring.traces(bench.dsn, schema, tables) if step == AGAIN else None
            yield (
                step,
                msgspec.structs.replace(sample, wrote=wrote, problem=_problem_of_ours(bench, schema, table.name)),
            )


def _theirs(bench: Bench, entity: str, loader: str, command: Sequence[str]) -> Iterator[tuple[str, Sample]]:
    schema = "bench_" + loader.replace("-", "_")
    measuring.drop_schema(bench.dsn, schema, f"{schema}_staging", f"{schema}_start", f"{schema}_start_staging")
    for state in (schema, f"{schema}_start"):
        shutil.rmtree(bench.peers_home / "dltdir" / state, ignore_errors=True)
    bench.peers_home.mkdir(exist_ok=True)
    nothing = filled_in(command, entity=entity, mode="full", schema=f"{schema}_start")
    yield START, run_program(bench, nothing, url=f"{bench.source.empty_url}/p")
    for step in (FULL, AGAIN, DELTA):
        if step == DELTA:
            bench.source.mutate(CHANGED_SHARE)
        words = filled_in(command, entity=entity, mode="incr" if step == DELTA else "full", schema=schema)
        sample = run_program(bench, words, url=f"{bench.source.url}/p")
        problem = sample.problem or _problem(bench, measuring.contents(bench.dsn, schema, entity))
        yield step, msgspec.structs.replace(sample, problem=problem)


def _problem_of_ours(bench: Bench, schema: str, table: str) -> str | None:
    """Every record is in its table or in quarantine."""
    loaded, kept = measuring.contents(bench.dsn, schema, table), measuring.open_items(bench.dsn, schema)
    quantity = None if kept.rows else loaded.quantity
    return _problem(bench, measuring.Contents(loaded.rows + kept.rows, loaded.versions + kept.versions, quantity))


def _problem(bench: Bench, found: measuring.Contents) -> str | None:
    wanted = bench.source.sums()
    quantity = wanted.quantity if found.quantity is None else found.quantity
    if (found.rows, found.versions, quantity) == tuple(wanted):
        return None
    return f"holds {tuple(found)} where the source has {tuple(wanted)}"
