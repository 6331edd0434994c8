"""./hub clean: remove what is past its time, now."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from crossdock.cli import console
from crossdock.cli.options import Json
from crossdock.cli.session import running_stack
from crossdock.stack.clean import Cleaned
from crossdock.stack.clean import clean as clean_stack


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """
    Remove what is past its time: rows and files of the hub, Airflow's tables, logs. It happens by itself, too.

    Example: ./hub clean --dry-run
    """
    running = running_stack()
    with console.progress("Cleaning") as bar:
        found = clean_stack(running, dry_run=dry_run, progress=bar.update)
    if as_json:
        console.show_json({"dry_run": dry_run, "cleaned": [msgspec.to_builtins(one) for one in found]})
        return
    console.show_table(
        "Would be removed" if dry_run else "Removed",
        ["place", "what", "would be removed" if dry_run else "removed", "MB before", "MB after"],
        [_cells(one) for one in found],
        empty="Nothing is past its time.",
    )


def _cells(one: Cleaned) -> list[str]:
    removed = f"{one.removed:,}{' or more' if one.at_least else ''}" if one.removed else ""
    return [one.place, one.what, removed, _mb(one.bytes_before), _mb(one.bytes_after)]


def _mb(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:,.1f}"
