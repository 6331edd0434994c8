"""Work in a child process that can be killed. Forked, not started: loading Great Expectations takes four seconds."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable

from crossdock.core.failpoints import arm

KILLED = -signal.SIGKILL
#: How a child ends whose work raised the error that was expected of it.
EXPECTED = 7
#: A child that hangs is a failure, not a wait.
_LONGEST_S = 600


def start(work: Callable[[], object], *, crash_at: str = "", expected: type[Exception] | None = None) -> int:
    """The process id of a child that does *work*, and kills itself at *crash_at*."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # Not the test runner's handler, which raises in the main thread and waits there for the others.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LONGEST_S)
        arm(crash_at)
        work()
        code = 0
    except BaseException as error:  # noqa: BLE001  nothing may leave the child but its exit code
        if expected and isinstance(error, expected):
            code = EXPECTED
        else:
            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code of the child, once it has ended; minus the signal that killed it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def stopped(pid: int) -> bool:
    """True while the child sleeps; False once it has ended."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    return os.WIFSTOPPED(status)


def run(work: Callable[[], object], *, crash_at: str = "", expected: type[Exception] | None = None) -> int:
    return ended(start(work, crash_at=crash_at, expected=expected))
