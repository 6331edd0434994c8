"""
The processes of a local stack: started in sessions of their own, written down at once, ended to the last descendant.

Who belongs to us is decided so that a reused process id never costs a stranger its life: by the kernel's own
birth mark of a process, and for what outlived its parent by a marker in the environment we gave it.
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

#: In the environment of everything we start, and of all it starts: "<name>@<home>".
MARKER = "HUB_STACK_PROCESS"

#: A longer log is put aside at the next start, in place of the one put aside before.
_LOG_BYTES = 10 * 1024**2
#: Children of this very process, so that an ended one is reaped and does not look alive.
_children: dict[int, subprocess.Popen[bytes]] = {}
_writing = threading.Lock()


@dataclass(frozen=True)
class ProcessRecord:
    """What we wrote down about a process we started."""

    name: str
    #: Also its session and its process group.
    pid: int
    #: When the kernel started it; see `birth`.
    birth: str
    #: Where it listens on 127.0.0.1; None when it listens nowhere.
    port: int | None
    log: str


def birth(pid: int) -> str | None:
    """
    What tells this process from any other that ever had its id, or None when nothing alive has it.

    On Linux the boot's id and the clock ticks since boot: a wall clock that is set (a resumed virtual machine)
    would change psutil's create time, and `down` would no longer know its own.
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
    """Whether the process we wrote down is still alive, and not a stranger with its id."""
    return birth(record.pid) == record.birth


def records() -> dict[str, ProcessRecord]:
    """What we wrote down, by name; some may have ended since."""
    return {each["name"]: ProcessRecord(**each) for each in read_json(_records_file()) or []}


def alive() -> dict[str, ProcessRecord]:
    """The records whose process is alive and ours, by name."""
    return {name: record for name, record in records().items() if is_ours(record)}


def remember(name: str, pid: int, *, port: int | None, log: Path) -> ProcessRecord:
    """Write down a process that was just started, in place of an older one of that name."""
    record = ProcessRecord(name, pid, birth(pid) or "ended", port, str(log))
    with _writing:
        _write({**records(), name: record})
    return record


def forget(names: Collection[str]) -> None:
    with _writing:
        _write({name: record for name, record in records().items() if name not in names})


def log_of(name: str) -> Path:
    return home() / "logs" / f"{name}.log"


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; says so when there are none."""
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
    A detached process: own session (Ctrl-C does not reach it, one signal reaches all of it), output in its log.

    It works in the stack's home, not in the caller's folder, which may be on a disk somebody wants to unmount.
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
    return remember(name, child.pid, port=port, log=log)


def fail_if_dead(those: Iterable[ProcessRecord]) -> None:
    """Raise ProcessDied, with the end of its log, for the first that is no longer alive."""
    for record in those:
        if not is_ours(record):
            raise ProcessDied(record.name, Path(record.log), tail(Path(record.log)))


def wait_for_end(record: ProcessRecord, timeout_s: float) -> int | None:
    """The exit code of a child of ours, or None when it still runs after *timeout_s*."""
    try:
        return _children[record.pid].wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def stop(names: Collection[str], *, grace_s: float = 15.0) -> list[str]:
    """
    End all that belongs to these names, leaders and what outlived them, and forget the records.

    Everything gets SIGTERM at once and *grace_s* together; what is left, or was born meanwhile, gets SIGKILL.

    Returns:
        The names of which something was alive.

    """
    found = members(names)
    groups = {record.pid for name, record in records().items() if name in names and is_ours(record)}
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
    for process in {process for some in found.values() for process in some}:
        with suppress(psutil.Error, ProcessLookupError):
            # Once each: a second SIGTERM tells Airflow to drop what it is doing.
            if os.getpgid(process.pid) not in groups:
                process.terminate()
    _wait_until_gone(names, grace_s)
    for process in {process for some in members(names).values() for process in some}:
        with suppress(psutil.Error):
            process.kill()
    _wait_until_gone(names, 5.0)
    forget(names)
    return [name for name in names if found[name]]


def members(names: Collection[str]) -> dict[str, list[psutil.Process]]:
    """
    The living processes of each name: its leader, its session, and what carries its mark elsewhere.

    A task of Airflow moves to a process group of its own, but stays in the session; a shell it starts may open a
    session, but keeps the environment, as does what we had no time to write down. Programs that
    set their title overwrite the environment that we can see, so in a session of ours standing in our home is
    proof enough.
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
            if record is not None and (is_ours(record) or process.cwd() == str(home())):
                found[record.name].append(process)
            elif (name := by_mark.get(process.environ().get(MARKER, ""))) is not None:
                found[name].append(process)
    return found


def _wait_until_gone(names: Collection[str], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(members(names).values()) and time.monotonic() < deadline:
        time.sleep(0.2)


def _boot() -> str:
    """The id of this boot of the machine: ticks and process ids start again after the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""


def _mark(name: str) -> str:
    return f"{name}@{home()}"


def _records_file() -> Path:
    return home() / "stack.json"


def _write(them: Mapping[str, ProcessRecord]) -> None:
    write_json(_records_file(), [asdict(record) for record in them.values()])
