"""The supervisor: whatever is killed or frozen is replaced, also the supervisor, and never against a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from crossdock.observability import restarts
from crossdock.stack import lifecycle, ports, processes, starts, supervisor, turns
from crossdock.stack.conditions import SILENT_LOOKS, Sign
from crossdock.stack.home import write_json
from crossdock.stack.supervisor import Duties, Supervisor

#: Writes its heartbeat all the time, and has a child that outlives it.
BEATING = """
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
while True:
    pathlib.Path(sys.argv[1]).write_text(str(time.monotonic_ns()))
    time.sleep(0.02)
"""
ENVIRONMENT = {"PATH": os.environ["PATH"]}

pytestmark = pytest.mark.crash


@pytest.fixture(autouse=True)
def machine_at_ease(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an overloaded machine each limit is four times as long: test_conditions.py."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """A failed test must not leave sleepers on the machine."""
    yield
    turns.announce_stop()
    processes.stop([*processes.records(), *starts.SUPERVISORS], grace_s=0.1)


def beat_file(name: str) -> Path:
    return Path(os.environ["HUB_HOME"]) / f"{name}.beat"


def start(name: str) -> None:
    processes.start(name, [sys.executable, "-c", BEATING, str(beat_file(name))], environment=ENVIRONMENT)


def beats() -> Mapping[str, Sign]:
    return {name: Sign(beat_file(name).read_text()) for name in ("worker", "database") if beat_file(name).exists()}


def a_supervisor(*names: str, needs: Mapping[str, tuple[str, ...]] | None = None) -> Supervisor:
    duties = Duties(
        names, [(None, beats)], start, lambda name: processes.end([name], grace_s=0.1) and None, needs or {}
    )
    return Supervisor(starts.SUPERVISOR, duties)


def pid_of(name: str) -> int:
    return processes.records()[name].pid


def rounds_until(watching: Supervisor, condition: Callable[[], bool]) -> None:
    """Do rounds without the pause between them, until the condition holds; it need not hold soon."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        watching.round()
        time.sleep(0.05)


def well(watching: Supervisor, *names: str) -> Callable[[], bool]:
    return lambda: all(name in watching.watched() and watching.watched()[name].is_well for name in names)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_frozen_process_is_replaced_and_what_it_left_behind_is_ended(fault: signal.Signals) -> None:
    """A scheduler's workers would go on beside those of its successor."""
    start("worker")
    watching = a_supervisor("worker")
    rounds_until(watching, well(watching, "worker"))
    before = pid_of("worker")
    family = [psutil.Process(before), *psutil.Process(before).children()]

    os.kill(before, fault)
    rounds_until(watching, lambda: pid_of("worker") != before)
    rounds_until(watching, well(watching, "worker"))

    assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    noted = restarts.read(restarts.file_in(Path(os.environ["HUB_HOME"])))["worker"]
    assert noted.number == 1
    assert ("ended" if fault == signal.SIGKILL else "no sign of life") in noted.latest[0].why


def test_a_well_process_is_left_alone() -> None:
    """Each restart of a scheduler ends the tasks at work."""
    start("worker")
    watching = a_supervisor("worker")
    rounds_until(watching, well(watching, "worker"))
    before = pid_of("worker")

    for _ in range(SILENT_LOOKS * 2):
        rounds_until(watching, well(watching, "worker"))
        watching.round()

    assert pid_of("worker") == before
    assert lifecycle.status().state != "running"


def test_what_needs_a_database_is_replaced_after_the_database() -> None:
    """It would end again at once, and an alert would blame it."""
    start("database")
    start("worker")
    watching = a_supervisor("database", "worker", needs={"worker": ("database",)})
    rounds_until(watching, well(watching, "database", "worker"))
    before = {name: pid_of(name) for name in ("database", "worker")}

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    # A killed process ends when it is next given a processor. A look before that finds the database well.
    while set(before) & set(processes.alive()):
        time.sleep(0.01)
    rounds_until(watching, lambda: pid_of("database") != before["database"])
    assert pid_of("worker") == before["worker"], "in the same round the database was not back"
    rounds_until(watching, well(watching, "database", "worker"))

    assert pid_of("worker") != before["worker"]


def test_nothing_is_replaced_while_a_command_has_its_turn_or_the_stack_stops() -> None:
    """`down` would end a process that is started anew behind its back; `up` would start it twice."""
    start("worker")
    watching = a_supervisor("worker")
    rounds_until(watching, well(watching, "worker"))
    before = pid_of("worker")
    os.kill(before, signal.SIGKILL)

    with turns.in_turn(print):
        for _ in range(3):
            watching.round()
    turns.announce_stop()
    for _ in range(3):
        watching.round()
    assert pid_of("worker") == before

    turns.forget_stop()
    rounds_until(watching, lambda: pid_of("worker") != before)


def test_a_process_whose_record_is_gone_is_started_anew() -> None:
    """A command that replaces a process deletes its record first, and may fail before it has started another."""
    start("worker")
    watching = a_supervisor("worker")
    rounds_until(watching, well(watching, "worker"))

    processes.stop(["worker"], grace_s=0.1)

    rounds_until(watching, lambda: "worker" in processes.alive())


def test_a_supervisor_that_replaces_much_is_not_silent_meanwhile() -> None:
    """To end a frozen process takes seconds: after ten of them the guard would kill a supervisor in the middle of its work."""
    sign = Path(os.environ["HUB_HOME"]) / "supervisor.alive"
    given: list[bool] = []

    def end(_: str) -> None:
        given.append(sign.exists())
        sign.unlink(missing_ok=True)

    Supervisor(starts.SUPERVISOR, Duties(["one", "two", "three"], [], lambda _: None, end, {})).round()

    assert given == [True, True, True]


#: One of the two supervisors of a stack without anything else.
PAIR = """
import os, sys, threading
from crossdock.stack import processes, starts, supervisor
from crossdock.stack.supervisor import Duties, Supervisor

def start(name):
    processes.start(name, [sys.executable, __file__, name], environment=os.environ)

def end(name):
    processes.end([name], grace_s=0.1)

role = sys.argv[1]
partner = starts.GUARD if role == starts.SUPERVISOR else starts.SUPERVISOR
os.environ.pop(processes.MARKER, None)
duties = Duties([partner], [(None, supervisor.sign_of(partner))], start, end, {})
Supervisor(role, duties, look_every_s=0.5).run(threading.Event())
"""


@pytest.fixture
def pair(tmp_path: Path) -> None:
    """Start the two."""
    script = tmp_path / "pair.py"
    script.write_text(PAIR)
    for role in starts.SUPERVISORS:
        processes.start(role, [sys.executable, str(script), role], environment=dict(os.environ))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def signs_of_both() -> list[Mapping[str, Sign]]:
    return [supervisor.sign_of(role)() for role in starts.SUPERVISORS]


def both_are_at_work() -> bool:
    """Each has given a sign since this was asked."""
    before = signs_of_both()
    eventually(lambda: all(now and now != then for now, then in zip(signs_of_both(), before, strict=True)))
    return True


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("role", "fault"),
    [(starts.SUPERVISOR, signal.SIGKILL), (starts.GUARD, signal.SIGKILL), (starts.SUPERVISOR, signal.SIGSTOP)],
)
def test_each_supervisor_replaces_the_other(role: str, fault: signal.Signals) -> None:
    """Otherwise the first fault would be noticed at the second one."""
    assert both_are_at_work()
    before = pid_of(role)

    os.kill(before, fault)
    eventually(lambda: pid_of(role) != before)

    assert both_are_at_work()
    assert processes.birth(before) is None


@pytest.mark.usefixtures("pair")
def test_down_ends_both_supervisors_though_each_replaces_the_other(stack_home: Path) -> None:
    """Also one that is frozen in the middle of its turn, with the lock in its hands."""
    assert both_are_at_work()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from crossdock.stack import turns; import time\nwith turns.in_turn(print): time.sleep(600)",
        ],
        env={**os.environ, processes.MARKER: f"{starts.SUPERVISOR}@{stack_home}"},
        start_new_session=True,
    )
    eventually(lambda: not _is_free())
    holder.send_signal(signal.SIGSTOP)

    ended = lifecycle.down()

    holder.wait()
    assert set(ended) == set(starts.SUPERVISORS)
    assert processes.members(starts.SUPERVISORS) == {role: [] for role in starts.SUPERVISORS}
    assert processes.records() == {}
    assert not turns.is_stopping(), "the next `up` starts them again"


def _is_free() -> bool:
    with turns.if_free() as free:
        return free


def test_up_believes_the_supervisor_that_a_process_is_silent_and_does_not_count_again() -> None:
    """While `up` counts, it has its turn, so that nobody replaces what is silent: on a busy machine for minutes."""
    ports.assign()
    for name in (starts.SUPERVISOR, "scheduler", "triggerer"):
        start(name)
    found = {"scheduler": {"state": "silent", "looks": 24, "waits_for": None}}
    write_json(starts.conditions_file(starts.SUPERVISOR), found)

    assert lifecycle._silent({"scheduler", "triggerer"}, lambda _: None) == {"scheduler"}
