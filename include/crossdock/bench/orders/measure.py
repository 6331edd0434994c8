"""One measurement: orders placed at a rate, driven to their end by workers, and the CPU that this took."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple, Protocol

import msgspec

from crossdock.app.orders import not_called, order_flows
from crossdock.bench import meter
from crossdock.bench.orders.parts import Parts, sku_of
from crossdock.bench.orders.worker import WorkerOptions
from crossdock.bench.sync import database
from crossdock.bench.sync.processes import Child
from crossdock.commerce.orders import service, steps
from crossdock.commerce.orders.placement import Line, NewOrder
from crossdock.commerce.orders.steps import Sequence as Order
from crossdock.commerce.payments.model import ANY_GATEWAY
from crossdock.db.database import Store
from crossdock.workflows.model import Driver

#: Threads that place orders: more than are at work at once.
_PLACING = 4
#: After the last order was placed, so long for those that are on their way. More than that is not kept up with.
_PATIENCE_S = 300.0
_LOOK_S = 0.1
_MILLI = 1e3

#: One that is not confirmed has no time.
_TIMES = b"""
SELECT reference, extract(epoch FROM changed_at)::float8 FROM placed_order
 WHERE starts_with(reference, %(run)s) AND state = 'confirmed'
"""
_OPEN = b"""
SELECT count(*) FROM execution JOIN placed_order ON order_id = subject
 WHERE starts_with(reference, %(run)s) AND execution.state IN ('running', 'undoing')
"""
_COMMITS = b"SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

_runs = itertools.count()


class CpuMs(msgspec.Struct, frozen=True, kw_only=True):
    """The CPU of one order, in milliseconds."""

    #: The workers or the tasks, and the process that places.
    hub: float
    #: The hub's database.
    postgres: float
    sandbox: float
    #: Airflow besides its tasks, its database included; 0 where it does not drive.
    airflow: float = 0.0

    @property
    def total(self) -> float:
        return self.hub + self.postgres + self.sandbox + self.airflow


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one measurement."""

    way: str
    #: Orders placed a second; 0 for all at once.
    offered: float
    orders: int
    confirmed: int
    #: From the first order to the last confirmation.
    confirmed_per_s: float
    #: From the moment an order was due to be placed to its confirmation. Of those that were confirmed.
    p50_s: float
    p95_s: float
    cpu_ms: CpuMs
    transactions: float
    statements: float


class Driving(NamedTuple):
    """The CPU seconds so far of what drives orders."""

    #: Of the workers or the tasks.
    hub_s: Callable[[], float]
    #: Of Airflow beside them.
    airflow_s: Callable[[], float] = lambda: 0.0


class Way(Protocol):
    """How orders are driven."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def driver(self) -> Driver:
        """Which orders it takes."""
        ...

    def started(self, parts: Parts) -> AbstractContextManager[Driving]:
        """Drive orders while the block runs; give the CPU that this takes."""
        ...


class ByEvents(NamedTuple):
    """Delivery workers, each a process, as in production."""

    workers: int
    driver: Driver = Driver.EVENTS

    @property
    def name(self) -> str:
        return "by events"

    @contextmanager
    def started(self, parts: Parts) -> Iterator[Driving]:
        """Run the workers while the block runs; give their CPU."""
        with ExitStack() as opened:
            children = [
                opened.enter_context(Child("crossdock.bench.orders.worker", _options(parts, number, self.workers)))
                for number in range(self.workers)
            ]
            yield Driving(hub_s=lambda: sum(meter.cpu_s(child.pid) for child in children))


def _options(parts: Parts, number: int, workers: int) -> str:
    options = WorkerOptions(dsn=parts.server.dsn, number=number, workers=workers, connections=parts.connections)
    return msgspec.json.encode(options).decode()


def measure(parts: Parts, way: Way, driving: Driving, orders: int, *, rate: float = 0.0) -> Figures:
    """
    Place *orders* at *rate* (0: as fast as they can be placed) and wait until all have ended, or for `_PATIENCE_S`.

    The loop is open: an order has its due time, and what waits in a queue counts.
    """
    run = f"run{next(_runs)}-"
    database.reset_statements(parts.server.dsn)
    with Store(parts.server.dsn) as store:
        before, commits = _cpu(parts, driving), _commits(store)
        began_at = time.time()
        due = _place(parts, way, run, orders, rate)
        _wait(store, run)
        spent, commits = _cpu(parts, driving) - before, _commits(store) - commits
        with store.transaction() as work:
            ended = dict(work.execute(_TIMES, {"run": run}).fetchall())
    statements = sum(found.calls for found in database.costliest_statements(parts.server.dsn, 10_000))
    waits = sorted(ended[reference] - due[reference] for reference in ended)
    return Figures(
        way=way.name,
        offered=rate,
        orders=orders,
        confirmed=len(ended),
        confirmed_per_s=round(len(ended) / (max(ended.values(), default=began_at + 1) - began_at), 1),
        p50_s=_percentile(waits, 0.5),
        p95_s=_percentile(waits, 0.95),
        cpu_ms=spent.each(orders),
        transactions=round(commits / orders, 1),
        statements=round(statements / orders, 1),
    )


class _Cpu(NamedTuple):
    """CPU seconds so far."""

    hub: float
    postgres: float
    sandbox: float
    airflow: float

    def __sub__(self, other: _Cpu) -> _Cpu:
        return _Cpu(*(now - before for now, before in zip(self, other, strict=True)))

    def each(self, orders: int) -> CpuMs:
        return CpuMs(**{name: round(seconds * _MILLI / orders, 1) for name, seconds in self._asdict().items()})


def _cpu(parts: Parts, driving: Driving) -> _Cpu:
    return _Cpu(
        hub=time.process_time() + driving.hub_s(),
        postgres=meter.cpu_s(parts.server.pid),
        sandbox=sum(meter.cpu_s(child.pid) for child in parts.sandboxes.values()),
        airflow=driving.airflow_s(),
    )


def _place(parts: Parts, way: Way, run: str, orders: int, rate: float) -> dict[str, float]:
    """Place the orders, each at its time; return when each was due, by its reference."""
    flow = order_flows(not_called)[steps.flow_name(Order.RESERVE_FIRST)]
    local = threading.local()
    opened: list[Store] = []
    began, began_at = time.monotonic(), time.time()

    def place(number: int) -> tuple[str, float]:
        if not hasattr(local, "store"):
            local.store = Store(parts.server.dsn)
            opened.append(local.store)
        due_s = number / rate if rate else 0.0
        time.sleep(max(began + due_s - time.monotonic(), 0.0))
        with local.store.transaction() as work:
            service.place(work, flow, _order(f"{run}{number}", number), driver=way.driver, actor="bench")
        return f"{run}{number}", began_at + due_s

    try:
        with ThreadPoolExecutor(_PLACING) as pool:
            return dict(pool.map(place, range(orders)))
    finally:
        for store in opened:
            store.close()


def _order(reference: str, number: int) -> NewOrder:
    return NewOrder(
        reference=reference,
        currency="EUR",
        lines=(
            Line(sku=sku_of(number), quantity=1, price_minor=1_250),
            Line(sku=sku_of(number + 7), quantity=2, price_minor=990),
        ),
        email=f"{reference}@example.com",
        customer_name="Ada Lovelace",
        payment_methods={ANY_GATEWAY: "pm_card_visa"},
    )


def _wait(store: Store, run: str) -> None:
    """Wait until all orders have ended, or for so long that the rest counts as not confirmed."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        with store.transaction() as work:
            if work.execute(_OPEN, {"run": run}).fetchone() == (0,):
                return
        time.sleep(_LOOK_S)


def _commits(store: Store) -> int:
    with store.transaction() as work:
        row = work.execute(_COMMITS).fetchone()
    return int(row[0]) if row else 0


def _percentile(ordered: list[float], part: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 3) if ordered else 0.0
