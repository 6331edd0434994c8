"""The files of a home that no database has: the landing zone, secrets, snapshots, what the project declares."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from crossdock.connectors.declarative import files as declarations
from crossdock.core.settings import settings
from crossdock.maintenance.alerting import declared
from crossdock.stack.backup.manifest import Progress

#: Of a home, besides the landing zone: without the secrets, neither database and no connection could be opened. The
#: journals are what the simulated systems remember, which `up` starts in the same home.
_OF_HOME = ("secrets.json", "sandbox-arguments.json", "sandbox*.jsonl", "definitions/*")
#: What only simulated systems have. Outside systems are not restored.
JOURNALS = "sandbox*.jsonl"


def write_landing(archive: Path, landing: Path, progress: Progress) -> int:
    """
    Write the landed pages to *archive*; return how many.

    They are compressed already. A page that retention deletes meanwhile belongs to a run that is closed, and is left out.
    """
    found = [path for path in landing.rglob("*") if path.is_file()] if landing.is_dir() else []
    return _write(archive, landing, found, progress)


def write_home(archive: Path, home: Path) -> None:
    """Write the other files of a home to *archive*."""
    _write(archive, home, (path for pattern in _OF_HOME for path in home.glob(pattern) if path.is_file()))


def write_declared(folder: Path) -> None:
    """Copy what the project declares, so that a backup has all that a hub needs. It is restored by hand only."""
    for name, paths in _declared().items():
        for path in paths.values():
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / path.name).write_bytes(path.read_bytes())


def undeclared(folder: Path) -> Iterator[Path]:
    """Find what a backup declares, and the project does not or otherwise."""
    for name, paths in _declared().items():
        for path in sorted((folder / name).glob("*.yaml")):
            if path.stem not in paths or paths[path.stem].read_bytes() != path.read_bytes():
                yield path


def _declared() -> dict[str, dict[str, Path]]:
    routes = declared.paths(declared.place(settings().alert_routes))
    return {"integrations": declarations.paths(), "alert_routes": {path.stem: path for path in routes}}


def unpack(archive: Path, into: Path) -> None:
    """Write the files of *archive* below *into*, for their owner only. They are not flushed to disk."""
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tarfile.open(archive, "r|") as file:
        file.extractall(into, filter="data")


def _write(archive: Path, root: Path, paths: Iterable[Path], progress: Progress = lambda *_, **__: None) -> int:
    written = 0
    found = list(paths)
    with tarfile.open(archive, "w") as file:
        for path in found:
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(path.stat().st_mtime) if path.exists() else 0
            file.addfile(entry, io.BytesIO(content))
            written += 1
            progress("Copying the landing zone", done=written, total=len(found))
    return written
