"""
Whose turn it is to start and stop processes of the stack: one command, or one supervisor, at a time.

A lock of the kernel on a file: it ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crossdock.client.errors import AnotherStart
from crossdock.stack.home import home

#: As long as the longest start takes, and some more.
_PATIENCE_S = 1800.0


@contextmanager
def if_free() -> Iterator[bool]:
    """Take the turn if nobody has it; say whether that is so."""
    with _lock_file().open("a") as file:
        yield _locked(file.fileno())


@contextmanager
def in_turn(say: Callable[[str], None], *, patience_s: float = _PATIENCE_S, every_s: float = 0.2) -> Iterator[None]:
    """
    Wait for the turn. *say* is called with a sentence if it has to.

    Raises:
        AnotherStart: another has had it for *patience_s*.

    """
    deadline = time.monotonic() + patience_s
    with _lock_file().open("a") as file:
        if not _locked(file.fileno()):
            say("Another ./hub up or ./hub down, or the supervisor, is at work on this stack: waiting for it")
            while not _locked(file.fileno()):
                if time.monotonic() > deadline:
                    raise AnotherStart(_lock_file())
                time.sleep(every_s)
        yield


def announce_stop() -> None:
    """Say that the stack is to stop: from now on no supervisor starts anything, and each ends by itself."""
    home().mkdir(parents=True, exist_ok=True)
    _stop_file().touch()


def forget_stop() -> None:
    _stop_file().unlink(missing_ok=True)


def is_stopping() -> bool:
    """Whether `down` is at work, or nothing is left of this home."""
    return _stop_file().exists() or not home().exists()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file() -> Path:
    home().mkdir(parents=True, exist_ok=True)
    return home() / "lock"


def _stop_file() -> Path:
    return home() / "stopping"
