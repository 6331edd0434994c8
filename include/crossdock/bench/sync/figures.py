"""From samples to medians, ratios and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

#: Nothing to do; a full load into empty; the same again with nothing changed; what changed of one row in a hundred.
START, FULL, AGAIN, DELTA = STEPS = ("start", "full", "again", "delta")
OURS = "crossdock"
#: The reference of the floor, the best there is first.
FLOORS = ("floor-pipe2", "floor")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one loader, as it was measured: for whole processes with their start."""

    wall_s: float
    client_cpu_s: float
    postgres_cpu_s: float
    source_cpu_s: float = 0.0
    peak_pss_mb: float = 0.0
    log_mb: float = 0.0
    #: Seconds of each task, where the loader tells them apart.
    tasks: dict[str, float] = {}
    #: What the loader says of its rows.
    counts: dict[str, Any] = {}
    #: Whether a step without changes wrote into the entity's, history's or events' table; None where nobody looked.
    wrote: bool | None = None
    #: What is wrong with the result; None when the target adds up to the source.
    problem: str | None = None

    @property
    def cpu_s(self) -> float:
        return self.client_cpu_s + self.postgres_cpu_s


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A sample and when it was taken."""

    loader: str
    round_no: int
    step: str
    sample: Sample


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of a loader's step; `net` is without the loader's start."""

    loader: str
    step: str
    rounds: int
    wall_s: float
    net_wall_s: float
    client_cpu_s: float
    postgres_cpu_s: float
    net_cpu_s: float
    peak_pss_mb: float
    log_mb: float
    tasks: dict[str, float]
    #: Whether the net figures stand out from the start that was taken out of them.
    resolved: bool
    wrote: bool
    problems: tuple[str, ...]

    @property
    def cpu_s(self) -> float:
        return self.client_cpu_s + self.postgres_cpu_s


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table of verdicts."""

    what: str
    #: None where the other side was not measured, failed, or took no longer than it takes to start.
    figure: float | None
    limit: float
    #: Whether more is better.
    at_least: bool = False
    unit: str = "x"

    @property
    def reached(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def verdict(self) -> str:
        """Reached, or by how much not."""
        if self.figure is None:
            return "not measured, or too short to tell"
        if self.reached:
            return "reached"
        if not self.limit:
            return f"missed by {self.figure:g}"
        short = self.limit / self.figure if self.at_least else self.figure / self.limit
        return f"missed by {short:.2f}x"


def lines_of(runs: Iterable[Run]) -> list[Line]:
    """The medians of each loader's step but its start, in the order in which they first ran."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for run in runs:
        found.setdefault((run.loader, run.step), []).append(run.sample)
    return [
        _line(loader, step, samples, found.get((loader, START), []))
        for (loader, step), samples in found.items()
        if step != START
    ]


def _line(loader: str, step: str, samples: Sequence[Sample], starts: Sequence[Sample]) -> Line:
    tasks = {task: median(sample.tasks[task] for sample in samples) for task in samples[0].tasks}
    return Line(
        loader=loader,
        step=step,
        rounds=len(samples),
        wall_s=median(sample.wall_s for sample in samples),
        net_wall_s=_net(samples, starts, "wall_s", warm=loader == OURS),
        client_cpu_s=median(sample.client_cpu_s for sample in samples),
        postgres_cpu_s=median(sample.postgres_cpu_s for sample in samples),
        net_cpu_s=_net(samples, starts, "cpu_s", warm=loader == OURS),
        peak_pss_mb=max(sample.peak_pss_mb for sample in samples),
        log_mb=median(sample.log_mb for sample in samples),
        tasks=tasks,
        resolved=_is_resolved(samples, starts, warm=loader == OURS),
        wrote=any(sample.wrote for sample in samples),
        problems=tuple(dict.fromkeys(sample.problem for sample in samples if sample.problem)),
    )


#: No step takes less: a difference of two medians must not become nothing.
_LEAST_S = 0.001


def _net(samples: Sequence[Sample], starts: Sequence[Sample], what: str, *, warm: bool) -> float:
    """
    The median without the start. A warm worker has started before its steps begin; our floor says itself what it took
    once its connections were open, which is more exact than a difference of two runs.
    """
    raw: float = median(getattr(sample, what) for sample in samples)
    if warm or not starts:
        return raw
    if all(what in sample.counts for sample in samples):
        own: float = median(sample.counts[what] for sample in samples)
        at_server = median(s.postgres_cpu_s for s in samples) - median(s.postgres_cpu_s for s in starts)
        return max(own + (at_server if what == "cpu_s" else 0.0), _LEAST_S)
    start: float = median(getattr(start, what) for start in starts)
    return max(raw - start, _LEAST_S)


#: A step that adds less than this share to the start of its program is lost in the noise of starting.
_RESOLVED_SHARE = 0.05


def _is_resolved(samples: Sequence[Sample], starts: Sequence[Sample], *, warm: bool) -> bool:
    if warm or not starts or all("wall_s" in sample.counts for sample in samples):
        return True
    start_s = median(start.wall_s for start in starts)
    return median(sample.wall_s for sample in samples) - start_s >= start_s * _RESOLVED_SHARE


def start_of(runs: Iterable[Run], loader: str) -> Sample | None:
    """The median start of *loader*, by its CPU."""
    starts = sorted((run.sample for run in runs if run.loader == loader and run.step == START), key=lambda s: s.cpu_s)
    return starts[len(starts) // 2] if starts else None


def cost_ratio(runs: Iterable[Run], step: str, floor: str = FLOORS[-1]) -> float:
    """
    CPU of our *step* (client and PostgreSQL) over that of our own *floor* with its connections open.

    Each is the least of its rounds: what disturbs a run on a busy machine only ever adds to it.

    Raises:
        ValueError: one of the two did not run, or did not add up.

    """
    found = list(runs)
    broken = [f"{run.loader} {run.step}: {run.sample.problem}" for run in found if run.sample.problem]
    if broken:
        raise ValueError("; ".join(broken))
    ours = [run.sample.cpu_s for run in found if (run.loader, run.step) == (OURS, step)]
    theirs = [
        float(run.sample.counts["cpu_s"] + run.sample.postgres_cpu_s)
        for run in found
        if (run.loader, run.step) == (floor, step)
    ]
    if not ours or not theirs:
        raise ValueError(f"{OURS} and {floor} did not both run {step}")
    return min(ours) / min(theirs)


def goals(lines: Sequence[Line], extra: Mapping[str, float] | None = None) -> list[Goal]:
    """What the sync is to reach, with what it reached; *extra* has what was measured beside the rounds (`_BESIDE`)."""
    at = {(line.loader, line.step): line for line in lines}
    more = dict(extra or {})
    floor = next((name for name in FLOORS if (name, FULL) in at), FLOORS[0])
    own = FLOORS[-1] if (FLOORS[-1], DELTA) in at else floor
    ours = {step: at.get((OURS, step)) for step in STEPS}
    again = ours[AGAIN]
    peers = sorted({line.loader for line in lines} - {OURS, *FLOORS})
    insert_rows = "airflow-insert_rows-fast"
    found = [
        Goal(
            what=f"full load into empty: CPU of {floor}", figure=_ratio(at, FULL, OURS, floor, "net_cpu_s"), limit=2.5
        ),
        _faster(at, FULL, "dlt-rest_api-default", 6),
        _faster(at, FULL, "dlt-adbc-arrow", 1.5),
        _faster(at, FULL, insert_rows, 2),
        Goal(what=f"full load: CPU of {insert_rows}", figure=_ratio(at, FULL, OURS, insert_rows, "net_cpu_s"), limit=1),
        Goal(what=f"nothing changed: CPU of {floor}", figure=_ratio(at, AGAIN, OURS, floor, "net_cpu_s"), limit=2.0),
        Goal(
            what="nothing changed: rounds that wrote to entity, history or event tables",
            figure=None if again is None else float(again.wrote),
            limit=0,
            unit="",
        ),
        *[_faster(at, DELTA, peer, 2) for peer in peers],
        # Against our own floor where it ran: it tells a short step's wall time exactly.
        Goal(what=f"1 % changed: wall of {own}", figure=_ratio(at, DELTA, OURS, own, "net_wall_s"), limit=2.0),
    ]
    peak = max((line.peak_pss_mb for line in ours.values() if line), default=None)
    idle = more.get("idle_pss_mb")
    found += [
        Goal(what="peak PSS of the flow's process", figure=peak, limit=350, unit=" MiB"),
        Goal(
            what="growth of PSS over the idle state",
            figure=None if peak is None or idle is None else peak - idle,
            limit=100,
            unit=" MiB",
        ),
    ]
    found += [Goal(what=what, figure=more.get(key), **kind) for key, (what, kind) in _BESIDE.items()]
    return found


#: Measured beside the rounds, when asked for: key → what it is, and its limit.
_BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "peak_pss_mb_large": ("peak PSS at the large size", {"limit": 350, "unit": " MiB"}),
    "pss_growth_ratio": ("peak PSS at the large size, of that at the usual one", {"limit": 1.1}),
    "seconds_a_row_ratio": ("time a row at the large size, of that at the usual one", {"limit": 1.2}),
    "pages_in_flight_gain": ("100 ms a page: faster than one page at a time", {"limit": 4, "at_least": True}),
    "scale_out_gain": ("100 ms a page: two workers, faster than one", {"limit": 1.6, "at_least": True}),
    "scale_out_other_states": ("two workers: end states that differ from one worker's", {"limit": 0, "unit": ""}),
}


def _faster(at: Mapping[tuple[str, str], Line], step: str, peer: str, limit: float) -> Goal:
    what = {FULL: "full load", DELTA: "1 % changed"}[step]
    return Goal(
        what=f"{what}: faster than {peer}",
        figure=_ratio(at, step, peer, OURS, "net_wall_s"),
        limit=limit,
        at_least=True,
    )


def _ratio(at: Mapping[tuple[str, str], Line], step: str, above: str, below: str, what: str) -> float | None:
    one, other = at.get((above, step)), at.get((below, step))
    if one is None or other is None or one.problems or other.problems or not (one.resolved and other.resolved):
        return None
    return float(getattr(one, what) / getattr(other, what))
