"""Return the memory of finished batches to the operating system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def trim_memory() -> None:
    """
    Return freed memory to the operating system now.

    The C library keeps what each thread has freed, so a worker that lives for days would stay as large as its largest
    batch. Does nothing with a C library that has no `malloc_trim`.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda _keep_bytes: None
    return trim
