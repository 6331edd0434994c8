"""
The sync's cost must not creep up: its CPU over that of a floor, on the same rows in the same minute.

It is a ratio because machines differ; of CPU and not wall time because their load differs too; of the cheapest round of
each because a disturbance only ever adds to a round. When the ratio is too high, more rounds are measured before the
test fails: a disturbance passes, a slow path stays.

Record the current cost on an idle machine: `HUB_BENCH_RECORD=1 ./hub test tests/bench`.

**It fails on one machine and passes on another?** The two sides differ in kind: ours uses more of Arrow and pandas, the
floor more of PostgreSQL, and processors differ in what they do well. Take the last commit that passed elsewhere, record
it on this machine, and test your commit against that. If it fails again, your change is the cause: `./hub profile sync`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from crossdock.bench.report import machine
from crossdock.bench.server import Server
from crossdock.bench.sync.figures import AGAIN, FULL, Run, cost_ratio
from crossdock.bench.sync.loaders import OWN_FLOOR, own_floor
from crossdock.bench.sync.processes import Bench, SourceProcess
from crossdock.bench.sync.rounds import run_rounds
from crossdock.stack.postgres import PostgresServer

BASELINE = Path(__file__).with_name("baseline.json")
#: A ratio worse than this fails; CI machines differ by less.
TOLERANCE = 1.25
#: Enough rows that PostgreSQL's CPU, known to 10 ms where a connection has ended, is exact enough.
ROWS = 30_000
#: To begin with, and at most.
ROUNDS, MOST_ROUNDS = 3, 7


@pytest.mark.deep
@pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory are read from /proc, which only Linux has")
def test_a_sync_costs_no_more_cpu_over_the_floor_than_it_did(
    postgres: PostgresServer, hub_dsn: str, tmp_path: Path
) -> None:
    """A sync becomes slow in small steps that nobody notices."""
    server = postgres.pid()
    assert server is not None
    recording = bool(os.environ.get("HUB_BENCH_RECORD"))
    baseline = {} if recording else json.loads(BASELINE.read_text())
    runs: list[Run] = []
    with SourceProcess("inventory", ROWS) as source:
        bench = Bench(source, Server(hub_dsn, server, tmp_path))
        for rounds in (MOST_ROUNDS,) if recording else (ROUNDS, *[1] * (MOST_ROUNDS - ROUNDS)):
            runs += run_rounds(bench, "inventory", {OWN_FLOOR: own_floor()}, repeat=rounds, say=print)
            ratios = {step: round(cost_ratio(runs, step), 2) for step in (FULL, AGAIN)}
            if recording or not _worse(ratios, baseline):
                break
    if recording:
        baseline = {**ratios, "machine": machine()}
        BASELINE.write_text(json.dumps(baseline) + "\n")

    assert not (worse := _worse(ratios, baseline)), (
        f"CPU over the floor's, now and as recorded: {worse}. Measured on {machine()}, recorded on"
        f" {baseline.get('machine')}. See where it goes: ./hub profile sync. On another machine: see the top of this file"
    )
    assert not any(run.sample.wrote for run in runs), "a full read with nothing changed wrote to the hub's tables"


def _worse(ratios: dict[str, float], baseline: dict[str, float]) -> dict[str, tuple[float, float]]:
    return {step: (ratio, baseline[step]) for step, ratio in ratios.items() if ratio > baseline[step] * TOLERANCE}
