"""
The sync's cost must not creep up: its CPU over that of a floor, on the same rows in the same minute.

A ratio, because machines differ; CPU and not wall time, because what else runs on them differs too.
Record what it costs now: `HUB_BENCH_RECORD=1 ./hub test tests/benchmarks`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from include.cli.bench.figures import AGAIN, FULL, cost_ratio
from include.cli.bench.loaders import OWN_FLOOR, own_floor
from include.cli.bench.processes import Bench, SourceProcess
from include.cli.bench.rounds import measured
from include.cli.stack.postgres import PostgresServer

BASELINE = Path(__file__).with_name("baseline.json")
#: Worse than this fails: below it lies what CI machines differ by.
TOLERANCE = 1.25
#: Enough that PostgreSQL's CPU, which is told to 10 ms where a connection has ended, is told well enough.
ROWS = 30_000
ROUNDS = 3


@pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory are read from /proc, which only Linux has")
def test_a_sync_costs_no_more_cpu_over_the_floor_than_it_did(
    postgres: PostgresServer, hub_dsn: str, tmp_path: Path
) -> None:
    """A slow path comes in by small steps, each of them unseen."""
    server = postgres.pid()
    assert server is not None
    with SourceProcess("inventory", ROWS) as source:
        bench = Bench(source=source, dsn=hub_dsn, postgres_pid=server, folder=tmp_path)
        runs = list(measured(bench, "inventory", {OWN_FLOOR: own_floor()}, repeat=ROUNDS, tell=print))
    ratios = {step: round(cost_ratio(runs, step), 2) for step in (FULL, AGAIN)}
    if os.environ.get("HUB_BENCH_RECORD"):
        BASELINE.write_text(json.dumps(ratios) + "\n")

    baseline = json.loads(BASELINE.read_text())

    worse = {step: (ratio, baseline[step]) for step, ratio in ratios.items() if ratio > baseline[step] * TOLERANCE}
    assert not worse, f"CPU over the floor's, now and as recorded: {worse}. See where it goes: ./hub profile sync"
    assert not any(run.sample.wrote for run in runs), "a full read with nothing changed wrote to the hub's tables"
