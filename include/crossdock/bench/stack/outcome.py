"""The cost of a local stack: samples, goals and the report. Pure."""

from __future__ import annotations

from statistics import median

import msgspec

from crossdock.bench.report import Goal, Setup, Table, goals_table, markdown


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One `./hub up`."""

    how: str
    wall_s: float
    #: Of the command and everything it started, until it reported that the stack is healthy.
    cpu_s: float


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One of the stack's processes with its descendants."""

    name: str
    processes: int
    #: Busy cores while the stack has nothing to do.
    idle_cores: float
    pss_mb: float
    #: After the DAG runs.
    pss_mb_after: float = 0.0


class DeltaRun(msgspec.Struct, frozen=True, kw_only=True):
    """A DAG run that synced one changed record, from its trigger to the end that Airflow recorded."""

    wall_s: float
    #: Of the executor's workers and the tasks they ran.
    tasks_cpu_s: float
    #: Of the whole stack.
    stack_cpu_s: float
    #: Seconds that each task ran.
    tasks: dict[str, float]
    updated: int


class StackOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one measurement."""

    setup: Setup
    airflow: str
    idle_s: float
    records: int
    starts: tuple[Start, ...]
    processes: tuple[Process, ...]
    #: DAG file → seconds of each import.
    imports: dict[str, list[float]]
    runs: tuple[DeltaRun, ...]

    @property
    def goals(self) -> list[Goal]:
        slowest = max((median(seconds) for seconds in self.imports.values()), default=None)
        wall_s = percentile([run.wall_s for run in self.runs], 50)
        cpu_s = percentile([run.tasks_cpu_s for run in self.runs], 50)
        cores = sum(process.idle_cores for process in self.processes)
        wrong = float(sum(run.updated != 1 for run in self.runs))
        idle = f"idle for {self.idle_s:.0f} s: busy cores of the whole stack"
        return [
            *[Goal(what=f"./hub up, {start.how}", figure=start.wall_s, limit=60, unit=" s") for start in self.starts],
            Goal(what=idle, figure=cores, limit=0.15, unit=" cores"),
            Goal(what="slowest DAG file to import, beyond Airflow", figure=slowest, limit=0.3, unit=" s"),
            Goal(what="one changed record, trigger to done: P50", figure=wall_s, limit=5, unit=" s"),
            Goal(what="one changed record: CPU of its tasks, P50", figure=cpu_s, limit=2, unit=" s"),
            Goal(what="runs that did not sync exactly their one change", figure=wrong, limit=0, unit=""),
        ]

    @property
    def tables(self) -> list[Table]:
        starts = [[start.how, f"{start.wall_s:.1f}", f"{start.cpu_s:.1f}"] for start in self.starts]
        imports = [[file, f"{median(seconds):.3f}", f"{max(seconds):.3f}"] for file, seconds in self.imports.items()]
        at_rest = ["process", "processes", "busy cores", "PSS MiB", "PSS MiB after the runs"]
        return [
            goals_table(self.goals),
            Table("Starting", ["`./hub up`", "seconds", "CPU s"], starts),
            Table("At rest", at_rest, [_cells(process) for process in (*self.processes, self._together())]),
            Table("One changed record", [f"{len(self.runs)} runs", "P50", "P95", "most"], self._run_rows()),
            Table("DAG files", ["file", "median s", "most s"], imports),
        ]

    @property
    def page(self) -> str:
        made = self.setup
        intro = (
            f"Measured {made.measured_at} on {made.machine}; Airflow {self.airflow}, PostgreSQL"
            f" {made.postgres}; {self.records:,} stock levels in the hub. Made by:"
        )
        where = "What is measured, and how: [README.md](README.md). Raw samples: [stack.json](stack.json)."
        return markdown("A local stack", [intro], made.command, self.tables, [where])

    def _together(self) -> Process:
        return Process(
            name="together",
            processes=sum(process.processes for process in self.processes),
            idle_cores=sum(process.idle_cores for process in self.processes),
            pss_mb=sum(process.pss_mb for process in self.processes),
            pss_mb_after=sum(process.pss_mb_after for process in self.processes),
        )

    def _run_rows(self) -> list[list[str]]:
        tasks = self.runs[0].tasks if self.runs else {}
        samples = {
            "trigger to done, s": [run.wall_s for run in self.runs],
            **{f"{task} at work, s": [run.tasks.get(task, 0.0) for run in self.runs] for task in tasks},
            "CPU of its tasks, s": [run.tasks_cpu_s for run in self.runs],
            "CPU of the whole stack, s": [run.stack_cpu_s for run in self.runs],
        }
        return [
            [what, *(f"{percentile(values, share) or 0:.2f}" for share in (50, 95, 100))]
            for what, values in samples.items()
        ]


def _cells(process: Process) -> list[object]:
    return [
        process.name,
        process.processes,
        f"{process.idle_cores:.3f}",
        f"{process.pss_mb:.0f}",
        f"{process.pss_mb_after:.0f}",
    ]


def percentile(values: list[float], share: int) -> float | None:
    """Find the smallest value that *share* percent of *values* do not exceed; None for no values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else None
