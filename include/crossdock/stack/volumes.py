"""The volumes that a stack writes to: whether each takes a write, and how much room is left."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossdock.stack.home import home

#: More than fits into the last block of a full disk.
_TEST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Volume:
    """A volume with the folders of the stack that are on it, by what they hold."""

    folders: Mapping[str, Path]
    free_bytes: int
    #: Share of the inodes that are free; None where the file system does not count them.
    free_inodes: float | None


def folders() -> dict[str, Path]:
    """List the folders that exist, by what they hold. Each may be on a volume of its own."""
    named = {
        # The records, the settings, and the journals of the sandbox.
        "home": home(),
        "logs": home() / "logs",
        "landing": home() / "landing",
        "definitions": home() / "definitions",
        "task logs": home() / "airflow" / "logs",
        "postgres-metadata": home() / "postgres-metadata",
        "postgres-hub": home() / "postgres-hub",
    }
    return {name: folder for name, folder in named.items() if os.path.lexists(folder)}


def write_error(folder: Path) -> str | None:
    """Write a little into *folder*, through to the disk, and take it away; return why that failed, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TEST_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def volumes() -> list[Volume]:
    """Group the folders by volume. A folder that cannot be read is left out."""
    grouped: dict[int, dict[str, Path]] = {}
    for name, folder in folders().items():
        if folder.is_dir():
            grouped.setdefault(folder.stat().st_dev, {})[name] = folder
    return [_volume(found) for found in grouped.values()]


def _volume(found: Mapping[str, Path]) -> Volume:
    room = os.statvfs(next(iter(found.values())))
    inodes = room.f_favail / room.f_files if room.f_files else None
    return Volume(found, room.f_bavail * room.f_frsize, inodes)
