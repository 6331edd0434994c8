"""The processes of a stack: which are ours, and that they all end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from crossdock.client.errors import ProcessDied
from crossdock.stack import processes

ENVIRONMENT = {"PATH": os.environ["PATH"]}
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]

# A leader that ignores SIGTERM, with a child in its own group, one in another group and one in another session.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
children = [
    subprocess.Popen(sleep),
    subprocess.Popen(sleep, preexec_fn=lambda: os.setpgid(0, 0)),
    subprocess.Popen(sleep, start_new_session=True),
]
print(*[child.pid for child in children], flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """A failed test must not leave sleepers on the machine."""
    yield
    processes.stop(list(processes.records()), grace_s=0.1)


def eventually(condition: Callable[[], object]) -> bool:
    """Wait up to two minutes for a condition; return whether it held."""
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def start_family(name: str) -> tuple[processes.ProcessRecord, list[int]]:
    record = processes.start(name, [sys.executable, "-c", STUBBORN], environment=ENVIRONMENT)
    log = Path(record.log)
    assert eventually(lambda: len(log.read_text().split()) == 3)
    return record, [int(word) for word in log.read_text().split()]


def is_gone(pid: int) -> bool:
    return processes.birth(pid) is None


def test_a_process_is_recorded_when_it_starts(stack_home: Path) -> None:
    """`down` after a kill -9 of `up` knows only what is on disk."""
    record = processes.start("sleeper", SLEEPER, environment=ENVIRONMENT, port=4711)

    assert json.loads((stack_home / "stack.json").read_text()) == [asdict(record)]
    assert processes.alive() == {"sleeper": record}


def test_a_started_process_has_a_session_of_its_own() -> None:
    """Ctrl-C in the terminal that ran `./hub up` reaches only its own session."""
    record = processes.start("sleeper", SLEEPER, environment=ENVIRONMENT)

    assert os.getsid(record.pid) == record.pid != os.getsid(0)


def test_stop_ends_the_whole_group() -> None:
    record = processes.start("sleeper", SLEEPER, environment=ENVIRONMENT)

    assert processes.stop(["sleeper"]) == ["sleeper"]
    assert is_gone(record.pid)
    assert processes.records() == {}


@pytest.mark.crash
def test_stop_ends_processes_that_ignore_sigterm_or_changed_their_group() -> None:
    """Airflow's tasks have process groups of their own, and their shells sessions."""
    record, children = start_family("family")

    processes.stop(["family"], grace_s=0.3)

    assert [pid for pid in [record.pid, *children] if not is_gone(pid)] == []


@pytest.mark.crash
def test_stop_ends_the_children_of_a_killed_leader() -> None:
    """A scheduler that was killed -9 leaves workers that would keep writing beside its successor."""
    record, children = start_family("family")
    os.kill(record.pid, signal.SIGKILL)
    assert eventually(lambda: is_gone(record.pid))

    ended = processes.stop(["family"], grace_s=0.3)

    assert ended == ["family"]
    assert [pid for pid in children if not is_gone(pid)] == []


@pytest.mark.crash
@pytest.mark.skipif(sys.platform != "linux", reason="there is no prctl elsewhere")
@pytest.mark.parametrize(("title", "is_ended"), [("airflow worker", True), ("ssh-agent", False)])
def test_what_nobody_but_root_may_look_into_is_known_by_its_title(
    monkeypatch: pytest.MonkeyPatch, title: str, is_ended: bool
) -> None:
    """Airflow's workers forbid it. A user who is not root was left with them, 360 MB each, after each scheduler that was killed."""
    child = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {title.encode()!r}); time.sleep(600)"
    leader = f"import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True); time.sleep(600)"
    record = processes.start("scheduler", [sys.executable, "-c", leader], environment=ENVIRONMENT)
    log = Path(record.log)
    assert eventually(lambda: log.read_text().strip())
    orphan = int(log.read_text())
    assert eventually(lambda: psutil.Process(orphan).name() == title)
    os.kill(record.pid, signal.SIGKILL)
    assert eventually(lambda: is_gone(record.pid))

    def refuse(process: psutil.Process) -> str:
        raise psutil.AccessDenied(process.pid)

    with monkeypatch.context() as patched:
        patched.setattr(psutil.Process, "cwd", refuse)
        patched.setattr(psutil.Process, "environ", refuse)
        processes.stop(["scheduler"], grace_s=0.3)

    assert is_gone(orphan) == is_ended
    with suppress(ProcessLookupError):
        os.kill(orphan, signal.SIGKILL)


def test_a_process_without_a_record_is_found_by_its_marker(stack_home: Path) -> None:
    """Between a start and its record there is a moment in which `up` can be killed."""
    record = processes.start("sleeper", SLEEPER, environment=ENVIRONMENT)
    (stack_home / "stack.json").unlink()

    assert processes.stop(["sleeper"]) == ["sleeper"]
    assert is_gone(record.pid)


def test_another_program_with_a_reused_id_is_not_stopped() -> None:
    """After a reboot the ids in the file belong to other people's programs."""
    stranger = subprocess.Popen(SLEEPER, start_new_session=True)
    record = processes.save_record("scheduler", stranger.pid, port=None, log=processes.log_of("scheduler"))
    before_boot = {**asdict(record), "birth": "another boot:4711"}
    processes._records_file().write_text(json.dumps([before_boot]))

    assert processes.alive() == {}
    assert processes.stop(["scheduler"]) == []

    assert stranger.poll() is None
    assert processes.records() == {}, "the stale record is cleaned"
    stranger.kill()
    stranger.wait()


def test_a_process_that_died_shows_the_end_of_its_log() -> None:
    """A bare "not ready" sends people to search for a log file."""
    record = processes.start("scheduler", [sys.executable, "-c", "raise SystemExit('no such table')"], environment={})
    assert eventually(lambda: is_gone(record.pid))

    with pytest.raises(ProcessDied, match="no such table"):
        processes.fail_if_dead([record])


def test_logs_are_closed_to_other_users() -> None:
    record = processes.start("sleeper", SLEEPER, environment=ENVIRONMENT)

    assert Path(record.log).parent.stat().st_mode & 0o077 == 0
    assert psutil.Process(record.pid).is_running()
