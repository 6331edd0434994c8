"""Logs of Airflow's tasks and of its DAG processor: a folder for each run, or for each day, deleted when it is old."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from crossdock.core.log import logger

log = logger(__name__)

_DAG, _RUN = "dag_id=", "run_id="
#: Beside the folders of DAGs: `dag_processor/2026-11-29`, and a link to the latest.
_BY_DAY = ("dag_processor", "scheduler", "triggerer")


class CleanedFolders(msgspec.Struct, frozen=True, kw_only=True):
    """Folders that were deleted, or would be."""

    folders: int
    bytes: int


def clean(root: Path, before: datetime, *, dry_run: bool = False) -> CleanedFolders:
    """
    Delete the logs of runs, and of days, to which nothing was written since *before*.

    A log that disappears meanwhile, or that cannot be deleted, stops nothing. Links are never followed.
    """
    folders = size_bytes = 0
    for folder in (*_runs(root), *_days(root)):
        written_at, folder_bytes = _written(folder)
        if written_at >= before.timestamp():
            continue
        folders, size_bytes = folders + 1, size_bytes + folder_bytes
        if not dry_run:
            shutil.rmtree(folder, onerror=lambda _, path, error: log.warning("Cannot delete %s: %s", path, error[1]))
    return CleanedFolders(folders=folders, bytes=size_bytes)


def _runs(root: Path) -> Iterator[Path]:
    for dag in _folders(root, _DAG):
        yield from _folders(dag, _RUN)


def _days(root: Path) -> Iterator[Path]:
    for name in _BY_DAY:
        yield from _folders(root / name, "")


def _folders(root: Path, prefix: str) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in root.iterdir() if path.name.startswith(prefix) and path.is_dir() and not path.is_symlink()]


def _written(folder: Path) -> tuple[float, int]:
    """When something below *folder* was last written (seconds since 1970), and its bytes."""
    written_at, size_bytes = 0.0, 0
    for path in (folder, *folder.rglob("*")):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        # A folder's own time is that of its last file.
        written_at, size_bytes = max(written_at, found.st_mtime), size_bytes + found.st_blocks * 512
    return written_at, size_bytes
