"""
The measured child: a warm worker that runs the functions of the three DAG tasks, one after the other.

It imports what a task imports, loads Great Expectations as Airflow's long-lived processes do before they fork, opens
its connections, says "ready" and waits. Each line on its standard input is a step, each line of its output an answer.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from crossdock.app.streams import SYNCS
from crossdock.bench.sync.sampler import Sampler
from crossdock.connectors.commercetools import Commercetools
from crossdock.db.database import Store
from crossdock.sync import Sync, Systems, extract, load, validate
from crossdock.sync.expectations import load_great_expectations
from crossdock.sync.landing import Landing
from crossdock.sync.model import SyncRequest

FULL, DELTA = SyncRequest(full=True), SyncRequest()
#: The benchmark's word for an entity → the registry's.
SYNC_OF = {"inventory": "inventory", "products": "product", "orders": "order"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m crossdock.bench.sync.worker")
    for name in ("entity", "source", "dsn", "schema", "landing"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--pages-in-flight", type=int, help="in place of the flow's own number")
    parser.add_argument("--shard", help="1/2: this worker's share of a full load; all of it without")
    parser.add_argument("--sample", action="store_true", help="note where the CPU goes")
    asked = parser.parse_args()
    load_great_expectations()
    with Store(asked.dsn, schema=asked.schema) as store:
        systems = _systems(asked, store)
        with store.transaction():
            pass  # opens the connection
        _answer({"ready": True, "cpu_s": _cpu_s()})
        for line in sys.stdin:
            request = _request(line.strip(), asked.shard)
            only_read = line.strip() == "read"
            _answer(_measured(SYNCS[SYNC_OF[asked.entity]], systems, request, only_read=only_read, sample=asked.sample))


def _systems(asked: argparse.Namespace, store: Store) -> Systems:
    more = {"pages_in_flight": asked.pages_in_flight} if asked.pages_in_flight else {}
    return Systems(source=Commercetools(asked.source, "p"), store=store, landing=Landing(asked.landing), **more)


def _request(step: str, shard: str | None) -> SyncRequest:
    """For `full`, `again`, `delta`, or `read`, which is the first task of a full load alone."""
    return msgspec.structs.replace(DELTA if step == "delta" else FULL, shard=shard)


def _measured(sync: Sync, systems: Systems, request: SyncRequest, *, only_read: bool, sample: bool) -> dict[str, Any]:
    """What *request* took, task by task."""
    seconds: dict[str, float] = {}

    def timed(task: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = work()
        seconds[task] = time.perf_counter() - began
        return done

    sampler = Sampler() if sample else None
    cpu_before = _cpu_s()
    if sampler:
        sampler.start()
    counts = {}
    run_id = timed("extract", lambda: extract(sync, systems, request))
    if not only_read:
        timed("validate", lambda: validate(sync, systems, run_id))
        counts = msgspec.to_builtins(timed("load", lambda: load(sync, systems, run_id)).counts)
    samples = sampler.stop() if sampler else []
    return {
        "wall_s": sum(seconds.values()),
        "cpu_s": _cpu_s() - cpu_before,
        "tasks": seconds,
        "counts": counts,
        "samples": samples,
    }


def _cpu_s() -> float:
    """CPU seconds of this process with all its threads, and of the children it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
