"""The page of the benchmark of orders."""

from __future__ import annotations

import msgspec

from crossdock.bench.orders.measure import Figures
from crossdock.bench.report import Goal, Setup, Table, chart, goals_table, markdown

#: On two cores, by events and by the DAG in batches.
WANTED_PER_S, WANTED_P95_S, WANTED_PER_S_IN_BATCHES = 50.0, 2.0, 20.0
#: A rate is kept up with if so much of it was confirmed a second.
KEPT_UP = 0.9


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One way to drive orders."""

    #: At rising rates.
    curve: tuple[Figures, ...]
    #: All at once: as fast as it goes.
    fastest: Figures

    @property
    def runs(self) -> tuple[Figures, ...]:
        return (*self.curve, self.fastest)

    @property
    def plot(self) -> str:
        return chart(
            f"From request to confirmed, {self.fastest.way}",
            "orders placed a second",
            "seconds (upper line P95, lower line P50)",
            [f"{run.offered:g}" for run in self.curve],
            {"P50": [run.p50_s for run in self.curve], "P95": [run.p95_s for run in self.curve]},
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    setup: Setup
    #: The average number of processes that wanted a core while orders were driven by events.
    load_average: float
    workers: int
    events: Measured
    #: By the DAG, as many orders in a run as wait.
    batches: Measured
    #: By the DAG, each order in a run of its own.
    singles: Measured

    @property
    def goals(self) -> list[Goal]:
        half = [run for run in self.events.curve if run.offered >= WANTED_PER_S / 2]
        return [
            _throughput(self.events, WANTED_PER_S),
            Goal(
                what=f"from request to confirmed by events at {WANTED_PER_S / 2:g}/s, P95",
                figure=half[0].p95_s if half else None,
                limit=WANTED_P95_S,
                unit=" s",
            ),
            _throughput(self.batches, WANTED_PER_S_IN_BATCHES),
        ]

    @property
    def tables(self) -> list[Table]:
        runs = [*self.events.runs, *self.batches.runs, *self.singles.runs]
        return [goals_table(self.goals), _speed(runs), _cpu(runs)]

    @property
    def page(self) -> str:
        made = self.setup
        intro = [
            (
                f"Measured {made.measured_at} on {made.machine}; PostgreSQL {made.postgres}. The load average was {self.load_average:g}: "
                "more than the cores and what the benchmark itself keeps busy means that others disturbed it."
            ),
            (
                "Each order has two lines, is checked at a simulated HubSpot, paid at a simulated Stripe by authorisation and "
                "capture, and confirmed by a mail to a simulated SMTP server. The workers, PostgreSQL with synchronous commits, and "
                "each simulated system are processes of their own. The order is placed by the use case that the route calls: HTTP "
                "and the check of the caller's token are not included."
            ),
            f"**By events**, {self.workers} delivery workers drive the orders, with all subscribers of the hub.",
            (
                "**By the DAG**, a real Airflow with the settings of `./hub up` does. In batches, a run takes the orders that wait, "
                "at most 200, and the next run begins after it, as its asset has it. In batches of 1, each order has a run of its "
                "own. A run has one task after the other, and Airflow needs a second or more for each, whatever is in it: this is "
                "most of the latency. Airflow also runs its delivery workers meanwhile."
            ),
        ]
        notes = [
            (
                "HubSpot's own limit of 10 calls a second is taken away: with it, a hub whose orders are checked there places no "
                "more than that, whatever the hub can do."
            )
        ]
        plots = "\n\n".join(each.plot for each in (self.events, self.batches, self.singles))
        return markdown("Orders", intro, made.command, self.tables, notes) + f"\n{plots}\n"


def _throughput(way: Measured, wanted_per_s: float) -> Goal:
    """Compare the most orders a second at which a way has kept up, or with all at once."""
    return Goal(
        what=f"orders a second, {way.fastest.way}",
        figure=max(run.confirmed_per_s for run in way.runs),
        limit=wanted_per_s,
        at_least=True,
        unit="/s",
    )


def _speed(runs: list[Figures]) -> Table:
    head = ["placed/s", "way", "orders", "confirmed", "confirmed/s", "P50, s", "P95, s"]
    rows = [
        [
            *(f"{run.offered:g}" if run.offered else "all at once", run.way, run.orders, run.confirmed),
            *(f"{run.confirmed_per_s:g}", f"{run.p50_s:.2f}", f"{run.p95_s:.2f}"),
        ]
        for run in runs
    ]
    note = "From the moment at which an order was due to be placed to its confirmation; what waits in a queue counts."
    return Table("From request to confirmed", head, rows, note)


def _cpu(runs: list[Figures]) -> Table:
    head = [
        "placed/s",
        "way",
        "hub, ms",
        "PostgreSQL, ms",
        "sandbox, ms",
        "Airflow, ms",
        "together, ms",
        "transactions",
        "statements",
    ]
    rows = [
        [
            *(f"{run.offered:g}" if run.offered else "all at once", run.way),
            *(f"{ms:.1f}" for ms in (*msgspec.structs.astuple(run.cpu_ms), run.cpu_ms.total)),
            *(f"{run.transactions:g}", f"{run.statements:g}"),
        ]
        for run in runs
    ]
    note = (
        "The CPU of one order, from the kernel's accounts. At a low rate it holds more of what runs without orders: the "
        "subscribers look for events all the time, and Airflow for tasks. PostgreSQL is the hub's database; Airflow's own is under "
        "Airflow, and its tasks are under the hub."
    )
    return Table("Where the CPU of one order goes", head, rows, note)
