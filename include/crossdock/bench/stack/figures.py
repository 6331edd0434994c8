"""What a local stack costs, measured: its samples, and its verdicts. Pure."""

from __future__ import annotations

from statistics import median

import msgspec

from crossdock.bench.sync.figures import Goal


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One `./hub up`."""

    how: str
    wall_s: float
    #: Of the command and of all that it started, until it said that the stack is healthy.
    cpu_s: float


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One of the stack's processes with all that it started."""

    name: str
    processes: int
    #: Busy cores while nothing is asked of the stack.
    idle_cores: float
    pss_mb: float
    #: After the DAG runs.
    pss_mb_after: float = 0.0


class DeltaRun(msgspec.Struct, frozen=True, kw_only=True):
    """A DAG run that brought one changed record, from its trigger to Airflow's word that it is done."""

    wall_s: float
    #: Of the executor's workers and the tasks they ran.
    tasks_cpu_s: float
    #: Of the whole stack.
    stack_cpu_s: float
    #: Seconds that each task was at work.
    tasks: dict[str, float]
    updated: int


class StackSetting(msgspec.Struct, frozen=True, kw_only=True):
    command: str
    measured_at: str
    machine: str
    airflow: str
    postgres: str
    idle_s: float
    records: int


class StackOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A whole measurement, as it is kept."""

    setting: StackSetting
    starts: tuple[Start, ...]
    processes: tuple[Process, ...]
    #: DAG file → seconds of each import.
    imports: dict[str, list[float]]
    runs: tuple[DeltaRun, ...]

    @property
    def goals(self) -> list[Goal]:
        slowest = max((median(seconds) for seconds in self.imports.values()), default=None)
        walls = [run.wall_s for run in self.runs]
        return [
            *[Goal(what=f"./hub up, {start.how}", figure=start.wall_s, limit=60, unit=" s") for start in self.starts],
            Goal(
                what=f"idle for {self.setting.idle_s:.0f} s: busy cores of the whole stack",
                figure=sum(each.idle_cores for each in self.processes),
                limit=0.15,
                unit=" cores",
            ),
            Goal(what="slowest DAG file to import, beyond Airflow", figure=slowest, limit=0.3, unit=" s"),
            Goal(what="one changed record, trigger to done: P50", figure=percentile(walls, 50), limit=5, unit=" s"),
            Goal(
                what="one changed record: CPU of its tasks, P50",
                figure=percentile([run.tasks_cpu_s for run in self.runs], 50),
                limit=2,
                unit=" s",
            ),
            Goal(
                what="runs that did not bring exactly their one change",
                figure=float(sum(run.updated != 1 for run in self.runs)),
                limit=0,
                unit="",
            ),
        ]


def percentile(values: list[float], share: int) -> float | None:
    """The smallest value that *share* percent of *values* do not exceed; None for no values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else None
