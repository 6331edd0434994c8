"""./hub bench faults: what each fault does to a stack under load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from crossdock.bench.faults.injections import FAULTS, faults_named
from crossdock.bench.faults.page import BEFORE, NOW, read, write, write_page
from crossdock.bench.faults.run import nothing_measured, row_of, sentence
from crossdock.bench.faults.stage import running_stage
from crossdock.bench.meter import refuse_other_systems
from crossdock.cli import console
from crossdock.cli.bench import default_folder
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.core.errors import BadRequest
from crossdock.stack.home import project


def bench_faults(
    names: Annotated[list[str] | None, typer.Argument(help="Only these faults, or those that begin so.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the faults; make none.")] = False,
    patience_s: Annotated[
        float, typer.Option("--patience", min=10, help="Seconds before a person helps who was not needed.")
    ] = 120,
    every_s: Annotated[
        float, typer.Option("--every", min=0.05, help="Seconds between two changes, and two webhooks, of the load.")
    ] = 0.5,
    before: Annotated[bool, typer.Option("--before", help="Write the rows as those of before.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the rows of other faults, of an earlier run.")] = False,
    out: Annotated[Path | None, typer.Option(help="The folder for the rows as JSON.", file_okay=False)] = None,
    as_json: Json = False,
) -> None:
    """
    Kill, freeze and fill each part of a stack under load; into docs/reliability.md and docs/benchmarks/.

    Example: ./hub bench faults --list
    """
    chosen = faults_named(names or [])
    if not chosen:
        raise BadRequest(f"There is no such fault. Use some of: {', '.join(fault.name for fault in FAULTS)}")
    if list_them:
        console.show_table("Faults", ["name", "what"], [[fault.name, fault.what] for fault in chosen], empty="")
        return
    refuse_other_systems()
    say = (lambda _: None) if as_json else console.say
    folder = out or default_folder()
    file = folder / (BEFORE if before else NOW)
    measured = (read(file) if keep else None) or nothing_measured(patience_s)
    began_all = time.monotonic()
    failed = []
    with running_stage(say, every_s=every_s) as stage:
        for fault in chosen:
            began = time.monotonic()
            row = row_of(fault, stage, patience_s)
            say(sentence(row))
            measured = measured.with_row(row, time.monotonic() - began)
            # After each: an interrupted run keeps what it has measured.
            write(file, measured)
            if row.by_itself is False or row.lost or row.doubled:
                failed.append(row.name)
    if out is None:
        write_page(project() / "docs" / "reliability.md", folder)
    if as_json:
        console.show_json({"failed": failed, "rows": [msgspec.to_builtins(row) for row in measured.rows]})
    else:
        console.success(f"{len(chosen)} faults in {(time.monotonic() - began_all) / 60:.1f} minutes: {file}")
    if failed:
        raise typer.Exit(Exit.FAILED)
