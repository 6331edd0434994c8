"""
Where a process spends its CPU, line of code by line of code, without slowing it as a tracer does.

A thread looks at all others a thousand times a second and gives each one's CPU time since the last look, by that
thread's own clock, to the code that it is at. So a thread that waits costs nothing, and one long call in C costs
what it took, though nobody could look at it meanwhile.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from pathlib import PurePath
from types import FrameType
from typing import NamedTuple

_EVERY_S = 0.001
#: Python lets another thread in after so long; the usual 5 ms would blur a thousand looks a second.
_SWITCH_S = 0.0005


class Spot(NamedTuple):
    """Where a sample fell."""

    #: The innermost file of ours on the stack, below `crossdock/`, and its function; empty where none is.
    file: str
    function: str
    #: The package that ours had called; empty where our own code ran.
    library: str


class Sampler:
    """Watches all threads of this process from `start` to `stop`."""

    def __init__(self) -> None:
        self._seconds: dict[Spot, float] = defaultdict(float)
        self._seen: dict[int, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)
        self._switch_s = sys.getswitchinterval()

    def start(self) -> None:
        self._seen = {tid: cpu_s for tid in _threads().values() if (cpu_s := _cpu_s_of(tid)) is not None}
        sys.setswitchinterval(_SWITCH_S)
        self._thread.start()

    def stop(self) -> list[tuple[str, str, str, float]]:
        """File, function, library and CPU seconds, the most first. Threads that libraries made in C are not seen."""
        self._done.set()
        self._thread.join()
        self._look()
        sys.setswitchinterval(self._switch_s)
        ordered = sorted(self._seconds.items(), key=lambda item: -item[1])
        return [(*spot, seconds) for spot, seconds in ordered]

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        threads = _threads()
        for ident, frame in sys._current_frames().items():  # noqa: SLF001  what every sampling profiler reads
            tid = threads.get(ident)
            cpu_s = None if tid is None or ident == self._thread.ident else _cpu_s_of(tid)
            if tid is None or cpu_s is None:
                continue
            spent_s = cpu_s - self._seen.get(tid, 0.0)
            self._seen[tid] = cpu_s
            if spent_s > 0:
                self._seconds[spot_of(frame)] += spent_s


def _threads() -> dict[int, int]:
    """Python's number of each thread → the kernel's."""
    return {
        thread.ident: thread.native_id
        for thread in threading.enumerate()
        if thread.ident is not None and thread.native_id is not None
    }


def _cpu_s_of(tid: int) -> float | None:
    """
    The thread's own CPU clock; None when it has just ended.

    The clock's number is made here as glibc makes it: `time.pthread_getcpuclockid` may crash on a thread that has ended.
    """
    try:
        return time.clock_gettime((~tid << 3) | 6)
    except OSError:
        return None


def spot_of(frame: FrameType | None) -> Spot:
    """The innermost frame of ours under *frame*, and the library between the two."""
    library = ""
    while frame is not None:
        path = PurePath(frame.f_code.co_filename)
        if "crossdock" in path.parts and "site-packages" not in path.parts:
            file = "/".join(path.parts[path.parts.index("crossdock") + 1 :])
            return Spot(file, frame.f_code.co_name, library)
        library = library or _package(path)
        frame = frame.f_back
    return Spot("", "", library)


def _package(path: PurePath) -> str:
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1].removesuffix(".py")
    return "python"
