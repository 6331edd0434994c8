"""The figures of a run as Markdown, as a plot, and raw."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import msgspec

from crossdock.bench.sync.figures import (
    AGAIN,
    DELTA,
    FLOORS,
    FULL,
    OURS,
    STEPS,
    Goal,
    Line,
    Run,
    goals,
    lines_of,
    start_of,
)

_STEP_TITLES = {
    FULL: "Full load into empty",
    AGAIN: "Full load, nothing changed",
    DELTA: "One row in a hundred changed",
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and where."""

    entity: str
    rows: int
    repeat: int
    ids: str
    command: str
    measured_at: str
    machine: str
    postgres: str
    #: What is missing, in sentences.
    left_out: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run of the benchmark, as it is kept."""

    setting: Setting
    runs: tuple[Run, ...]
    #: What was measured beside the rounds; see `figures.goals`.
    extra: dict[str, float]

    @property
    def lines(self) -> list[Line]:
        return lines_of(self.runs)

    @property
    def goals(self) -> list[Goal]:
        return goals(self.lines, self.extra)


def machine() -> str:
    """Cores, processor, memory and Python of this machine."""
    model = platform.processor() or platform.machine()
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = next((line.split()[1] for line in _lines(Path("/proc/meminfo")) if line.startswith("MemTotal")), "0")
    return (
        f"{os.cpu_count()} cores ({model}), {int(memory) / 1024**2:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def write(outcome: Outcome, folder: Path) -> list[Path]:
    """The table, the plot and the raw samples in *folder*, under the entity's name."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"sync-{outcome.setting.entity}"
    contents = {
        f"{stem}.md": markdown(outcome),
        f"{stem}.svg": plot(outcome),
        f"{stem}.json": msgspec.json.format(msgspec.json.encode(outcome)).decode() + "\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


def markdown(outcome: Outcome) -> str:
    setting, lines = outcome.setting, outcome.lines
    parts = [
        f"# Sync of {setting.rows:,} {setting.entity}, beside other loaders",
        (
            f"Measured {setting.measured_at} on {setting.machine}; PostgreSQL {setting.postgres}; medians of"
            f" {setting.repeat} interleaved rounds; ids {setting.ids}. Made by:"
        ),
        f"```\n{setting.command}\n```",
        (
            "What the words mean and what is left out of a fair comparison: [README.md](README.md)."
            f" Raw samples: [sync-{setting.entity}.json](sync-{setting.entity}.json)."
        ),
        *setting.left_out,
        f"![Seconds by loader](sync-{setting.entity}.svg)",
        "## Goals",
        goals_table(outcome.goals),
        *[part for step in (FULL, AGAIN, DELTA) for part in _step(outcome, lines, step)],
        "## What starting costs",
        (
            "Taken out of the net figures above: for us importing everything and loading Great Expectations, which a worker"
            " does once; for the others a run of the same program against a source without records."
        ),
        _starts(outcome),
    ]
    return "\n\n".join(parts) + "\n"


def goals_table(found: Sequence[Goal]) -> str:
    rows = [
        [
            goal.what,
            _figure(goal.figure, goal.unit),
            f"{'≥' if goal.at_least else '≤'} {goal.limit:g}{goal.unit}",
            goal.verdict,
        ]
        for goal in found
    ]
    return table(["goal", "figure", "limit", "verdict"], rows)


def _step(outcome: Outcome, lines: Sequence[Line], step: str) -> list[str]:
    here = [line for line in lines if line.step == step]
    floor = next((line for name in FLOORS for line in here if line.loader == name), None)
    rows = outcome.setting.rows if step != DELTA else max(1, outcome.setting.rows // 100)
    ours = next((line for line in here if line.loader == OURS), None)
    split = ""
    if ours and ours.tasks:
        split = "Ours by task: " + ", ".join(f"{task} {seconds:.2f} s" for task, seconds in ours.tasks.items()) + "."
    head = [
        *("loader", "wall s", "client CPU s", "PostgreSQL CPU s", "net wall s", "rows/s (net)", "net CPU s"),
        *(f"net CPU x {floor.loader}" if floor else "net CPU x floor", "peak PSS MiB", "log MB", "adds up"),
    ]
    body = [
        [
            line.loader,
            f"{line.wall_s:.2f}",
            f"{line.client_cpu_s:.2f}",
            f"{line.postgres_cpu_s:.2f}",
            *_net_cells(line, rows, floor),
            f"{line.peak_pss_mb:.0f}",
            f"{line.log_mb:.1f}",
            "; ".join(line.problems) or "yes",
        ]
        for line in here
    ]
    return [f"## {_STEP_TITLES[step]}", table(head, body), *([split] if split else [])]


def _net_cells(line: Line, rows: int, floor: Line | None) -> list[str]:
    """Seconds, rows a second, CPU and that over the floor's, without the start; dashes where they cannot be told from it."""
    if not line.resolved:
        return ["-"] * 4
    over = f"{line.net_cpu_s / floor.net_cpu_s:.2f}" if floor and floor.resolved else "-"
    return [f"{line.net_wall_s:.2f}", f"{rows / line.net_wall_s:,.0f}", f"{line.net_cpu_s:.2f}", over]


def _starts(outcome: Outcome) -> str:
    rows = []
    for loader in dict.fromkeys(run.loader for run in outcome.runs):
        start = start_of(outcome.runs, loader)
        if start:
            rows.append(
                [
                    loader,
                    f"{start.wall_s:.2f}",
                    f"{start.client_cpu_s:.2f}",
                    f"{start.postgres_cpu_s:.2f}",
                    f"{start.peak_pss_mb:.0f}",
                ]
            )
    return table(["loader", "wall s", "client CPU s", "PostgreSQL CPU s", "PSS MiB"], rows)


def _figure(figure: float | None, unit: str) -> str:
    if figure is None:
        return "-"
    return f"{figure:.0f}{unit}" if not unit or unit.strip() == "MiB" else f"{figure:.2f}{unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """As Markdown, figures to the right."""
    aligned = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, aligned, *rows))


_WIDTH, _LABEL, _BAR, _GAP, _RIGHT = 860, 210, 9, 8, 70
_COLOURS = {"wall": "#4878a8", "client": "#e0934b", "postgres": "#7aa65a"}


def plot(outcome: Outcome) -> str:
    """Net wall and CPU seconds of each loader, a panel for each step, as SVG."""
    drawn: list[str] = []
    top = 34
    for step in (FULL, AGAIN, DELTA):
        here = [line for line in outcome.lines if line.step == step]
        if here:
            top = _panel(drawn, _STEP_TITLES[step], here, top)
    legend = [("wall", "net wall s"), ("client", "client CPU s"), ("postgres", "PostgreSQL CPU s (both raw)")]
    keys = "".join(
        f'<rect x="{_LABEL + 170 * at}" y="10" width="10" height="10" fill="{_COLOURS[key]}"/>'
        f'<text x="{_LABEL + 170 * at + 15}" y="19">{text}</text>'
        for at, (key, text) in enumerate(legend)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}"'
        f' font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>{keys}'
        + "".join(drawn)
        + "</svg>\n"
    )


def _panel(drawn: list[str], title: str, lines: Sequence[Line], top: int) -> int:
    """Draws a panel from *top* on and gives its end."""
    longest = max(max(line.net_wall_s, line.cpu_s) for line in lines)
    scale = (_WIDTH - _LABEL - _RIGHT) / longest
    drawn.append(f'<text x="{_LABEL}" y="{top + 14}" font-weight="bold">{escape(title)}</text>')
    top += 22
    for line in lines:
        drawn.append(f'<text x="{_LABEL - 6}" y="{top + _BAR + 3}" text-anchor="end">{escape(line.loader)}</text>')
        spans = [("wall", 0.0, line.net_wall_s, 0), ("client", 0.0, line.client_cpu_s, _BAR)]
        spans.append(("postgres", line.client_cpu_s, line.postgres_cpu_s, _BAR))
        drawn += [
            f'<rect x="{_LABEL + begin * scale:.1f}" y="{top + down}" width="{length * scale:.1f}" height="{_BAR - 1}"'
            f' fill="{_COLOURS[key]}"/>'
            for key, begin, length, down in spans
        ]
        end = _LABEL + max(line.net_wall_s, line.cpu_s) * scale + 5
        drawn.append(f'<text x="{end:.1f}" y="{top + _BAR + 3}">{line.net_wall_s:.2f} s</text>')
        top += 2 * _BAR + _GAP
    return top + 10


def as_rows(lines: Sequence[Line]) -> list[list[Any]]:
    """For the terminal."""
    return [
        [
            line.step,
            line.loader,
            *(round(figure, 2) for figure in (line.net_wall_s, line.client_cpu_s, line.postgres_cpu_s, line.net_cpu_s)),
            round(line.peak_pss_mb),
            "; ".join(line.problems) or "yes",
        ]
        for line in sorted(lines, key=lambda line: STEPS.index(line.step))
    ]


def documents(found: Sequence[Goal]) -> list[Mapping[str, Any]]:
    """The goals with their verdicts, for `--json`."""
    return [{**msgspec.structs.asdict(goal), "reached": goal.reached, "verdict": goal.verdict} for goal in found]
