"""CPU and memory of processes, from the kernel's own books. Linux only, as /proc is."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_EVERY_S = 0.05
_PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """The processes that *pid* started, and those that they started."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return []


def cpu_s(pid: int) -> float:
    """
    CPU seconds of *pid*, its living descendants, and all that have been waited for. To the nanosecond for what lives.

    For trees of processes of one thread each, as PostgreSQL's are: the kernel books a thread at a time.
    """
    return _own_s(pid) + _waited_for_s(pid) + sum(_own_s(child) + _waited_for_s(child) for child in descendants(pid))


def _own_s(pid: int) -> float:
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def _waited_for_s(pid: int) -> float:
    return _ticks_s(pid, 13, 14)


def _ticks_s(pid: int, *columns: int) -> float:
    """The sum of *columns* of the kernel's line about *pid*, counted after its name; 0 when it has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(fields[column]) for column in columns) * _TICK_S


def whole_cpu_s(pid: int) -> float:
    """As `cpu_s`, for trees whose processes have many threads; to the hundredth of a second."""
    return sum(own_cpu_s(each) + _waited_for_s(each) for each in (pid, *descendants(pid)))


def own_cpu_s(pid: int) -> float:
    """CPU seconds of *pid* alone, with all its threads; to the hundredth of a second."""
    return _ticks_s(pid, 11, 12)


def pss_mb(pid: int) -> float:
    """Proportional set size in MiB: what is shared is counted in shares. 0 when it has ended."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


class PeakMemory:
    """The largest size of a tree of processes while the block runs, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, sum(pss_mb(pid) for pid in (self._pid, *descendants(self._pid))))
            if self._done.wait(_EVERY_S):
                return
