"""Profile the CPU time of a warm worker: py-spy samples its stacks, and this module sums them up by our own code."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import NamedTuple

from crossdock.core.errors import BadRequest

_SAMPLES_PER_S = 250
#: py-spy prints this once it has attached, or fails.
_ATTACHED = "Sampling process"
_HINTS = {
    "permission denied": "on Linux run as root or set kernel.yama.ptrace_scope=0, in a container add SYS_PTRACE, on "
    "macOS use sudo",
}


class Spot(NamedTuple):
    """The place in the code where a sample was taken."""

    #: The innermost file of ours on the stack, below `crossdock/`, and its function; empty where there is none.
    file: str
    function: str
    #: The package that our code had called; empty where our own code ran.
    library: str

    @property
    def room(self) -> str:
        return self.file.split("/")[0]


def py_spy() -> str:
    """
    Find the program.

    Raises:
        BadRequest: it is not installed.

    """
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise BadRequest("py-spy is not installed; it comes with the development packages: ./hub test --quick")
    return found


@contextmanager
def sampled(pid: int, raw: Path) -> Iterator[None]:
    """
    Write the stacks of *pid* while the block runs to *raw*.

    Raises:
        BadRequest: py-spy may not read the process.

    """
    # --nonblocking: stopping the process for each sample would wake threads that only wait, and count them.
    options = f"record --nonblocking --full-filenames --format raw --rate {_SAMPLES_PER_S} --pid {pid} --output"
    child = subprocess.Popen(
        [py_spy(), *options.split(), str(raw)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        _wait_until_attached(child)
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate()


def _wait_until_attached(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None  # noqa: S101  for the type checker
    lines = []
    for line in child.stdout:
        if _ATTACHED in line:
            return
        lines.append(line.strip())
    reason = " ".join(lines) or "it ended without a message"
    hint = next((f" ({hint})" for sign, hint in _HINTS.items() if sign in reason.lower()), "")
    raise BadRequest(f"py-spy cannot read the worker: {reason}{hint}")


def spots(raw: str, cpu_s: float) -> dict[Spot, float]:
    """
    Divide *cpu_s* among the spots of py-spy's collapsed stacks (lines of `outermost;…;innermost count`), most first.

    The samples give the shares and the process's own clock the seconds: on a busy machine a thread that is ready to run
    is sampled while it waits for a core.
    """
    counts: Counter[Spot] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[_spot(reversed(stack.split(";")))] += int(count)
    return {spot: cpu_s * count / counts.total() for spot, count in counts.most_common()}


def _spot(frames: Iterable[str]) -> Spot:
    """Find the innermost frame of ours, and the library that it called, among `function (file:line)`."""
    library = ""
    for frame in frames:
        function, _, place = frame.partition(" (")
        path = PurePath(place.rpartition(":")[0])
        if "crossdock" in path.parts and "site-packages" not in path.parts:
            at = len(path.parts) - path.parts[::-1].index("crossdock")
            return Spot("/".join(path.parts[at:]), function, library)
        library = library or _package(path)
    return Spot("", "", library)


def _package(path: PurePath) -> str:
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1].removesuffix(".py")
    return "python"


def summed(found: dict[Spot, float], key: Callable[[Spot], str]) -> dict[str, tuple[float, float]]:
    """Sum up by *key*: CPU seconds, and how many of them in libraries, the most first."""
    sums: dict[str, tuple[float, float]] = {}
    for spot, seconds in found.items():
        total_s, library_s = sums.get(key(spot), (0.0, 0.0))
        sums[key(spot)] = total_s + seconds, library_s + (seconds if spot.library else 0.0)
    return dict(sorted(sums.items(), key=lambda item: -item[1][0]))
