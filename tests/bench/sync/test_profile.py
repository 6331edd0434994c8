"""The profile assigns CPU to the code that spends it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossdock.bench.meter import cpu_s, ended_children_cpu_s, pss_mb
from crossdock.bench.sync import profile
from crossdock.bench.sync.profile import Spot, sampled, spots, summed
from crossdock.core.errors import BadRequest

ROOT = "/home/x/include/crossdock"
SITE = "/venv/lib/python3.11/site-packages"
#: As py-spy writes it: outermost frame first, and the number of samples.
RAW = f"""\
<module> ({ROOT}/bench/sync/worker.py:9);validate ({ROOT}/sync/validate.py:3);check ({ROOT}/sync/expectations.py:5);\
inner ({SITE}/pandas/core/frame.py:7) 30
<module> ({ROOT}/bench/sync/worker.py:9);validate ({ROOT}/sync/validate.py:4) 60
Thread.run (/usr/lib/python3.11/threading.py:982) 10
"""
BURNER = """
import sys, time
def burn_for_the_test():
    while True:
        sum(range(1_000))
print("ready", flush=True)
burn_for_the_test()
"""


def test_a_library_is_separated_from_our_code_that_called_it() -> None:
    found = spots(RAW, 2.0)

    assert found == {
        Spot("sync/validate.py", "validate", ""): pytest.approx(1.2),
        Spot("sync/expectations.py", "check", "pandas"): pytest.approx(0.6),
        Spot("", "", "python"): pytest.approx(0.2),
    }


def test_the_seconds_of_a_room_say_how_many_were_spent_in_libraries() -> None:
    rooms = summed(spots(RAW, 2.0), lambda spot: spot.room)

    assert rooms["sync"] == pytest.approx((1.8, 0.6))
    assert rooms[""] == pytest.approx((0.2, 0.2))


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may always trace a sibling process")
def test_a_running_process_is_sampled(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with subprocess.Popen([sys.executable, "-c", BURNER], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            with sampled(child.pid, raw):
                time.sleep(0.5)
        finally:
            child.kill()

    assert "burn_for_the_test" in raw.read_text()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Permission Denied: Try running again", "Permission Denied.*kernel.yama.ptrace_scope=0"),
        ("Error: No such process", "cannot read the worker: Error: No such process$"),
    ],
)
def test_a_process_that_may_not_be_traced_is_a_clear_error(
    message: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers and Ubuntu's default refuse it; the person should learn what to change."""
    refusing = tmp_path / "py-spy"
    refusing.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    refusing.chmod(refusing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(profile, "py_spy", lambda: str(refusing))

    with pytest.raises(BadRequest, match=said), sampled(os.getpid(), tmp_path / "raw"):
        pytest.fail("it was not sampled")


def test_a_missing_py_spy_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BadRequest, match="py-spy is not installed"):
        profile.py_spy()


def burn(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory are read from /proc, which only Linux has")
def test_the_meter_knows_this_process() -> None:
    before = cpu_s(os.getpid())
    burn(0.2)

    assert 0.15 < cpu_s(os.getpid()) - before < 0.4
    assert pss_mb(os.getpid()) > 5


def test_the_meter_knows_children_that_have_ended() -> None:
    before = ended_children_cpu_s()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)

    assert ended_children_cpu_s() > before
