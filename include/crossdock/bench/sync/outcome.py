"""A whole run of the sync's benchmark: its samples, its goals, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from crossdock.bench.report import Goal, Setup, Table, goals_table, markdown
from crossdock.bench.sync.figures import (
    AGAIN,
    DELTA,
    FLOORS,
    FULL,
    OURS,
    STEPS,
    Line,
    Run,
    lines_of,
    median_starts,
    ratio,
)

_TITLES = {
    FULL: "Full load into empty",
    AGAIN: "Full load, nothing changed",
    DELTA: "One row in a hundred changed",
}
_START_NOTE = (
    "Taken out of the net figures above: for us importing everything and loading Great Expectations, which a worker"
    " does once; for the others a run of the same program against a source without records."
)
#: Peer → how many times faster than it a full load is to be.
_FULL_LOAD_GOALS = {"dlt-rest_api-default": 6, "dlt-adbc-arrow": 1.5, "airflow-insert_rows-fast": 2}
#: Measured outside the rounds (see `scaling`), when asked for: key → what it is, and its limit.
_SCALING_GOALS: dict[str, tuple[str, dict[str, Any]]] = {
    "peak_pss_mb_large": ("peak PSS at the large size", {"limit": 350, "unit": " MiB"}),
    "pss_growth_ratio": ("peak PSS at the large size, of that at the usual one", {"limit": 1.1}),
    "seconds_a_row_ratio": ("time a row at the large size, of that at the usual one", {"limit": 1.2}),
    "pages_in_flight_gain": ("100 ms a page: faster than one page at a time", {"limit": 4, "at_least": True}),
    "scale_out_gain": ("100 ms a page: two workers, faster than one", {"limit": 1.6, "at_least": True}),
    "scale_out_other_states": ("two workers: end states that differ from one worker's", {"limit": 0, "unit": ""}),
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    setup: Setup
    entity: str
    rows: int
    repeat: int
    ids: str
    #: What is missing, in sentences.
    left_out: tuple[str, ...]
    runs: tuple[Run, ...]
    #: What was measured outside the rounds.
    extra: dict[str, float]

    @property
    def lines(self) -> list[Line]:
        return lines_of(self.runs)

    @property
    def goals(self) -> list[Goal]:
        return goals(self.lines, self.extra)

    @property
    def tables(self) -> list[Table]:
        lines = self.lines
        steps = [[line for line in lines if line.step == step] for step in (FULL, AGAIN, DELTA)]
        return [goals_table(self.goals), *[self._step(found) for found in steps if found], self._starts()]

    @property
    def page(self) -> str:
        intro = (
            f"Measured {self.setup.measured_at} on {self.setup.machine}; PostgreSQL {self.setup.postgres}; medians of"
            f" {self.repeat} interleaved rounds; ids {self.ids}. Made by:"
        )
        where = (
            "What the words mean and what is left out of a fair comparison: [README.md](README.md)."
            f" Raw samples: [sync-{self.entity}.json](sync-{self.entity}.json)."
        )
        title = f"Sync of {self.rows:,} {self.entity}, beside other loaders"
        return markdown(title, [intro], self.setup.command, self.tables, [where, *self.left_out])

    def _step(self, lines: Sequence[Line]) -> Table:
        step = lines[0].step
        floor = next((line for name in FLOORS for line in lines if line.loader == name), None)
        rows = self.rows if step != DELTA else max(1, self.rows // 100)
        tasks = next((line.tasks for line in lines if line.loader == OURS), {})
        note = "Ours by task: " + ", ".join(f"{task} {seconds:.2f} s" for task, seconds in tasks.items()) + "."
        head = [
            *("loader", "wall s", "client CPU s", "PostgreSQL CPU s", "net wall s", "rows/s (net)", "net CPU s"),
            *(f"net CPU x {floor.loader if floor else 'floor'}", "peak PSS MiB", "log MB", "adds up"),
        ]
        body = [
            [
                line.loader,
                *(f"{line.median(what):.2f}" for what in ("wall_s", "client_cpu_s", "postgres_cpu_s")),
                *_net_cells(line, rows, floor),
                *(f"{line.peak_pss_mb:.0f}", f"{line.median('log_mb'):.1f}", line.problems or "yes"),
            ]
            for line in lines
        ]
        return Table(_TITLES[step], head, body, note if tasks else "")

    def _starts(self) -> Table:
        rows = [
            [
                loader,
                *(f"{s:.2f}" for s in (start.wall_s, start.client_cpu_s, start.postgres_cpu_s)),
                f"{start.peak_pss_mb:.0f}",
            ]
            for loader, start in median_starts(self.runs).items()
        ]
        head = ["loader", "wall s", "client CPU s", "PostgreSQL CPU s", "PSS MiB"]
        return Table("What starting costs", head, rows, _START_NOTE)


def _net_cells(line: Line, rows: int, floor: Line | None) -> list[str]:
    """Show seconds, rows a second, CPU and its ratio to the floor's, without the start; dashes if too short to tell."""
    if not line.is_resolved:
        return ["-"] * 4
    over_floor = f"{line.net_cpu_s / floor.net_cpu_s:.2f}" if floor and floor.is_resolved else "-"
    return [f"{line.net_wall_s:.2f}", f"{rows / line.net_wall_s:,.0f}", f"{line.net_cpu_s:.2f}", over_floor]


def goals(lines: Sequence[Line], extra: Mapping[str, float]) -> list[Goal]:
    """List what the sync is to reach beside what it reached; *extra* was measured outside the rounds."""
    at = {(line.loader, line.step): line for line in lines}
    floor = next((name for name in FLOORS if (name, FULL) in at), FLOORS[0])
    # The own floor, where it ran, knows the wall time of a short step exactly.
    own = FLOORS[-1] if (FLOORS[-1], DELTA) in at else floor
    again = at.get((OURS, AGAIN))
    peers = sorted({line.loader for line in lines} - {OURS, *FLOORS})

    def cost(what: str, step: str, other: str, limit: float) -> Goal:
        return Goal(what=f"{what}: CPU of {other}", figure=ratio(at, step, OURS, other, "net_cpu_s"), limit=limit)

    def faster(what: str, step: str, peer: str, limit: float) -> Goal:
        figure = ratio(at, step, peer, OURS, "net_wall_s")
        return Goal(what=f"{what}: faster than {peer}", figure=figure, limit=limit, at_least=True)

    return [
        cost("full load into empty", FULL, floor, 2.5),
        *[faster("full load", FULL, peer, limit) for peer, limit in _FULL_LOAD_GOALS.items()],
        cost("full load", FULL, "airflow-insert_rows-fast", 1),
        cost("nothing changed", AGAIN, floor, 2.0),
        Goal(
            what="nothing changed: rounds that wrote to entity, history or event tables",
            figure=None if again is None else float(again.wrote),
            limit=0,
            unit="",
        ),
        *[faster("1 % changed", DELTA, peer, 2) for peer in peers],
        Goal(what=f"1 % changed: wall of {own}", figure=ratio(at, DELTA, OURS, own, "net_wall_s"), limit=2.0),
        *_memory_goals([at[OURS, step] for step in STEPS if (OURS, step) in at], extra.get("idle_pss_mb")),
        *[Goal(what=what, figure=extra.get(key), **more) for key, (what, more) in _SCALING_GOALS.items()],
    ]


def _memory_goals(ours: Sequence[Line], idle_mb: float | None) -> list[Goal]:
    peak_mb = max((line.peak_pss_mb for line in ours), default=None)
    growth_mb = None if peak_mb is None or idle_mb is None else peak_mb - idle_mb
    return [
        Goal(what="peak PSS of the flow's process", figure=peak_mb, limit=350, unit=" MiB"),
        Goal(what="growth of PSS over the idle state", figure=growth_mb, limit=100, unit=" MiB"),
    ]
