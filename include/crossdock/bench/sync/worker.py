"""
The measured child: a warm worker that runs the functions of the three DAG tasks, one after the other.

It imports what a task imports, loads Great Expectations as Airflow's long-lived processes do before they fork, opens
its connections, says that it is ready, and waits. Each line of its input is a step, each line of its output an answer.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from crossdock.bench.interrupts import exit_on_signals
from crossdock.bench.meter import ended_children_cpu_s
from crossdock.connectors.commercetools import KIND, Commercetools
from crossdock.connectors.commercetools.inventory import INVENTORY
from crossdock.connectors.commercetools.orders import ORDERS
from crossdock.connectors.commercetools.products import PRODUCTS
from crossdock.db.database import Store
from crossdock.sync import Stream, Systems, extract, load, validate
from crossdock.sync.expectations import load_great_expectations
from crossdock.sync.landing import Landing
from crossdock.sync.model import SyncRequest

#: What is synced, by its dataset.
STREAMS = {stream.dataset.name: stream.of(KIND) for stream in (INVENTORY, PRODUCTS, ORDERS)}
#: prctl's PR_SET_PTRACER with any process.
_SET_PTRACER, _ANY = 0x59616D61, -1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m crossdock.bench.sync.worker")
    for name in ("entity", "source", "dsn", "schema", "landing"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--pages-in-flight", type=int, help="in place of the flow's own number")
    parser.add_argument("--shard", help="1/2: this worker's shard of a full load; all of it without")
    options = parser.parse_args()
    # Where only a parent may trace a process (Ubuntu), py-spy, which is a sibling, needs this permission.
    ctypes.CDLL(None).prctl(_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)
    # Great Expectations holds a semaphore. A process that a signal ends at once leaves it behind, and since Python 3.14
    # another process then prints a warning about it.
    with exit_on_signals():
        _serve(options)


def _serve(options: argparse.Namespace) -> None:
    load_great_expectations()
    with Store(options.dsn, schema=options.schema) as store:
        more = {"pages_in_flight": options.pages_in_flight} if options.pages_in_flight else {}
        source, landing = Commercetools(options.source, "p"), Landing(options.landing)
        systems = Systems(source=source, store=store, landing=landing, **more)
        with store.transaction():
            pass  # opens the connection
        _answer({"ready": True, "cpu_s": _cpu_s()})
        for line in sys.stdin:
            request = SyncRequest(full=line.strip() != "delta", shard=options.shard)
            _answer(_run(STREAMS[options.entity], systems, request, only_extract=line.strip() == "extract"))


def _run(stream: Stream, systems: Systems, request: SyncRequest, *, only_extract: bool) -> dict[str, Any]:
    """Run *request* task by task, and measure each."""
    seconds: dict[str, float] = {}

    def timed(task: str, run: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = run()
        seconds[task] = time.perf_counter() - began
        return done

    cpu_before, counts = _cpu_s(), {}
    run_id = timed("extract", lambda: extract(stream, systems, request))
    if not only_extract:
        timed("validate", lambda: validate(stream, systems, run_id))
        counts = msgspec.to_builtins(timed("load", lambda: load(stream, systems, run_id)).counts)
    return {"wall_s": sum(seconds.values()), "client_cpu_s": _cpu_s() - cpu_before, "tasks": seconds, "counts": counts}


def _cpu_s() -> float:
    """CPU seconds of this process with all its threads, and of the children it has waited for."""
    return time.process_time() + ended_children_cpu_s()


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
