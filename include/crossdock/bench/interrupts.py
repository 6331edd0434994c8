"""An interrupted measurement must not leave a database behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

#: Sent by a supervisor, and by a terminal that was closed. Ctrl-C is an exception already.
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit while the block runs, so that `finally` clauses clean up."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        # A second signal must not interrupt the clean-up.
        for signal_number in _SIGNALS:
            signal.signal(signal_number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {signal_number: signal.signal(signal_number, leave) for signal_number in _SIGNALS}
    try:
        yield
    finally:
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)
