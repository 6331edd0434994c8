"""
The logs of long-lived processes, kept bounded while they are written.

A process holds its log open for a year, so that renaming it would change nothing. Its content is copied to the log before
it, and the log is emptied: every process appends, so it goes on at the beginning. Lines that are written between the copy
and the emptying, which are microseconds apart, are lost.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from crossdock.core.log import logger

log = logger(__name__)

#: Of one log; with the one before it, a process has twice as much.
MOST_BYTES = 10 * 1024**2
_LOOK_EVERY_S = 15.0
_OLD = ".old.log"


def rotate(places: Iterable[Path], *, most_bytes: int = MOST_BYTES) -> int:
    """
    Copy each log of *places* (a file, or a folder of `*.log`) that is longer than *most_bytes* to the one before it, and empty it; return the bytes freed.

    A log that cannot be copied is emptied all the same: a full disk is the reason for which this must not wait.
    """
    freed = 0
    for path in _logs(places):
        try:
            size_bytes = path.stat().st_size
            if size_bytes <= most_bytes:
                continue
            old = _old_of(path)
            freed += _size(old)
            _copy(path, old, most_bytes=most_bytes)
            os.truncate(path, 0)
            freed += size_bytes - _size(old)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("The log %s cannot be rotated: %s", path, error.strerror or error)
    return freed


def size_of(places: Iterable[Path]) -> int:
    """Bytes of all logs of *places*, the ones before included."""
    return sum(_size(path) + _size(_old_of(path)) for path in _logs(places))


def keep_bounded(places: Iterable[Path], over: threading.Event) -> threading.Thread:
    """Rotate the logs of *places* in a thread, four times a minute, until *over* is set."""
    chosen = tuple(places)

    def run() -> None:
        while not over.wait(_LOOK_EVERY_S):
            rotate(chosen)

    thread = threading.Thread(target=run, name="Process logs", daemon=True)
    thread.start()
    return thread


def _logs(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        found = [place] if place.is_file() else place.glob("*.log")
        yield from (path for path in found if not path.name.endswith(_OLD) and not path.is_symlink())


def _old_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".log") + _OLD)


def _copy(path: Path, old: Path, *, most_bytes: int) -> None:
    """Copy the end of *path*, at most *most_bytes*: a process in trouble may have written gigabytes since the last look."""
    try:
        with path.open("rb") as source, old.open("wb") as target:
            source.seek(max(0, path.stat().st_size - most_bytes))
            shutil.copyfileobj(source, target)
    except OSError as error:
        log.warning("The log %s is emptied without a copy: %s", path, error.strerror or error)
        with suppress(OSError):
            old.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
