"""Orders at rising load, on parts of their own: by events, and by the DAG."""

from __future__ import annotations

import os

import msgspec

from crossdock.app.order_runs import BATCH
from crossdock.bench.orders.by_dag import ByDag, stack_on
from crossdock.bench.orders.measure import ByEvents, Driving, Figures, Way, measure
from crossdock.bench.orders.outcome import KEPT_UP, Measured, Report
from crossdock.bench.orders.parts import Parts, parts
from crossdock.bench.report import Say, setup
from crossdock.bench.sync.database import server_version


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one way is measured with."""

    #: Orders placed a second, rising.
    rates: tuple[float, ...]
    #: How long each rate is kept.
    seconds: float
    at_once: int
    #: The first orders, which do not count: they open connections and load what a step needs.
    warm_up: int
    #: With a P95 above this, a rate that is not kept up with is the last one.
    late_s: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Each part of the benchmark."""

    workers: int = 2
    events: Load = Load(rates=(2, 5, 10, 15, 20, 25, 30, 40, 50, 60), seconds=20, at_once=500, warm_up=20, late_s=5)
    #: A run of the DAG takes ten seconds and more for Airflow alone.
    batches: Load = Load(rates=(2, 5, 10, 15, 20), seconds=60, at_once=2 * BATCH, warm_up=5, late_s=45)
    singles: Load = Load(rates=(0.05, 0.1, 0.2, 0.4), seconds=60, at_once=10, warm_up=1, late_s=45)


QUICK = Plan(
    events=Load(rates=(2, 5, 10), seconds=5, at_once=60, warm_up=20, late_s=2),
    batches=Load(rates=(5,), seconds=10, at_once=BATCH, warm_up=2, late_s=45),
    singles=Load(rates=(0.1,), seconds=20, at_once=3, warm_up=1, late_s=45),
)


def run(plan: Plan, command: str, say: Say) -> Report:
    """Measure every part of *plan*, one after the other."""
    with parts() as started:
        events = _measured(started, ByEvents(plan.workers), plan.events, say)
        load_average = os.getloadavg()[0]
        # Only now: at rest, a stack takes part of a core.
        with stack_on(started, say) as api:
            batches = _measured(started, ByDag(api, BATCH), plan.batches, say)
            singles = _measured(started, ByDag(api, 1), plan.singles, say)
        made = setup(command, server_version(started.server.dsn))
    return Report(
        setup=made,
        load_average=round(load_average, 1),
        workers=plan.workers,
        events=events,
        batches=batches,
        singles=singles,
    )


def _measured(started: Parts, way: Way, load: Load, say: Say) -> Measured:
    with way.started(started) as driving:
        say(f"The first orders {way.name}")
        measure(started, way, driving, load.warm_up)
        curve = _curve(started, way, driving, load, say)
        say(f"{load.at_once} orders at once {way.name}")
        fastest = measure(started, way, driving, load.at_once)
    return Measured(curve=tuple(curve), fastest=fastest)


def _curve(started: Parts, way: Way, driving: Driving, load: Load, say: Say) -> list[Figures]:
    """Measure at rising rates; at no higher one once a rate is not kept up with."""
    curve: list[Figures] = []
    for rate in load.rates:
        say(f"{rate:g} orders a second {way.name}")
        curve.append(measure(started, way, driving, max(int(rate * load.seconds), 1), rate=rate))
        last = curve[-1]
        is_late = last.confirmed_per_s < KEPT_UP * rate and last.p95_s > load.late_s
        if is_late or last.confirmed < last.orders:
            break
    return curve
