"""End quietly on Ctrl-C while modules load; without this, Python would print a stack trace of an import."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What a shell expects of a program that Ctrl-C ended.
INTERRUPTED = 130


def _end(*_: Any) -> None:
    os._exit(INTERRUPTED)


@contextmanager
def ends_quietly() -> Iterator[None]:
    """End the process at once on Ctrl-C."""
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
