"""A measurement that is told to end must not leave a database behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

#: Told by a supervisor, and by a terminal that was closed. Ctrl-C is an exception already.
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def told_to_end() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP leave it by an exception, so that it ends what it started."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        # A second one must not cut off the cleaning up.
        for ending in _ENDINGS:
            signal.signal(ending, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {ending: signal.signal(ending, leave) for ending in _ENDINGS}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
