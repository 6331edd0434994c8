"""CPU and memory of processes, from the kernel's accounts. Linux only, as /proc is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]

from crossdock.core.errors import BadRequest

_SAMPLE_INTERVAL_S = 0.05


def refuse_other_systems() -> None:
    """
    Refuse to measure where there is no /proc.

    Raises:
        BadRequest: this is not Linux.

    """
    if sys.platform != "linux":
        raise BadRequest("CPU and memory are read from /proc, which only Linux has")


def tree(pid: int) -> list[psutil.Process]:
    """*pid* and all its living descendants; empty once it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def cpu_s(pid: int) -> float:
    """CPU seconds of *pid*, its living descendants, and the descendants that have ended and were waited for."""
    return sum(_spent(tree(pid), with_children=True))


def own_cpu_s(pid: int) -> float:
    """CPU seconds of *pid* alone, with all its threads."""
    return sum(_spent(tree(pid)[:1], with_children=False))


def ended_children_cpu_s() -> float:
    """CPU seconds of this process's children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def pss_mb(pid: int) -> float:
    """Proportional set size of the tree in MiB: a page shared by n processes counts 1/n for each."""
    return sum(_pss(process) for process in tree(pid)) / 1024**2


def _spent(processes: list[psutil.Process], *, with_children: bool) -> Iterator[float]:
    for process in processes:
        try:
            times = process.cpu_times()
            # The first is exact to the nanosecond but knows the main thread alone, which is all that a PostgreSQL
            # process has; the second knows all threads, to 10 ms.
            exact = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
        except (psutil.Error, OSError):
            continue
        yield max(exact, times.user + times.system)
        if with_children:
            yield times.children_user + times.children_system


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, OSError):
        return 0


class PeakMemory:
    """Measure the largest size of a tree of processes while the block runs, twenty times a second."""

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
        while not self._done.is_set():
            self.peak_mb = max(self.peak_mb, pss_mb(self._pid))
            self._done.wait(_SAMPLE_INTERVAL_S)
