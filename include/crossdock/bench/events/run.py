"""The event store measured beside the yardstick, on a server of its own that is gone afterwards."""

from __future__ import annotations

import multiprocessing
import signal
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg

from crossdock.bench.events import tally as bench_tally
from crossdock.bench.events.logs import HubLog, PlainLog
from crossdock.bench.events.measure import Figures, measure
from crossdock.bench.events.plot import Line, plot
from crossdock.connectors.commercetools.inventory import INVENTORY
from crossdock.db.database import Store
from crossdock.db.migrate import migrate
from crossdock.stack.ports import free_port
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.landing import Landing
from crossdock.sync.model import SyncRequest

CURVE = (1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000)
#: The rate of the promise.
RATE = 20_000
#: Until the readers have claimed their partitions and the first events are on their way.
_EVENTS_FLOW_S = 3.0
Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long each part takes."""

    closed_events: int = 200_000
    repeats: int = 3
    curve: tuple[int, ...] = CURVE
    curve_s: float = 8
    steady_s: float = 60
    #: Of the same rate while the sync runs, which is over in seconds.
    sync_s: float = 10
    sync_rows: int = 100_000
    proof_events: int = 1_000_000


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A great many events, each counted at its effect."""

    events: int
    lost: int
    doubled: int
    processed_per_s: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    closed: tuple[Figures, ...]
    #: Ours over the yardstick's, medians of events processed a second.
    ratio: float
    curve: tuple[Figures, ...]
    steady: tuple[Figures, ...]
    #: While a sync of so many rows ran on the same server; and how long that took.
    during_sync: Figures
    sync_rows: int
    sync_s: float
    #: One reader and two, in turns, of what was published before.
    readers: tuple[Figures, ...]
    #: Two readers over one, medians of events processed a second.
    growth: float
    proof: Proof


def run(plan: Plan, say: Say) -> Report:
    """All of it, one part after the other."""
    with _server() as dsn:
        closed = []
        for turn in range(plan.repeats):
            say(f"As fast as it goes, {turn + 1} of {plan.repeats}")
            closed += [measure(log, dsn, plan.closed_events) for log in (PlainLog(), HubLog())]
        curve = []
        for rate in plan.curve:
            say(f"{rate:,} events a second")
            curve += [measure(log, dsn, int(rate * plan.curve_s), rate=rate) for log in (PlainLog(), HubLog())]
        say(f"{RATE:,} a second for {plan.steady_s:g} s")
        steady = [measure(log, dsn, int(RATE * plan.steady_s), rate=RATE) for log in (PlainLog(), HubLog())]
        say(f"The same while a sync of {plan.sync_rows:,} rows runs")
        during, sync_s = _during_sync(dsn, plan)
        readers = []
        for turn in range(plan.repeats):
            say(f"One reader, then two, of what was published before, {turn + 1} of {plan.repeats}")
            readers += [
                measure(HubLog(), dsn, plan.closed_events, readers=number, published_before=True) for number in (1, 2)
            ]
        say(f"{plan.proof_events:,} events, each counted")
        proof = _proof(dsn, plan.proof_events)
    return Report(
        closed=tuple(closed),
        ratio=round(_median(closed, "crossdock") / _median(closed, "plain log"), 2),
        curve=tuple(curve),
        steady=tuple(steady),
        during_sync=during,
        sync_rows=plan.sync_rows,
        sync_s=round(sync_s, 1),
        readers=tuple(readers),
        growth=round(_median(readers[1::2], "crossdock") / _median(readers[::2], "crossdock"), 2),
        proof=proof,
    )


def picture(report: Report) -> str:
    """Waits over the rate, P95, as SVG."""
    lines = []
    for log in ("plain log", "crossdock"):
        points = [figures for figures in report.curve if figures.log == log]
        lines.append(Line(f"{log}: publish", [(each.offered, each.publish_ms[1]) for each in points]))
        lines.append(Line(f"{log}: processing", [(each.offered, each.processing_ms[1]) for each in points]))
    return plot("Events of 1 KB: P95 over the rate (open loop)", "events offered a second", "P95, ms", lines)


@contextmanager
def _server() -> Iterator[str]:
    """A migrated hub database on a PostgreSQL of its own, synchronous_commit on."""
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as folder:
        server = PostgresServer(Path(folder) / "server", free_port(), "bench", options=HUB_OPTIONS)
        server.initialise()
        server.start()
        try:
            with psycopg.connect(server.dsn(), autocommit=True) as connection:
                connection.execute("CREATE DATABASE hub")
            migrate(server.dsn("hub"))
            yield server.dsn("hub")
        finally:
            server.stop("immediate")
            server.remove()


def _during_sync(dsn: str, plan: Plan) -> tuple[Figures, float]:
    context = multiprocessing.get_context("spawn")
    took = context.Queue()
    child = context.Process(target=_sync, args=(dsn, plan.sync_rows, took))
    child.start()
    took.get(timeout=120)  # The retailer is open and the gate is warm; it begins when events flow.
    figures = measure(HubLog(), dsn, int(RATE * plan.sync_s), rate=RATE)
    sync_s: float = took.get(timeout=300)
    child.join(30)
    return figures, sync_s


def _sync(dsn: str, rows: int, took: multiprocessing.Queue[float]) -> None:
    """A full sync of so many stock levels, in a process of its own with a retailer of its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a stack trace.
    import time  # noqa: PLC0415  a spawned child's own

    from crossdock.connectors.commercetools import Commercetools  # noqa: PLC0415
    from crossdock.sandbox.server import Sandbox  # noqa: PLC0415
    from crossdock.sync.expectations import load_great_expectations  # noqa: PLC0415

    load_great_expectations()
    with (
        Sandbox(seed=7, inventory=rows, products=0, orders=0, customers=0, flaws=0) as shop,
        tempfile.TemporaryDirectory() as folder,
        Store(dsn) as store,
    ):
        source = Commercetools.signed_in(
            shop.url,
            shop.project,
            client_id=shop.client_id,
            secret=shop.client_secret,
            scope=f"view_products:{shop.project}",
        )
        systems = Systems(source=source, store=store, landing=Landing(folder))
        took.put(0.0)
        time.sleep(_EVENTS_FLOW_S)
        began = time.monotonic()
        run_id = extract(INVENTORY, systems, SyncRequest(full=True), dag_run_id="bench")
        load(INVENTORY, systems, validate(INVENTORY, systems, run_id))
        took.put(time.monotonic() - began)


def _proof(dsn: str, events: int) -> Proof:
    figures = measure(HubLog(tally=True), dsn, events, readers=2)
    with Store(dsn) as store, store.transaction() as work:
        effects, had_one = bench_tally.count(work)
    return Proof(
        events=events, lost=events - had_one, doubled=effects - had_one, processed_per_s=figures.processed_per_s
    )


def _median(figures: Sequence[Figures], log: str) -> float:
    return statistics.median(each.processed_per_s for each in figures if each.log == log)
