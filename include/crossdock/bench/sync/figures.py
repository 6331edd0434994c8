"""Turn samples into medians and ratios. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import msgspec

#: Start without work; load into empty tables; load again unchanged; load after one row in a hundred changed.
START, FULL, AGAIN, DELTA = STEPS = ("start", "full", "again", "delta")
OURS = "crossdock"
#: The reference loaders, best first.
FLOORS = ("floor-pipe2", "floor")
#: No step takes less: the difference of two medians must not become zero.
_SHORTEST_S = 0.001
#: A step that adds less than this share to its program's start cannot be distinguished from the noise of starting.
_RESOLVED_SHARE = 0.05


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measured step of one loader; of a loader that is a whole program, its start is included."""

    wall_s: float
    client_cpu_s: float
    postgres_cpu_s: float
    source_cpu_s: float = 0.0
    peak_pss_mb: float = 0.0
    log_mb: float = 0.0
    #: Seconds by task, where the loader reports them.
    tasks: dict[str, float] = {}
    #: What the loader reports about its rows and its own clock.
    counts: dict[str, Any] = {}
    #: True if a step without changes wrote to the table of the entity, its history or its events; None if not checked.
    wrote: bool | None = None
    #: Why the result is wrong; None when the target adds up to the source.
    problem: str | None = None

    @property
    def cpu_s(self) -> float:
        return self.client_cpu_s + self.postgres_cpu_s


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A sample and its place in the rounds."""

    loader: str
    round_no: int
    step: str
    sample: Sample


class Line(NamedTuple):
    """All samples of one loader's step, and those of its start; "net" is without the start."""

    loader: str
    step: str
    samples: Sequence[Sample]
    starts: Sequence[Sample]

    def median(self, what: str) -> float:
        return float(median(getattr(sample, what) for sample in self.samples))

    @property
    def net_wall_s(self) -> float:
        return self._net("wall_s")

    @property
    def net_cpu_s(self) -> float:
        return self._net("cpu_s")

    @property
    def peak_pss_mb(self) -> float:
        return max(sample.peak_pss_mb for sample in self.samples)

    @property
    def tasks(self) -> dict[str, float]:
        return {task: median(sample.tasks[task] for sample in self.samples) for task in self.samples[0].tasks}

    @property
    def wrote(self) -> bool:
        return any(sample.wrote for sample in self.samples)

    @property
    def problems(self) -> str:
        return "; ".join(dict.fromkeys(sample.problem for sample in self.samples if sample.problem))

    @property
    def is_resolved(self) -> bool:
        """Whether the net figures can be distinguished from the noise of the start."""
        if self._has_no_start or self._has_own("wall_s"):
            return True
        start_s = median(start.wall_s for start in self.starts)
        return self.median("wall_s") - start_s >= start_s * _RESOLVED_SHARE

    @property
    def _has_no_start(self) -> bool:
        """Our warm worker has started before its steps begin."""
        return self.loader == OURS or not self.starts

    def _has_own(self, what: str) -> bool:
        return all(what in sample.counts for sample in self.samples)

    def _net(self, what: str) -> float:
        """Subtract the start from the median. Our floor's own clock is preferred: it is more exact."""
        if self._has_no_start:
            return self.median(what)
        if self._has_own(what):
            own = float(median(sample.counts[what] for sample in self.samples))
            server_s = self.median("postgres_cpu_s") - median(start.postgres_cpu_s for start in self.starts)
            return max(own + (server_s if what == "cpu_s" else 0.0), _SHORTEST_S)
        start_s: float = median(getattr(start, what) for start in self.starts)
        return max(self.median(what) - start_s, _SHORTEST_S)


def lines_of(runs: Iterable[Run]) -> list[Line]:
    """Group *runs* by loader and step, in the order in which they first ran; starts have no line of their own."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for run in runs:
        found.setdefault((run.loader, run.step), []).append(run.sample)
    return [
        Line(loader, step, samples, found.get((loader, START), []))
        for (loader, step), samples in found.items()
        if step != START
    ]


def median_starts(runs: Iterable[Run]) -> dict[str, Sample]:
    """Loader → its median start, by CPU."""
    found: dict[str, list[Sample]] = {}
    for run in runs:
        if run.step == START:
            found.setdefault(run.loader, []).append(run.sample)
    return {name: sorted(starts, key=lambda s: s.cpu_s)[len(starts) // 2] for name, starts in found.items()}


def ratio(at: Mapping[tuple[str, str], Line], step: str, above: str, below: str, what: str) -> float | None:
    """Divide two net figures; None unless both loaders ran, added up and took measurably longer than their start."""
    one, other = at.get((above, step)), at.get((below, step))
    if one is None or other is None or any(line.problems or not line.is_resolved for line in (one, other)):
        return None
    return float(getattr(one, what) / getattr(other, what))


def cost_ratio(runs: Iterable[Run], step: str, floor: str = FLOORS[-1]) -> float:
    """
    Divide the CPU of our *step* (client and PostgreSQL) by that of our own *floor* with its connections open.

    Each is the smallest of its rounds: a disturbance on a busy machine only ever adds to it.

    Raises:
        ValueError: one of the two did not run, or did not add up.

    """
    found = list(runs)
    broken = [f"{run.loader} {run.step}: {run.sample.problem}" for run in found if run.sample.problem]
    if broken:
        raise ValueError("; ".join(broken))
    ours = [run.sample.cpu_s for run in found if (run.loader, run.step) == (OURS, step)]
    floors = [
        float(run.sample.counts["cpu_s"] + run.sample.postgres_cpu_s)
        for run in found
        if (run.loader, run.step) == (floor, step)
    ]
    if not ours or not floors:
        raise ValueError(f"{OURS} and {floor} did not both run {step}")
    return min(ours) / min(floors)
