"""
Which code of a package this process has loaded, and whether its files have changed since.

Airflow forks its tasks from processes that live for weeks and have loaded much of the hub, so that a task may begin with code
that is older than its files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

#: When a file was last written or replaced, and its size; None where it is gone.
Stamp = tuple[int, int, int] | None


def fresh(module: str, *, package: str = "crossdock") -> Any:
    """
    Import *module*, with all of *package* anew if a file of it has changed since this process loaded it.

    Objects of the old code know nothing of the new one: whoever calls this hands over to *module*, and does no more itself.
    """
    loaded_at_ns = int(sys.modules[package].LOADED_AT * 1e9)
    if any(stamp is None or max(stamp[:2]) > loaded_at_ns for stamp in stamps(package).values()):
        for name, _ in list(_loaded(package)):
            del sys.modules[name]
    return import_module(module)


def stamps(package: str = "crossdock") -> dict[Path, Stamp]:
    """Read the stamps of the files of *package* that are loaded."""
    files = (Path(module.__file__) for _, module in _loaded(package) if module.__file__)
    return {file: _stamp(file) for file in files}


def stamps_at_loading(package: str = "crossdock") -> dict[Path, Stamp]:
    """Read the stamps as they were when the files were loaded; None for one that was written since."""
    # Not after this moment: a file from another machine may have the time of a clock that is ahead.
    since_ns, until_ns = int(sys.modules[package].LOADED_AT * 1e9), time.time_ns()
    return {
        file: None if stamp and since_ns < max(stamp[:2]) <= until_ns else stamp
        for file, stamp in stamps(package).items()
    }


def changed(before: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> list[Path]:
    """List the files whose stamp is not what it was. A file that was loaded meanwhile has not changed."""
    return sorted(file for file, stamp in now.items() if before.get(file, stamp) != stamp)


def _loaded(package: str) -> Iterator[tuple[str, ModuleType]]:
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            yield name, module


def _stamp(file: Path) -> Stamp:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size
