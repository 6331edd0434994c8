"""./hub export: a view of the hub's data as a file for other tools."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated

import typer

from crossdock.cli import console
from crossdock.cli.options import Json
from crossdock.cli.psql import refuse_no_reason
from crossdock.cli.session import local_store
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest
from crossdock.core.export_formats import ExportFormat


def export(
    dataset: Annotated[str, typer.Argument(help="A view: orders, order_lines, products, inventory, events …")],
    form: Annotated[ExportFormat, typer.Option("--format", help="What the file is written as.")] = ExportFormat.PARQUET,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The file; DATASET.FORMAT in this folder if absent.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that exists.")] = False,
    personal: Annotated[
        bool, typer.Option("--personal", help="Personal data in full. Needs --reason; the audit trail names you.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why you need personal data.")] = "",
    for_spreadsheets: Annotated[
        bool, typer.Option("--for-spreadsheets", help="In CSV, put ' before what a spreadsheet takes for a formula.")
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Write a view of the hub's data to a file, as it is at one instant. Personal data is masked.

    Example: ./hub export orders --format csv --to orders.csv
    """
    from crossdock.app import exports  # noqa: PLC0415  loads the database driver

    if personal:
        refuse_no_reason(reason)
    exports.find(dataset)
    path = to or Path(f"{dataset}.{form}")
    refuse_existing(path, replace=replace)
    with local_store() as store:
        if personal:
            exports.record_personal(store, f"view/{dataset}", actor=f"cli:{getpass.getuser()}", reason=reason)
        with console.progress(f"Exporting {dataset}") as bar:
            rows = write_whole(
                path,
                lambda file: exports.export(
                    store,
                    dataset,
                    file,
                    form,
                    personal=personal,
                    for_spreadsheets=for_spreadsheets,
                    progress=lambda count: bar.update(f"{count:,} rows"),
                ),
                replace=replace,
            )
    if as_json:
        console.show_json({"file": str(path), "rows": rows, "bytes": path.stat().st_size})
        return
    console.success(f"{path} has {counted(rows, 'row')} of {dataset}")


def write_whole(path: Path, write: Callable[[IO[bytes]], int], *, replace: bool = False) -> int:
    """
    Have *write* write the file *path*, readable by its owner only; one that fails leaves nothing, and what was there.

    Raises:
        BadRequest: the file exists, and *replace* is False; or it cannot be written.

    """
    refuse_existing(path, replace=replace)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            count = write(file)
        draft.replace(path)
    except OSError as error:
        raise BadRequest(f"Cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def refuse_existing(path: Path, *, replace: bool) -> None:
    """
    Refuse to write over a file, unless it may be replaced.

    Raises:
        BadRequest: the file exists.

    """
    if path.exists() and not replace:
        raise BadRequest(f"{path} exists. Choose another file with --to, or add --replace")
