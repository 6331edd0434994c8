"""What is measured beside the rounds, in small, with real workers."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest
from crossdock.bench.sync import beside
from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync.processes import Bench, SourceProcess
from crossdock.stack.postgres import PostgresServer

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="CPU and memory are read from /proc, which only Linux has"
)


def test_two_workers_leave_the_hub_as_one_does(postgres: PostgresServer, hub_dsn: str, tmp_path: Path) -> None:
    """And the check can tell: one unit more on one shelf is another state."""
    server = postgres.pid()
    assert server is not None
    with SourceProcess("inventory", 400) as source:
        bench = Bench(source=source, dsn=hub_dsn, postgres_pid=server, folder=tmp_path)
        found = beside.scale_out(bench, "inventory", print, latency_ms=0, repeat=1)
    schema = "bench_beside"

    assert found["scale_out_other_states"] == 0
    assert found["scale_out_gain"] > 0
    before = measuring.state(hub_dsn, schema, "inventory")
    assert before[0] == 400
    with psycopg.connect(hub_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE bench_beside.inventory SET quantity_on_stock = quantity_on_stock + 1"
            " WHERE id = (SELECT min(id) FROM bench_beside.inventory)"
        )
    assert measuring.state(hub_dsn, schema, "inventory") != before
