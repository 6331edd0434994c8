"""The event store measured beside the plain log, on a server of its own, and the report."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import time
from collections.abc import Sequence
from statistics import median

import msgspec

from crossdock.app.database import migrate
from crossdock.bench.events.logs import HubLog, PlainLog
from crossdock.bench.events.measure import Figures, measure
from crossdock.bench.report import Goal, Say, Setup, Table, goals_table, markdown, setup
from crossdock.bench.server import database_server
from crossdock.bench.sync.database import server_version
from crossdock.connectors.commercetools.inventory import INVENTORY
from crossdock.db.database import Store
from crossdock.stack.postgres import HUB_OPTIONS
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.landing import Landing
from crossdock.sync.model import SyncRequest

#: The rate at which the goals hold.
RATE = 20_000
#: Until the consumers have claimed their partitions and the first events are on their way.
_WARM_UP_S = 3.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The duration of each part of the benchmark."""

    closed_events: int = 200_000
    repeats: int = 3
    curve: tuple[int, ...] = (1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000)
    curve_s: float = 8
    steady_s: float = 60
    #: Of the same rate while the sync runs, which is over in seconds.
    sync_s: float = 10
    sync_rows: int = 100_000
    proof_events: int = 1_000_000


QUICK = Plan(closed_events=50_000, repeats=1, curve_s=2, steady_s=6, sync_s=6, sync_rows=20_000, proof_events=100_000)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Very many events, each counted at its effect."""

    events: int
    lost: int
    doubled: int
    processed_per_s: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    setup: Setup
    closed: tuple[Figures, ...]
    #: Ours over the plain log's, medians of events processed a second.
    ratio: float
    curve: tuple[Figures, ...]
    steady: tuple[Figures, ...]
    #: While a sync of `sync_rows` rows ran on the same server, for `sync_s` seconds.
    during_sync: Figures
    sync_rows: int
    sync_s: float
    #: One consumer and two, in turns, of what was published before.
    readers: tuple[Figures, ...]
    #: Two consumers over one, medians of events processed a second.
    growth: float
    proof: Proof

    @property
    def goals(self) -> list[Goal]:
        steady = next(run for run in self.steady if run.log == HubLog.name)
        at_rate = f"{RATE:,}/s for {steady.events / RATE:.0f} s"
        return [
            Goal(what=f"{at_rate}: publish, P95", figure=steady.publish_ms[1], limit=10, unit=" ms"),
            Goal(what=f"{at_rate}: processing, P95", figure=steady.processing_ms[1], limit=100, unit=" ms"),
            Goal(what="as fast as possible: rate of the plain log", figure=self.ratio, limit=0.5, at_least=True),
            Goal(what=f"of {self.proof.events:,} events: lost", figure=self.proof.lost, limit=0, unit=""),
            Goal(what=f"of {self.proof.events:,} events: doubled", figure=self.proof.doubled, limit=0, unit=""),
        ]

    @property
    def tables(self) -> list[Table]:
        found = [*self.closed, *self.curve, *self.steady, self.during_sync, *self.readers]
        head = ["log", "offered/s", "readers", "published/s", "processed/s", "publish ms P50/P95/P99", "processing ms"]
        rows = [
            [
                *(run.log, run.offered or "as fast as possible", run.readers),
                *(round(run.published_per_s), round(run.processed_per_s)),
                *(" / ".join(f"{value:g}" for value in values) for values in (run.publish_ms, run.processing_ms)),
            ]
            for run in found
        ]
        note = (
            f"Two readers process {self.growth:.2f} times as much as one. A sync of {self.sync_rows:,} rows that ran at"
            f" the same time took {self.sync_s:g} s."
        )
        return [goals_table(self.goals), Table("Events of 1 KB, synchronous_commit on", head, rows, note)]

    @property
    def page(self) -> str:
        made = self.setup
        intro = f"Measured {made.measured_at} on {made.machine}; PostgreSQL {made.postgres}. Made by:"
        return markdown("The event store, beside a plain log", [intro], made.command, self.tables)


def run(plan: Plan, command: str, say: Say) -> Report:
    """Measure every part of *plan*, one after the other."""
    both = (PlainLog(), HubLog())
    with database_server(HUB_OPTIONS) as server:
        dsn = server.dsn
        migrate(dsn)
        closed: list[Figures] = []
        for turn in range(plan.repeats):
            say(f"As fast as possible, {turn + 1} of {plan.repeats}")
            closed += [measure(log, dsn, plan.closed_events) for log in both]
        curve: list[Figures] = []
        for rate in plan.curve:
            say(f"{rate:,} events a second")
            curve += [measure(log, dsn, int(rate * plan.curve_s), rate=rate) for log in both]
        say(f"{RATE:,} a second for {plan.steady_s:g} s")
        steady = [measure(log, dsn, int(RATE * plan.steady_s), rate=RATE) for log in both]
        say(f"The same while a sync of {plan.sync_rows:,} rows runs")
        during, sync_s = _during_sync(dsn, plan)
        readers: list[Figures] = []
        for turn in range(plan.repeats):
            say(f"One reader, then two, of what was published before, {turn + 1} of {plan.repeats}")
            readers += [measure(HubLog(), dsn, plan.closed_events, readers=n, published_before=True) for n in (1, 2)]
        say(f"{plan.proof_events:,} events, each counted")
        proof = _proof(dsn, plan.proof_events)
        made = setup(command, server_version(dsn))
    return Report(
        setup=made,
        closed=tuple(closed),
        ratio=round(_median_rate(closed[1::2]) / _median_rate(closed[::2]), 2),
        curve=tuple(curve),
        steady=tuple(steady),
        during_sync=during,
        sync_rows=plan.sync_rows,
        sync_s=round(sync_s, 1),
        readers=tuple(readers),
        growth=round(_median_rate(readers[1::2]) / _median_rate(readers[::2]), 2),
        proof=proof,
    )


def _during_sync(dsn: str, plan: Plan) -> tuple[Figures, float]:
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    child = context.Process(target=_sync, args=(dsn, plan.sync_rows, reports))
    child.start()
    reports.get(timeout=120)  # The sandbox answers and Great Expectations is loaded.
    figures = measure(HubLog(), dsn, int(RATE * plan.sync_s), rate=RATE)
    sync_s: float = reports.get(timeout=300)
    child.join(30)
    return figures, sync_s


def _sync(dsn: str, rows: int, reports: multiprocessing.Queue[float]) -> None:
    """Run a full sync of *rows* stock levels, in a process of its own with a sandbox of its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a stack trace.
    from crossdock.connectors.commercetools import Commercetools  # noqa: PLC0415  a spawned child's own
    from crossdock.sandbox.commercetools.retailer import FakeRetailer  # noqa: PLC0415
    from crossdock.sync.expectations import load_great_expectations  # noqa: PLC0415

    load_great_expectations()
    with (
        FakeRetailer(seed=7, inventory=rows, products=0, orders=0, customers=0, flaws=0) as shop,
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
        reports.put(0.0)
        time.sleep(_WARM_UP_S)
        began = time.monotonic()
        run_id = extract(INVENTORY, systems, SyncRequest(full=True), dag_run_id="bench")
        load(INVENTORY, systems, validate(INVENTORY, systems, run_id))
        reports.put(time.monotonic() - began)


def _proof(dsn: str, events: int) -> Proof:
    log = HubLog(tally=True)
    figures = measure(log, dsn, events, readers=2)
    effects, had_one = log.effects(dsn)
    return Proof(
        events=events, lost=events - had_one, doubled=effects - had_one, processed_per_s=figures.processed_per_s
    )


def _median_rate(figures: Sequence[Figures]) -> float:
    return median(figure.processed_per_s for figure in figures)
