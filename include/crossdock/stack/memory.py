"""How much memory the stack may use: what the machine has, or the limit of the control group that it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil  # type: ignore[import-untyped]

#: Below it a start ends with a killed process sooner or later: measured with 2 GB, everything at work.
NEEDED_BYTES = 1_900_000_000
#: Below it fewer tasks run at once.
_ENOUGH_BYTES = 3 * 1024**3
_TASKS, _FEWER_TASKS = 6, 3

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def tasks_at_once(memory_bytes: int) -> int:
    """
    Say how many tasks may run at once. Two delivery workers occupy two of them.

    With six, three syncs and a backfill fit beside them; with three, one after the other. Each has up to 150 MB of its own.
    """
    return _TASKS if memory_bytes >= _ENOUGH_BYTES else _FEWER_TASKS


def available(groups: Path = _CONTROL_GROUPS, ours: Path = _OURS) -> int:
    """Read how many bytes the stack may use."""
    return min([int(psutil.virtual_memory().total), *_limits(groups, ours)])


def _limits(groups: Path, ours: Path) -> Iterator[int]:
    """Read the limits of our control group and of those around it, by version 1 or 2. There are none but on Linux."""
    try:
        lines = [line.split(":", 2) for line in ours.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers == "":
            folder, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # Inside a container the path is that of the host, and only its last part may be there, as the root.
        inner = folder / PurePosixPath(path).relative_to("/")
        for place in (inner, *(parent for parent in inner.parents if parent.is_relative_to(folder))):
            yield from _limit(place / name)


def _limit(file: Path) -> Iterator[int]:
    try:
        yield int(file.read_text())
    except (OSError, ValueError):  # not there, or `max`
        return
