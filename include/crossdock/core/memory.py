"""Memory that a batch used, given back to the machine."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def trim_memory() -> None:
    """
    What was freed goes back to the machine now.

    The C library keeps what threads have freed, each thread's apart, and in a worker that lives for days a sync's
    largest batch would stay its size for ever. Where the library has no word for it, nothing happens.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda _keep_bytes: None
    return trim
