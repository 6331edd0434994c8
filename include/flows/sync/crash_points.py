"""
Named places where a test kills the process, to show that nothing is lost there.

Off unless HUB_CRASH_AT is set, which only the crash tests do; then reaching the named place for the
nth time (`load.before_commit:2`) ends the process as `kill -9` would: no cleanup, no goodbye.
"""

from __future__ import annotations

import os
import signal

_armed = os.environ.get("HUB_CRASH_AT", "")
_name, _, _nth = _armed.partition(":")
_left = int(_nth or 1)


def crash_point(name: str) -> None:
    """Nothing, in production. *name* is `<function>.<moment>`."""
    global _left  # noqa: PLW0603  a countdown for one process
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
