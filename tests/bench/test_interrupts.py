"""A benchmark that is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from crossdock.bench.interrupts import exit_on_signals


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_block_by_an_exception(ending: signal.Signals) -> None:
    """By default Python ends at once, and no `finally` runs."""
    cleaned_up = []
    before = signal.getsignal(ending)

    def measure() -> None:
        try:
            os.kill(os.getpid(), ending)
        finally:
            os.kill(os.getpid(), ending)  # a second one does not interrupt the clean-up
            cleaned_up.append(True)

    with pytest.raises(SystemExit) as left, exit_on_signals():
        measure()

    assert left.value.code == 128 + ending
    assert cleaned_up
    assert signal.getsignal(ending) == before


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark is for Linux")
def test_an_interrupted_benchmark_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    """A database left running takes a gigabyte, and nobody knows where it came from."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "crossdock.cli", "bench", "sync", "--rows", "500", "--out", str(tmp_path / "out")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    output = []
    for line in child.stderr:
        output.append(line)
        if "floor" in line:
            break
    started = psutil.Process(child.pid).children(recursive=True)

    child.terminate()
    code = child.wait(timeout=300)

    assert started, "".join(output)
    assert code == 128 + signal.SIGTERM
    assert not [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not list(tmp_path.iterdir())
