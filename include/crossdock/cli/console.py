"""Output for people and scripts: tables, progress and sentences, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.progress import Progress

#: Results go to standard output, progress and remarks to standard error.
#: Wide when not on a terminal: a script that takes a run's id out of a table needs it in one piece.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)


def show_json(document: Any) -> None:
    """Print *document* as one line of JSON on standard output."""
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except TypeError:
        import msgspec  # noqa: PLC0415  knows datetimes and structs, which no answer of an API contains

        text = msgspec.json.encode(document).decode()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


#: Columns that people copy from.
_WHOLE = frozenset({"run", "item", "cause", "process"})


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print a table, or *empty*, which says what to do, when there are no rows."""
    if not rows:
        out.print(escape(empty))
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        is_number = isinstance(rows[0][len(table.columns)], int | float)
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(escape(_text(cell)) for cell in row))
    out.print(table)


def say(sentence: str) -> None:
    err.print(escape(sentence), soft_wrap=True)


def error(sentence: str) -> None:
    err.print(f"[bold red]✗[/] {escape(sentence)}", soft_wrap=True)


def success(sentence: str) -> None:
    err.print(f"[bold green]✓[/] {escape(sentence)}", soft_wrap=True)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


class Bar:
    """The progress of a long command."""

    def __init__(self, progress: Progress | None, task: Any) -> None:
        self._progress, self._task = progress, task
        self._last = ""

    def update(self, sentence: str, *, done: int | None = None, total: int | None = None) -> None:
        """Show the current step: on a terminal in the bar, in a log as a line of its own."""
        if self._progress is not None:
            self._progress.update(self._task, description=escape(sentence), completed=done or 0, total=total)
        elif sentence != self._last:
            say(sentence)
        self._last = sentence


@contextmanager
def progress(what: str) -> Iterator[Bar]:
    """Show the progress of *what* on standard error, with `--json` too: standard output has only the document."""
    if not err.is_terminal:
        yield Bar(None, None)
        return
    from rich.progress import (  # noqa: PLC0415  a spinner costs more to import than the rest of rich
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    shown = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err, transient=True
    )
    with shown:
        yield Bar(shown, shown.add_task(escape(what), total=None))
