"""
Output for people and scripts: tables, progress and sentences, or one JSON document.

The only module that writes to the terminal. Whatever it is given is text, never markup, and is printable
(`core.printable`): most of it comes from sources, webhooks and people. A test keeps every other module off the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from crossdock.core.printable import printable, printable_json, printable_lines

if TYPE_CHECKING:
    from rich.progress import Progress

#: Without markup and emoji: `[/]` and `:bomb:` in a SKU are what they are.
_PLAIN = {"highlight": False, "markup": False, "emoji": False}
#: Results go to standard output, progress and remarks to standard error.
#: Wide when not on a terminal: a script that takes a run's id out of a table needs it in one piece.
_out = Console(**_PLAIN, width=None if sys.stdout.isatty() else 200)  # type: ignore[arg-type]  # the dictionary's types
_err = Console(**_PLAIN, stderr=True)  # type: ignore[arg-type]  # the same


def show_json(document: Any) -> None:
    """Print *document* as one line of JSON on standard output."""
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except TypeError:
        import msgspec  # noqa: PLC0415  knows datetimes and structs, which no answer of an API contains

        text = msgspec.json.encode(document).decode()
    sys.stdout.write(printable_json(text) + "\n")
    sys.stdout.flush()


def show_document(document: Any) -> None:
    """Print *document* as JSON for a person: indented, and in colours on a terminal."""
    from rich.highlighter import JSONHighlighter  # noqa: PLC0415

    text = printable_json(json.dumps(document, indent=2, ensure_ascii=False))
    _out.print(JSONHighlighter()(Text(text)), soft_wrap=True)


#: Columns that people copy from.
_WHOLE = frozenset({"run", "item", "cause", "process"})


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print a table, or *empty*, which says what to do, when there are no rows."""
    if not rows:
        show(empty)
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=printable(title), title_justify="left", header_style="bold")
    for column in columns:
        is_number = isinstance(rows[0][len(table.columns)], int | float)
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(printable(column), overflow="fold", no_wrap=column in _WHOLE, justify=justify)
    for row in rows:
        table.add_row(*(printable(_text(cell)) for cell in row))
    _out.print(table)


#: The greatest --limit of most lists, and of those that may be long.
MOST_LISTED, MOST_OF_LONG_LISTS = 100_000, 1_000_000


def say_if_cut(shown: int, *, has_more: bool, most: int = MOST_LISTED) -> None:
    """Say that a list was cut where there are more than the *shown* ones, of which one list shows *most*: 50 of 990 look like all."""
    if not has_more:
        return
    if shown >= most:
        say(
            f"Only {shown:,} are shown, which is the maximum; there are more. To find others, use the filters: --help lists them"
        )
    else:
        say(f"Only {shown:,} are shown; there are more. To see them: --limit {min(max(10 * shown, 1000), most)}")


def show(line: str, *, heading: str = "") -> None:
    """Print one line on standard output; *heading* begins it, in bold."""
    _out.print(Text.assemble((printable(heading), "bold"), printable(line)), soft_wrap=True)


def say(sentence: str) -> None:
    _err.print(Text(printable_lines(sentence)), soft_wrap=True)


def error(sentence: str) -> None:
    _marked("✗", "bold red", sentence)


def success(sentence: str) -> None:
    _marked("✓", "bold green", sentence)


def notice(sentence: str) -> None:
    """Say what is no failure, and no success."""
    _marked("!", "bold yellow", sentence)


def wrong_use(found: typer.TyperException) -> None:
    """Show a wrong command as typer does: how it is used, and what is wrong with it."""
    from typer.rich_utils import rich_format_error  # noqa: PLC0415  a wrong command only

    found.message = printable(found.message)
    rich_format_error(found)  # type: ignore[arg-type]  # what it needs is in every exception of typer


def _marked(sign: str, style: str, sentence: str) -> None:
    _err.print(Text.assemble((sign, style), " ", printable_lines(sentence)), soft_wrap=True)


def ask(question: str) -> None:
    """Ask for a yes; anything else ends the command."""
    typer.confirm(printable(question), abort=True, err=True)


def ask_for(what: str, *, hidden: bool = False, default: str | None = None) -> str:
    """Ask for *what*, on a terminal; a *hidden* answer is not shown. Without a *default* there has to be an answer."""
    return str(typer.prompt(printable(what), hide_input=hidden, err=True, default=default, show_default=False))


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
            self._progress.update(self._task, description=printable(sentence), completed=done or 0, total=total)
        elif sentence != self._last:
            say(sentence)
        self._last = sentence


@contextmanager
def progress(what: str) -> Iterator[Bar]:
    """Show the progress of *what* on standard error, with `--json` too: standard output has only the document."""
    if not _err.is_terminal:
        yield Bar(None, None)
        return
    from rich.progress import (  # noqa: PLC0415  a spinner costs more to import than the rest of rich
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    # markup=False: the column would read the description as markup, whatever its console says.
    description = TextColumn("{task.description}", markup=False)
    shown = Progress(SpinnerColumn(), description, BarColumn(), TimeElapsedColumn(), console=_err, transient=True)
    with shown:
        yield Bar(shown, shown.add_task(printable(what), total=None))
