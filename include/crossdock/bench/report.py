"""The report of every benchmark: tables, goals with their verdicts, and the raw samples, as Markdown and JSON."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

#: Shows one line about what happens now.
Say = Callable[[str], None]


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table of verdicts."""

    what: str
    #: None where the other side was not measured, failed, or took no longer than its start.
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
        """Reached, or by how much it was missed."""
        if self.figure is None:
            return "not measured, or too short to compare"
        if self.reached:
            return "reached"
        if not self.limit:
            return f"missed by {self.figure:g}"
        return f"missed by {self.limit / self.figure if self.at_least else self.figure / self.limit:.2f}x"

    @property
    def limit_text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    @property
    def document(self) -> dict[str, Any]:
        return {**msgspec.structs.asdict(self), "reached": self.reached, "verdict": self.verdict}


class Table(msgspec.Struct, frozen=True):
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    #: A sentence below the title.
    note: str = ""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the command of a measurement."""

    command: str
    measured_at: str
    machine: str
    postgres: str


def setup(command: str, postgres: str) -> Setup:
    """Describe this machine, today."""
    return Setup(
        command=command, measured_at=datetime.now(UTC).strftime("%Y-%m-%d"), machine=machine(), postgres=postgres
    )


def machine() -> str:
    """Cores, processor, memory and Python of this machine."""
    model = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory_kib = (_field("/proc/meminfo", "MemTotal") or "0").split()[0]
    return (
        f"{os.cpu_count()} cores ({model}), {int(memory_kib) / 1024**2:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _field(path: str, name: str) -> str | None:
    """Read the first value of *name* in a file of `name: value` lines."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def goals_table(goals: Sequence[Goal]) -> Table:
    rows = [(goal.what, _figure(goal.figure, goal.unit), goal.limit_text, goal.verdict) for goal in goals]
    return Table("Goals", ["goal", "figure", "limit", "verdict"], rows)


def _figure(figure: float | None, unit: str) -> str:
    if figure is None:
        return "-"
    return f"{figure:.0f}{unit}" if not unit or unit == " MiB" else f"{figure:.2f}{unit}"


def markdown(title: str, intro: Sequence[str], command: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """Write the whole page: *intro*, the *command* that made it, *notes*, and a section for each table."""
    parts = [f"# {title}", *map(_wrapped, intro), f"```\n{command}\n```", *map(_wrapped, notes)]
    for table in tables:
        note = [_wrapped(table.note)] if table.note else []
        parts += [f"## {table.title}", *note, markdown_table(table.head, table.rows)]
    return "\n\n".join(parts) + "\n"


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write one table, its figures aligned to the right."""
    aligned = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, aligned, *rows))


def chart(title: str, x_title: str, y_title: str, names: Sequence[str], lines: Mapping[str, Sequence[float]]) -> str:
    """Write a plot as a Mermaid chart, which GitHub and most readers of Markdown draw: a line for each of *lines*."""
    most = max((value for values in lines.values() for value in values), default=1.0)
    quoted = ", ".join(f'"{name}"' for name in names)
    drawn = [f"    line [{', '.join(f'{value:g}' for value in values)}]" for values in lines.values()]
    head = [f'    title "{title}"', f'    x-axis "{x_title}" [{quoted}]', f'    y-axis "{y_title}" 0 --> {most:g}']
    return "\n".join(["```mermaid", "xychart-beta", *head, *drawn, "```"])


def write(folder: Path, stem: str, page: str, outcome: msgspec.Struct) -> list[Path]:
    """Write *page* and the raw samples of *outcome* into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.md").write_text(page)
    (folder / f"{stem}.json").write_text(msgspec.json.format(msgspec.json.encode(outcome)).decode() + "\n")
    return [folder / f"{stem}.md", folder / f"{stem}.json"]
