"""Interleave the loaders: in each round each starts, loads everything, loads it again, and loads what changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from crossdock.app.database import migrate
from crossdock.bench.report import Say
from crossdock.bench.sync import database
from crossdock.bench.sync.database import Contents
from crossdock.bench.sync.figures import AGAIN, DELTA, FULL, OURS, START, Run, Sample
from crossdock.bench.sync.processes import Bench, WarmWorker, peers_home, run_program
from crossdock.bench.sync.worker import STREAMS

#: How much of the source changes before a delta.
CHANGED_SHARE = 0.01


def run_rounds(
    bench: Bench, entity: str, programs: Mapping[str, Sequence[str]], *, repeat: int, say: Say
) -> Iterator[Run]:
    """Measure every step of every loader, *repeat* times, ours first in each round."""
    for round_no in range(1, repeat + 1):
        for loader in (OURS, *programs):
            steps = _ours(bench, entity) if loader == OURS else _other(bench, entity, loader, programs[loader])
            bench.source.reset()
            for step, sample in steps:
                say(
                    f"round {round_no} of {repeat}  {loader:24s} {step:6s} wall {sample.wall_s:7.2f} s  client"
                    f" {sample.client_cpu_s:6.2f}  PostgreSQL {sample.postgres_cpu_s:5.2f} CPU s  peak"
                    f" {sample.peak_pss_mb:4.0f} MiB  {sample.problem or 'adds up'}"
                )
                yield Run(loader=loader, round_no=round_no, step=step, sample=sample)


def empty_hub(bench: Bench, schema: str) -> None:
    """Make an empty hub in *schema*, without landed pages."""
    database.drop_schemas(bench.server.dsn, schema)
    migrate(bench.server.dsn, schema=schema)
    shutil.rmtree(bench.server.folder / "landing" / schema, ignore_errors=True)


def _ours(bench: Bench, entity: str) -> Iterator[tuple[str, Sample]]:
    dsn, schema, dataset = bench.server.dsn, "bench_ours", STREAMS[entity].dataset
    tables = (dataset.table, dataset.history, "event")
    empty_hub(bench, schema)
    with WarmWorker(bench, entity, schema) as worker:
        yield START, worker.start
        for step in (FULL, AGAIN, DELTA):
            if step == DELTA:
                bench.source.mutate(CHANGED_SHARE)
            before = database.traces(dsn, schema, tables) if step == AGAIN else {}
            sample = worker.run(step)
            wrote = before != database.traces(dsn, schema, tables) if step == AGAIN else None
            # Every record must be in its table or in quarantine.
            loaded, kept = database.contents(dsn, schema, dataset.table), database.open_items(dsn, schema)
            quantity = None if kept.rows else loaded.quantity
            together = Contents(loaded.rows + kept.rows, loaded.versions + kept.versions, quantity)
            yield step, msgspec.structs.replace(sample, wrote=wrote, problem=_problem(bench, together))


def _other(bench: Bench, entity: str, loader: str, command: Sequence[str]) -> Iterator[tuple[str, Sample]]:
    dsn, schema = bench.server.dsn, "bench_" + loader.replace("-", "_")
    database.drop_schemas(dsn, schema, f"{schema}_staging", f"{schema}_start", f"{schema}_start_staging")
    for state in (schema, f"{schema}_start"):
        shutil.rmtree(peers_home(bench) / "dltdir" / state, ignore_errors=True)
    peers_home(bench).mkdir(exist_ok=True)

    def run(mode: str, schema: str, url: str) -> Sample:
        words = [word.format(entity=entity, mode=mode, schema=schema) if "{" in word else word for word in command]
        return run_program(bench, words, url=f"{url}/p")

    yield START, run("full", f"{schema}_start", bench.source.empty_url)
    for step in (FULL, AGAIN, DELTA):
        if step == DELTA:
            bench.source.mutate(CHANGED_SHARE)
        sample = run("incr" if step == DELTA else "full", schema, bench.source.url)
        problem = sample.problem or _problem(bench, database.contents(dsn, schema, entity))
        yield step, msgspec.structs.replace(sample, problem=problem)


def _problem(bench: Bench, found: Contents) -> str | None:
    expected = bench.source.sums()
    quantity = expected.quantity if found.quantity is None else found.quantity
    if (found.rows, found.versions, quantity) == tuple(expected):
        return None
    return f"holds {tuple(found)} where the source has {tuple(expected)}"
