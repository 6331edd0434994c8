"""
Named places where a test kills the process, to show that nothing is lost there.

Off unless HUB_FAILPOINT is set or `arm` is called, which only the crash tests do; then reaching the named
place for the nth time (`load.before_commit:2`) ends the process as `kill -9` would: no cleanup, no goodbye.
"""

from __future__ import annotations

import os
import signal

_name = ""
_left = 0


def arm(point: str) -> None:
    """Kills this process at *point* (`load.before_commit:2`); an empty text disarms."""
    global _name, _left  # noqa: PLW0603  one place for one process
    _name, _, nth = point.partition(":")
    _left = int(nth or 1)


arm(os.environ.get("HUB_FAILPOINT", ""))


def failpoint(name: str) -> None:
    """Nothing, in production. *name* is `<function>.<moment>`."""
    global _left  # noqa: PLW0603  a countdown for one process
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
