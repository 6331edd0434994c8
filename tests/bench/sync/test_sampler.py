"""The profile gives CPU to the code that spends it."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from crossdock.bench.meter import cpu_s, pss_mb
from crossdock.bench.sync.sampler import Sampler, spot_of


def burn(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def test_a_thread_that_works_is_seen_for_as_long_as_it_works_and_one_that_waits_is_not() -> None:
    """Wall time would make a thread that waits for the network the costliest of all."""
    waiting = threading.Event()
    idle = threading.Thread(target=waiting.wait)
    idle.start()
    sampler = Sampler()
    sampler.start()
    busy = threading.Thread(target=burn, args=(0.3,))
    busy.start()
    busy.join()

    seen = sum(seconds for *_, seconds in sampler.stop())

    waiting.set()
    idle.join()
    assert 0.2 < seen < 0.4


def test_a_library_is_told_from_our_code_that_called_it() -> None:
    library = compiled("/venv/lib/site-packages/pandas/core/frame.py", "def inner(): return sys._getframe()")
    ours = compiled(
        "/home/x/include/crossdock/sync/expectations.py", "def outer(): return inner()", inner=library["inner"]
    )

    assert spot_of(ours["outer"]()) == ("quality/check.py", "outer", "pandas")


def compiled(file: str, source: str, **names: Any) -> dict[str, Any]:
    """What *source* defines, as if it stood in *file*."""
    found = {"sys": sys, **names}
    exec(compile(source, file, "exec"), found)  # noqa: S102  a frame of another file is the point
    return found


def test_the_meter_knows_this_process() -> None:
    before = cpu_s(os.getpid())
    burn(0.2)

    assert 0.15 < cpu_s(os.getpid()) - before < 0.4
    assert pss_mb(os.getpid()) > 5
