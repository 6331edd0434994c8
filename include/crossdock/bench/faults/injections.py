"""The faults: each begins, lasts while its block runs, and ends with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from crossdock.bench.faults.stage import INVENTORY_DAG, INVENTORY_RUNS, Stage
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.errors import StackError
from crossdock.stack import lifecycle, ports, processes
from crossdock.stack.secrets import load_secrets

#: How long a disk is full, and a source's clock is wrong.
_FULL_S = 40.0
_CLOCK_S = 40.0
_FLAPPING_S = 4.0
_FIND_TIMEOUT_S = 60.0
_BEGIN_TIMEOUT_S = 240.0
_MIB = 1024**2

_READS = "SELECT run_id FROM sync_run WHERE dag_run_id = %s AND state = 'running'"

Act = Callable[[Stage], AbstractContextManager[None]]


class NotHere(Exception):
    """A fault cannot be made on this machine, or of this version; the message says why."""


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    what: str
    act: Act
    #: It ends by itself after so many seconds; None: only when the stack replaces what was hit, or a person helps.
    lasts_s: float | None = None
    #: It is a command of a person's, who gives `./hub up` next.
    by_person: bool = False


@contextmanager
def _killed(name: str, stage: Stage) -> Iterator[None]:
    stage.signal(_pid(stage, name), signal.SIGKILL)
    yield


@contextmanager
def _frozen(name: str, stage: Stage) -> Iterator[None]:
    """Stop the process, and for a database all its processes; who helps lets it go on."""
    pid = _pid(stage, name)
    tree = [pid]
    if name in lifecycle.POSTGRES:
        tree += [child.pid for child in psutil.Process(pid).children(recursive=True)]
    for one in tree:
        stage.signal(one, signal.SIGSTOP)
    yield
    for one in reversed(tree):
        stage.signal(one, signal.SIGCONT)


@contextmanager
def _backend_killed(server: str, stage: Stage) -> Iterator[None]:
    """Kill one connection's process: PostgreSQL then ends all the others and recovers."""
    backends = [child.pid for child in psutil.Process(stage.pid(server)).children() if _is_connection(child)]
    if not backends:
        raise ProgramFailed(f"Nothing is connected to {server}")
    stage.signal(backends[-1], signal.SIGKILL)
    yield


def _is_connection(process: psutil.Process) -> bool:
    """Check whether a process of PostgreSQL's serves a client; connections come and go meanwhile."""
    try:
        title = process.cmdline()
    except psutil.NoSuchProcess:
        return False
    return bool(title) and "127.0.0.1" in title[0]


@contextmanager
def _restarted(server: str, stage: Stage) -> Iterator[None]:
    _restart(server, stage)
    yield


@contextmanager
def _flapping(server: str, stage: Stage) -> Iterator[None]:
    until = time.monotonic() + _FLAPPING_S
    while time.monotonic() < until:
        _restart(server, stage)
        time.sleep(0.3)
    yield


def _restart(server: str, stage: Stage) -> None:
    """Restart a PostgreSQL server as an administrator does. Who supervises it may be faster."""
    described = lifecycle.servers(ports.saved(), load_secrets())[server]
    stage.hit()
    described.stop("fast")
    with suppress(StackError):
        pid = described.start()
        processes.save_record(server, pid, port=described.port, log=described.log)


@contextmanager
def _task_hit(dag: str, number: signal.Signals, *, supervisor: bool, every: bool, stage: Stage) -> Iterator[None]:
    """Send *number* to a running task, or to the process above it; to one, or to every one."""
    found = _tasks(stage, dag, at_least=2 if every else 1)
    hit = [task.ppid() if supervisor else task.pid for task in found][: None if every else 1]
    for pid in hit:
        stage.signal(pid, number)
    yield
    if number is signal.SIGSTOP:
        for pid in hit:
            stage.signal(pid, signal.SIGCONT)


@contextmanager
def _sync_hit(number: signal.Signals, stage: Stage) -> Iterator[None]:
    """In the middle of a slow sync, whose pages take five seconds each; before it reads there is nothing of ours to hit."""
    stage.sandbox.break_down("inventory", ["ok", {"latency_ms": 5000}], repeat=True)
    try:
        run = stage.request("POST", INVENTORY_RUNS, json={"logical_date": None, "conf": {"full": True}})
        _wait_until_it_reads(stage, run["dag_run_id"])
        (task, *_) = _tasks(stage, INVENTORY_DAG, at_least=1)
        pid = task.pid
        stage.signal(pid, number)
    finally:
        stage.sandbox.heal()
    yield
    if number is signal.SIGSTOP:
        stage.signal(pid, signal.SIGCONT)


def _wait_until_it_reads(stage: Stage, dag_run_id: str) -> None:
    """Wait for the sync of the DAG run; one that was scheduled before it may have to end first."""
    deadline = time.monotonic() + _BEGIN_TIMEOUT_S
    while not stage.ask(_READS, dag_run_id):
        if time.monotonic() > deadline:
            raise ProgramFailed(f"The sync of {dag_run_id} does not begin")
        time.sleep(0.3)


def _tasks(stage: Stage, dag: str, *, at_least: int) -> list[psutil.Process]:
    deadline = time.monotonic() + _FIND_TIMEOUT_S
    while len(found := stage.task_processes(dag)) < at_least:
        if time.monotonic() > deadline:
            raise ProgramFailed(f"No task of {dag} runs")
        time.sleep(0.3)
    return found


@contextmanager
def _full(volume: str, stage: Stage) -> Iterator[None]:
    if volume not in stage.volumes:
        raise NotHere("needs root, mkfs.ext4 and a machine that mounts a file")
    with ExitStack() as files:
        for folder in stage.volumes[volume]:
            files.enter_context(_no_room(folder))
        yield


@contextmanager
def _no_room(folder: Path) -> Iterator[None]:
    """Take all the room there is, again and again for what is freed meanwhile."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            taken = 0
            for size in (64 * _MIB, _MIB, 4096):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), taken, size)
                        taken += size
            yield
        finally:
            filler.unlink()


@contextmanager
def _clock(offset_s: float, stage: Stage) -> Iterator[None]:
    set_clock(stage, offset_s)
    try:
        yield
    finally:
        set_clock(stage, 0)


def set_clock(stage: Stage, offset_s: float) -> None:
    """Set the clock of the sandbox beside the right time."""
    try:
        stage.sandbox.set_clock(offset_s)
    except StackError as error:
        raise NotHere("the sandbox of this version has no clock to set") from error


@contextmanager
def _down(stage: Stage) -> Iterator[None]:
    """In mid-sync, as a person does who goes home."""
    stage.sandbox.break_down("inventory", ["ok", {"latency_ms": 1500}], repeat=True)
    try:
        stage.request("POST", INVENTORY_RUNS, json={"logical_date": None, "conf": {"full": True}})
        _tasks(stage, INVENTORY_DAG, at_least=1)
    finally:
        stage.sandbox.heal()
    stage.hit()
    stage.down()
    yield


@contextmanager
def _supervisors_killed(stage: Stage) -> Iterator[None]:
    """Both in the same moment: nobody is left who would replace them."""
    names = [name for name in processes.records() if name.startswith("supervisor")]
    if not names:
        raise NotHere("this version has no such process")
    for name in names:
        stage.signal(stage.pid(name), signal.SIGKILL)
    yield


@contextmanager
def _all_killed(stage: Stage) -> Iterator[None]:
    """Everything at once, as the machine does for its memory."""
    names = list(processes.records())
    everything = [process.pid for found in processes.members(names).values() for process in found]
    for name in lifecycle.POSTGRES:
        everything += [child.pid for child in psutil.Process(stage.pid(name)).children(recursive=True)]
        everything.append(stage.pid(name))
    for pid in everything:
        stage.signal(pid, signal.SIGKILL)
    yield


def _pid(stage: Stage, name: str) -> int:
    if name not in processes.records():
        raise NotHere("this version has no such process")
    return stage.pid(name)


def _of_process(name: str, what: str) -> list[Fault]:
    killed = Fault(f"{name}-killed", f"{what} killed (kill -9)", partial(_killed, name))
    return [killed, replace(killed, name=f"{name}-frozen", what=f"{what} frozen", act=partial(_frozen, name))]


def _of_database(server: str, what: str) -> list[Fault]:
    return [
        Fault(f"{server}-backend-killed", f"{what}: one connection's process killed", partial(_backend_killed, server)),
        *_of_process(server, f"{what}"),
        Fault(f"{server}-restarted", f"{what} restarted", partial(_restarted, server)),
        Fault(f"{server}-flapping", f"{what} restarted again and again for 4 s", partial(_flapping, server)),
        Fault(f"{server}-full", f"the volume of {what} full for 40 s", partial(_full, server), lasts_s=_FULL_S),
    ]


def _of_task(name: str, what: str, *, dag: str, supervisor: bool, every: bool = False) -> list[Fault]:
    hit = partial(_task_hit, dag, supervisor=supervisor, every=every)

    def act(number: signal.Signals) -> Act:
        return lambda stage: hit(number, stage=stage)

    return [
        Fault(f"{name}-killed", f"{what} killed (kill -9)", act(signal.SIGKILL)),
        Fault(f"{name}-frozen", f"{what} frozen", act(signal.SIGSTOP)),
    ]


_DELIVERY = "deliver_events"
#: Every fault, in the order of the table.
FAULTS: tuple[Fault, ...] = (
    *_of_database("postgres-hub", "the hub's database"),
    *_of_database("postgres-metadata", "Airflow's database"),
    *_of_process("scheduler", "the scheduler"),
    *_of_process("api-server", "the api-server"),
    *_of_process("dag-processor", "the dag-processor"),
    *_of_process("triggerer", "the triggerer"),
    *_of_process("sandbox", "the source"),
    *_of_process("mail-server", "the mail server"),
    *_of_process("sendgrid", "the second mail system"),
    *_of_process("alert-sender", "the alert sender"),
    *_of_process("supervisor", "the supervisor"),
    *_of_process("supervisor-guard", "the supervisor's guard"),
    Fault(
        "both-supervisors-killed",
        "the supervisor and its guard killed (kill -9), then `up`",
        _supervisors_killed,
        by_person=True,
    ),
    Fault("sync-task-killed", "a sync task killed (kill -9)", partial(_sync_hit, signal.SIGKILL)),
    Fault("sync-task-frozen", "a sync task frozen", partial(_sync_hit, signal.SIGSTOP)),
    *_of_task("delivery-task", "a delivery task", dag=_DELIVERY, supervisor=False),
    *_of_task("delivery-supervisor", "the process above a delivery task", dag=_DELIVERY, supervisor=True),
    _of_task(
        "delivery-supervisors", "the processes above both delivery tasks", dag=_DELIVERY, supervisor=True, every=True
    )[0],
    Fault("landing-full", "the landing area full for 40 s", partial(_full, "landing"), lasts_s=_FULL_S),
    Fault("logs-full", "the logs' volume full for 40 s", partial(_full, "logs"), lasts_s=_FULL_S),
    Fault("clock-back", "the source's clock 15 min back for 40 s", partial(_clock, -900.0), lasts_s=_CLOCK_S),
    Fault("clock-ahead", "the source's clock 1 h ahead for 40 s", partial(_clock, 3_600.0), lasts_s=_CLOCK_S),
    Fault("down-in-mid-sync", "`down` in mid-sync, then `up`", _down, by_person=True),
    Fault("everything-killed", "everything killed at once (kill -9), then `up`", _all_killed, by_person=True),
)


def faults_named(names: Sequence[str]) -> list[Fault]:
    """Find the faults of these names, or that begin with them, in the order of *names*; all for none."""
    found = [fault for name in names for fault in FAULTS if fault.name.startswith(name)]
    return list(dict.fromkeys(found)) if names else list(FAULTS)
