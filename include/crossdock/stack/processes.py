"""
The processes of a local stack: started in sessions of their own, recorded at once, stopped with all descendants.

Another program that got a reused process id must never be stopped. So a process is recognised by the time at which the
kernel started it, and one that outlived its parent by a marker in its environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from crossdock.client.errors import ProcessDied
from crossdock.stack.home import home, make_private_folder, read_json, write_json

#: A variable in the environment of every process we start, and of its descendants: "<name>@<home>".
MARKER = "HUB_STACK_PROCESS"

#: A longer log is renamed at the next start and replaces the one renamed before.
_LOG_BYTES = 10 * 1024**2
#: Children of this process: an ended one must be reaped, or it looks alive.
_children: dict[int, subprocess.Popen[bytes]] = {}
_writing = threading.Lock()


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a process that we started."""

    name: str
    #: Also its session and its process group.
    pid: int
    #: When the kernel started it; see `birth`.
    birth: str
    #: Its port on 127.0.0.1; None when it has none.
    port: int | None
    log: str


def birth(pid: int) -> str | None:
    """
    Identify the process that has this id now among all that ever had it; None when no living process has it.

    On Linux these are the boot's id and the clock ticks since boot: psutil's creation time changes when the wall clock
    is set (a resumed virtual machine), and `down` would no longer recognise its processes.
    """
    child = _children.get(pid)
    if child is not None:
        child.poll()
    if not sys.platform.startswith("linux"):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                return str(process.create_time())
        return None
    try:
        # The name in brackets may itself hold spaces and brackets.
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else f"{_boot()}:{rest[18]}"


def is_ours(record: ProcessRecord) -> bool:
    """Whether the recorded process is still alive, and no other process has its id."""
    return birth(record.pid) == record.birth


def age_s(record: ProcessRecord) -> float:
    """Say for how many seconds the machine has been up since the recorded process began; 0 where that is not known."""
    boot, _, ticks = record.birth.partition(":")
    if not ticks.isdecimal() or boot != _boot():
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")


def records() -> dict[str, ProcessRecord]:
    """Read all records, by name; some processes may have ended."""
    return {record["name"]: ProcessRecord(**record) for record in read_json(_records_file()) or []}


def alive() -> dict[str, ProcessRecord]:
    """Read the records of living processes, by name."""
    return {name: record for name, record in records().items() if is_ours(record)}


def save_record(name: str, pid: int, *, port: int | None, log: Path) -> ProcessRecord:
    """Record a process that was just started; it replaces an older record of that name."""
    record = ProcessRecord(name, pid, birth(pid) or "ended", port, str(log))
    with _writing:
        _write({**records(), name: record})
    return record


def delete_records(names: Collection[str]) -> None:
    with _writing:
        _write({name: record for name, record in records().items() if name not in names})


def log_of(name: str) -> Path:
    return home() / "logs" / f"{name}.log"


def tail(log: Path, lines: int = 15) -> str:
    """Read the last lines of a log, indented, or a remark that there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            last = file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
    except FileNotFoundError:
        last = []
    return "\n".join(f"    {line}" for line in last) or "    (nothing was logged)"


def start(
    name: str, command: Sequence[str], *, environment: Mapping[str, str], port: int | None = None
) -> ProcessRecord:
    """
    Start a detached process with its output in its log. In a session of its own Ctrl-C does not reach it.

    It runs in the stack's home, not in the caller's folder, which may be on a disk that is unmounted later.
    """
    log = log_of(name)
    make_private_folder(log.parent)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            cwd=home(),
            env={**environment, MARKER: _mark(name)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    _children[child.pid] = child
    return save_record(name, child.pid, port=port, log=log)


def fail_if_dead(watched: Iterable[ProcessRecord]) -> None:
    """Raise ProcessDied, with the end of its log, for the first process that has ended."""
    for record in watched:
        if not is_ours(record):
            raise ProcessDied(record.name, Path(record.log), tail(Path(record.log)))


def wait_for_end(record: ProcessRecord, timeout_s: float) -> int | None:
    """Wait for a child and return its exit code; None when it still runs after *timeout_s*."""
    try:
        return _children[record.pid].wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def stop(names: Collection[str], *, grace_s: float = 15.0) -> list[str]:
    """
    Stop all processes of these names, also those that outlived their parent, and delete the records.

    Returns:
        The names that had a living process.

    """
    ended = end(names, grace_s=grace_s)
    delete_records(names)
    return ended


def end(names: Collection[str], *, grace_s: float) -> list[str]:
    """
    Stop processes as `stop`, and keep the records: they say which name has ended, and in which sessions its orphans are.

    All get SIGTERM at once and share *grace_s*; those that remain, or started meanwhile, get SIGKILL.
    """
    found = members(names)
    groups = {record.pid for name, record in records().items() if name in names and is_ours(record)}
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
    for process in {process for some in found.values() for process in some}:
        with suppress(psutil.Error, ProcessLookupError):
            # Once each: at a second SIGTERM Airflow aborts its clean-up.
            if os.getpgid(process.pid) not in groups:
                process.terminate()
    _wait_until_gone(names, grace_s)
    for process in {process for some in members(names).values() for process in some}:
        with suppress(psutil.Error):
            process.kill()
    _wait_until_gone(names, 5.0)
    return [name for name in names if found[name]]


def members(names: Collection[str]) -> dict[str, list[psutil.Process]]:
    """
    Find the living processes of each name: in its session, or with its marker in the environment.

    An Airflow task has a process group of its own, but stays in the session. A shell that it starts may open another
    session, but keeps the environment; so does a process that was not recorded in time. Programs that set their title
    overwrite the environment that we can read, so in one of our sessions the working folder, or the title of one that
    nobody may look into, is enough evidence.
    """
    known = [record for name, record in records().items() if name in names]
    by_session = {record.pid: record for record in known if record.birth.startswith(f"{_boot()}:")}
    by_mark = {_mark(name): name for name in names}
    found: dict[str, list[psutil.Process]] = {name: [] for name in names}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or birth(process.pid) is None:
                continue
            record = by_session.get(os.getsid(process.pid))
            if record is not None and (is_ours(record) or _works_for_us(process)):
                found[record.name].append(process)
            elif (name := by_mark.get(process.environ().get(MARKER, ""))) is not None:
                found[name].append(process)
    return found


def _works_for_us(process: psutil.Process) -> bool:
    """Check whether a process of one of our sessions, whose leader has ended, is not one that has got the session's id anew."""
    try:
        return bool(process.cwd() == str(home()))
    except psutil.AccessDenied:
        # Airflow lets nobody but root look into a process that runs tasks. Its title remains.
        return bool(process.name().startswith("airflow ") and process.uids().real == os.getuid())


def _wait_until_gone(names: Collection[str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(members(names).values()) and time.monotonic() < deadline:
        time.sleep(0.2)


def _boot() -> str:
    """Read the id of this boot of the machine: clock ticks and process ids start again at each boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""


def _mark(name: str) -> str:
    return f"{name}@{home()}"


def _records_file() -> Path:
    return home() / "stack.json"


def _write(all_records: Mapping[str, ProcessRecord]) -> None:
    write_json(_records_file(), [asdict(record) for record in all_records.values()])
