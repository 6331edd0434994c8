"""
The sync's cost must not creep up: its CPU over that of a floor, on the same rows in the same minute.

A ratio, because machines differ; CPU and not wall time, because what else runs on them differs too; of the least
disturbed round of each, because what disturbs a round only ever adds to it. When that is too much, more rounds are
measured before anybody is told: a disturbance passes, a slow path stays.

Record what it costs now, on a machine that does nothing else: `HUB_BENCH_RECORD=1 ./hub test tests/bench`.

**Red on one machine and green on another?** The two sides are not of one kind: ours has more of Arrow and pandas, the
floor more of PostgreSQL, and processors differ in what they do well. Take the last commit that was green elsewhere,
record on this machine, and test yours against that. Red again: it is your change. Then `./hub profile sync`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from crossdock.bench.sync.figures import AGAIN, FULL, Run, cost_ratio
from crossdock.bench.sync.loaders import OWN_FLOOR, own_floor
from crossdock.bench.sync.processes import Bench, SourceProcess
from crossdock.bench.sync.report import machine
from crossdock.bench.sync.rounds import measured
from crossdock.stack.postgres import PostgresServer

BASELINE = Path(__file__).with_name("baseline.json")
#: Worse than this fails: below it lies what CI machines differ by.
TOLERANCE = 1.25
#: Enough that PostgreSQL's CPU, which is told to 10 ms where a connection has ended, is told well enough.
ROWS = 30_000
#: At first, and at most.
ROUNDS, MOST_ROUNDS = 3, 7


@pytest.mark.deep
@pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory are read from /proc, which only Linux has")
def test_a_sync_costs_no_more_cpu_over_the_floor_than_it_did(
    postgres: PostgresServer, hub_dsn: str, tmp_path: Path
) -> None:
    """A slow path comes in by small steps, each of them unseen."""
    server = postgres.pid()
    assert server is not None
    recording = bool(os.environ.get("HUB_BENCH_RECORD"))
    baseline = {} if recording else json.loads(BASELINE.read_text())
    runs: list[Run] = []
    with SourceProcess("inventory", ROWS) as source:
        bench = Bench(source=source, dsn=hub_dsn, postgres_pid=server, folder=tmp_path)
        for rounds in (MOST_ROUNDS,) if recording else (ROUNDS, *[1] * (MOST_ROUNDS - ROUNDS)):
            runs += measured(bench, "inventory", {OWN_FLOOR: own_floor()}, repeat=rounds, tell=print)
            ratios = {step: round(cost_ratio(runs, step), 2) for step in (FULL, AGAIN)}
            if recording or not _worse(ratios, baseline):
                break
    if recording:
        baseline = {**ratios, "machine": machine()}
        BASELINE.write_text(json.dumps(baseline) + "\n")

    assert not (worse := _worse(ratios, baseline)), (
        f"CPU over the floor's, now and as recorded: {worse}. Measured on {machine()}, recorded on"
        f" {baseline.get('machine')}. See where it goes: ./hub profile sync. Another machine: see this file's first words"
    )
    assert not any(run.sample.wrote for run in runs), "a full read with nothing changed wrote to the hub's tables"


def _worse(ratios: dict[str, float], baseline: dict[str, float]) -> dict[str, tuple[float, float]]:
    return {step: (ratio, baseline[step]) for step, ratio in ratios.items() if ratio > baseline[step] * TOLERANCE}
