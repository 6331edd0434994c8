"""The measurements beside the rounds, in small, with real workers."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest

from crossdock.bench.server import Server
from crossdock.bench.sync import database, scaling
from crossdock.bench.sync.processes import Bench, SourceProcess
from crossdock.stack.postgres import PostgresServer

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="CPU and memory are read from /proc, which only Linux has"
)


def test_two_workers_leave_the_hub_as_one_does(postgres: PostgresServer, hub_dsn: str, tmp_path: Path) -> None:
    """The check can fail: one more unit of one record is a different state."""
    server = postgres.pid()
    assert server is not None
    with SourceProcess("inventory", 400) as source:
        bench = Bench(source, Server(hub_dsn, server, tmp_path))
        found = scaling.scale_out(bench, "inventory", print, latency_ms=0, repeat=1)
    schema = "bench_scaling"

    assert found["scale_out_other_states"] == 0
    assert found["scale_out_gain"] > 0
    before = database.state(hub_dsn, schema, "inventory")
    assert before[0] == 400
    with psycopg.connect(hub_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE bench_scaling.inventory SET quantity_on_stock = quantity_on_stock + 1"
            " WHERE id = (SELECT min(id) FROM bench_scaling.inventory)"
        )
    assert database.state(hub_dsn, schema, "inventory") != before
