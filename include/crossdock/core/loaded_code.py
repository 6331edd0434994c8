"""
Which code of a package this process has loaded, and whether its files have changed since.

Airflow forks its tasks from processes that live for weeks and have loaded much of the hub, so that a task may begin with code
that is older than its files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from crossdock.core.log import logger

log = logger(__name__)

#: When a file was last written or replaced, and its size; None where it is gone.
Stamp = tuple[int, int, int] | None


def refresh(*modules: str, package: str = "crossdock") -> None:
    """
    Import *modules*, with all of *package* anew if a file of it has changed since this process loaded it.

    Classes of the old code are not those of the new one: whoever calls this imports what it needs afterwards. If the new
    code cannot be loaded, the old one stays.

    Raises:
        Exception: the new code cannot be loaded, and this process does not have the old code of what is wrong in it.

    """
    # Before the files are looked at: one that is written meanwhile counts as changed.
    now = time.time()
    loaded_at_ns = int(_loaded_at(package) * 1e9)
    if any(stamp is None or max(stamp[:2]) > loaded_at_ns for stamp in stamps(package).values()):
        _load_anew(modules, package)
        return
    # What is loaded from now on is as old as the files are now, not as the process that this one was forked from.
    vars(sys.modules[package])["LOADED_AT"] = now
    _load(modules)


def _load_anew(modules: Sequence[str], package: str) -> None:
    old = _remove(package)
    try:
        _load(modules)
    except Exception:
        _remove(package)
        sys.modules.update(old)
        log.exception("The changed code cannot be loaded. This process goes on with the code that it has")
        _load(modules)


def _load(modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)


def _remove(package: str) -> dict[str, ModuleType]:
    removed = dict(_loaded(package))
    for name in removed:
        del sys.modules[name]
    return removed


def stamps(package: str = "crossdock") -> dict[Path, Stamp]:
    """Read the stamps of the files of *package* that are loaded."""
    files = (Path(module.__file__) for _, module in _loaded(package) if module.__file__)
    return {file: _stamp(file) for file in files}


def stamps_on_disk(package: str = "crossdock") -> dict[Path, Stamp]:
    """Read the stamps of all files of *package*, loaded or not."""
    return {file: _stamp(file) for folder in sys.modules[package].__path__ for file in Path(folder).rglob("*.py")}


def stamps_at_loading(package: str = "crossdock") -> dict[Path, Stamp]:
    """Read the stamps as they were when the files were loaded; None for one that was written since."""
    # Not after this moment: a file from another machine may have the time of a clock that is ahead.
    since_ns, until_ns = int(_loaded_at(package) * 1e9), time.time_ns()
    return {
        file: None if stamp and since_ns < max(stamp[:2]) <= until_ns else stamp
        for file, stamp in stamps(package).items()
    }


def changed(before: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> list[Path]:
    """List the files whose stamp is not what it was. A file that was loaded meanwhile has not changed."""
    return sorted(file for file, stamp in now.items() if before.get(file, stamp) != stamp)


def _loaded_at(package: str) -> float:
    # Code that has none yet, before an update, is older than all.
    return float(getattr(sys.modules[package], "LOADED_AT", 0.0))


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
