"""./hub backup, restore: everything that the hub knows, to a folder and back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.options import Json
from crossdock.core.counted import counted
from crossdock.stack.backup import create
from crossdock.stack.backup import restore as restoring
from crossdock.stack.backup.manifest import Manifest
from crossdock.stack.backup.restore import Restored


def backup(
    folder: Annotated[Path, typer.Argument(file_okay=False, metavar="DIR", help="Gets a new folder for each backup.")],
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="How many backups stay in DIR, this one included; older ones go."),
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Back up the running stack to DIR: both databases, landed pages, secrets.

    Example: ./hub backup /backups/hub --keep 7
    """
    began_at = time.monotonic()
    with console.progress("Backing up") as bar:
        written = create.back_up(folder, keep=keep, progress=bar.update)
    document = {
        "folder": str(written.folder),
        **_facts(written.manifest),
        "removed": [path.name for path in written.removed],
        "seconds": round(time.monotonic() - began_at, 1),
    }
    if as_json:
        console.show_json(document)
        return
    console.success(f"Backed up in {document['seconds']} s: {written.folder}  ({_size(written.manifest)})")
    console.say("It has the hub's secrets: whoever reads it can open every connection. Keep it as safe as the hub.")
    if written.removed:
        console.say(f"Removed: {', '.join(path.name for path in written.removed)}")


def restore(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, metavar="DIR", help="A backup, or a folder with some: the newest."
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Move a home that is not empty aside. Nothing of it is deleted.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the backup: whole, and for this version.")
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Restore a backup into an empty home; then start it with `./hub up`.

    Example: ./hub restore /backups/hub --dry-run
    """
    began_at = time.monotonic()
    with console.progress("Restoring") as bar:
        if dry_run:
            chosen, checked = restoring.verify(folder, bar.update)
        else:
            restored = restoring.restore(folder, force=force, progress=bar.update)
            chosen, checked = restored.folder, restored.manifest
    seconds = round(time.monotonic() - began_at, 1)
    document = {"folder": str(chosen), **_facts(checked), "seconds": seconds}
    if not dry_run:
        document |= _outcome(restored)
    if as_json:
        console.show_json(document)
    elif dry_run:
        console.success(
            f"{chosen} is whole, and for this version. Of {checked.instant:%Y-%m-%d %H:%M:%S} UTC, {_size(checked)}"
        )
    else:
        _show(restored, seconds)


def _facts(manifest: Manifest) -> dict[str, object]:
    return {
        "instant": f"{manifest.instant:%Y-%m-%dT%H:%M:%S.%fZ}",
        "ended_at": f"{manifest.ended_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "bytes": manifest.size_bytes,
        "landed_files": manifest.landed_files,
        "schema": manifest.schema,
    }


def _outcome(restored: Restored) -> dict[str, object]:
    return {
        "moved_to": str(restored.moved_to) if restored.moved_to else None,
        "missing_pages": [
            {"run": run.run_id, "stream": run.stream, "pages": run.pages, "was_running": run.was_running}
            for run in restored.missing
        ],
        "undeclared": [str(path) for path in restored.undeclared],
        "in_quarantine": restored.in_quarantine,
        "dead_letters": restored.dead_letters,
    }


def _show(restored: Restored, seconds: float) -> None:
    console.success(
        f"Restored in {seconds} s: the hub of {restored.manifest.instant:%Y-%m-%d %H:%M:%S} UTC, with "
        f"{counted(restored.in_quarantine, 'item')} in quarantine and {counted(restored.dead_letters, 'dead letter')}"
    )
    if restored.moved_to:
        console.say(f"What was there before is in {restored.moved_to}. Delete it when you no longer need it.")
    for run in restored.missing:
        then = "the next run of its stream reads the source again" if run.was_running else "it had ended"
        console.say(f"Run {run.run_id} lacks {counted(run.pages, 'landed page')}, such as {run.paths[0]}; {then}.")
    for path in restored.undeclared:
        console.say(f"The project does not have this file, or has another: {path}. Copy it if the hub is to have it.")
    console.say("To start it: ./hub up. The next sync of each stream reads what has changed since.")


def _size(manifest: Manifest) -> str:
    return f"{manifest.size_bytes / 1e6:,.0f} MB, {manifest.landed_files:,} landed pages"
