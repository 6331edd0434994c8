"""
Failpoints: named places where a test kills the process, to prove that nothing is lost there.

Off unless HUB_FAILPOINT is set or `arm` is called, which only the crash tests do. Reaching the named place for
the nth time (`load.before_commit:2`) then ends the process as `kill -9` would, without any cleanup.
"""

from __future__ import annotations

import os
import signal

_name = ""
_left = 0


def arm(point: str) -> None:
    """Arm *point* (`load.before_commit:2`), so that this process is killed there; an empty text disarms."""
    global _name, _left  # noqa: PLW0603  one place for one process
    _name, _, nth = point.partition(":")
    _left = int(nth or 1)


arm(os.environ.get("HUB_FAILPOINT", ""))


def failpoint(name: str) -> None:
    """Kill the process if this failpoint is armed. In production it does nothing. *name* is `<function>.<moment>`."""
    global _left  # noqa: PLW0603  a countdown for one process
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
