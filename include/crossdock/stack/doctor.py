"""Check this machine and this stack, and suggest fixes. Changes nothing; works when the stack is down."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from importlib import metadata
from itertools import chain
from operator import itemgetter
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from crossdock.client import proof
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import StackError
from crossdock.core.counted import counted
from crossdock.core.errors import Terminal
from crossdock.stack import lifecycle, mail_systems, memory, ports, processes, starting, starts, volumes
from crossdock.stack.airflow import hub_environment
from crossdock.stack.home import home, project
from crossdock.stack.secrets import load_secrets, secrets_file
from crossdock.stack.settings_file import read_settings

_NEEDED_PYTHON = (3, 11)
_PYTHON_FIX = "Install Python 3.11 or newer, delete .venv and run ./hub up: it makes a new one."
#: Variables with which a shell chooses an Airflow.
_OF_AN_AIRFLOW = frozenset({"AIRFLOW_HOME", "AIRFLOW_CONFIG"})
NEEDED_DISK_BYTES = 2 * 1024**3
#: Each page and each log of a task takes one.
_NEEDED_INODES = 0.02
_PROOF_TIMEOUT_S = 10.0
_CLOCK_S = 60.0
#: Files that each `up` writes. Another one keeps its time from the future until it changes, whatever the clock is now.
_OF_EACH_START = ("ports.json", "stack.json")
#: A server whose volume hangs answers no question.
_HURRY = "-c statement_timeout=10s"
_LONG_RUN = timedelta(days=1)
#: A message of an alert is sent within a minute, unless its channel is down.
_LONG_WAIT = timedelta(minutes=15)
_HEALTH_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    #: The finding, in words.
    found: str
    #: What to do about it; None when it is fine.
    fix: str | None = None
    #: Nothing is broken, and a person should know: no tick, and no failure.
    is_notice: bool = False


def examine() -> list[Check]:
    """
    Run every check that applies now: of the machine always, of a server when it runs.

    A check that raises an error is itself a finding and does not stop the others.
    """
    start = starting.now()
    if start is None:
        return list(chain.from_iterable(_safely(check) for check in (*_OF_THE_MACHINE, *_OF_THE_STACK)))
    # What does not run or answer yet is no fault, and to stop and start it would begin anew.
    found = list(chain.from_iterable(_safely(check) for check in _OF_THE_MACHINE))
    fix = "Wait for it, then run ./hub doctor again: what runs is checked when all of it does."
    return [*found, Check("stack", ok=True, found=f"it is {start.sentence}", fix=fix, is_notice=True)]


def _safely(check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001  any error should be shown with the other findings
        name = check.__name__.strip("_").replace("_", " ")
        yield Check(name, ok=False, found=f"{type(error).__name__}: {error}", fix="./hub down, then ./hub up")


def _python() -> Iterator[Check]:
    enough = sys.version_info >= _NEEDED_PYTHON
    yield Check("Python", enough, platform.python_version(), _PYTHON_FIX if not enough else None)


def _memory() -> Iterator[Check]:
    found = memory.available()
    enough = found >= memory.NEEDED_BYTES
    fix = None if enough else "Give the machine or its container 2 GB. With less, processes are killed and replaced."
    yield Check("memory", enough, f"{found / 1e9:.1f} GB, {memory.tasks_at_once(found)} tasks at once", fix)


def _airflow_version() -> Iterator[Check]:
    """Check that the Airflow of this environment is the one that the code is written for, and that no other one interferes."""
    needed, installed = _needed_airflow(), _installed_airflow()
    fits = needed is None or installed == needed
    found = f"{installed or 'none'} is installed" + ("" if fits else f", and this code needs {needed}")
    fix = None if fits else f"Delete {project() / '.venv'}, then run ./hub up: it installs the right one."
    yield Check("Airflow's version", fits, found, fix)
    foreign = sorted(name for name in os.environ if name in _OF_AN_AIRFLOW or name.startswith("AIRFLOW__"))
    if foreign:
        found = f"the environment has settings of another Airflow, which the stack does not use: {', '.join(foreign)}"
        yield Check(
            "another Airflow", ok=True, found=found, fix="To remove them: open a new shell without these variables."
        )


def _needed_airflow() -> str | None:
    """Read the version in requirements.txt; None where there is no such file."""
    try:
        text = (project() / "requirements.txt").read_text()
    except OSError:
        return None
    found = re.search(r"^apache-airflow(?:\[[^\]]*\])?==([\w.]+)", text, re.MULTILINE)
    return found[1] if found else None


def _installed_airflow() -> str | None:
    try:
        return metadata.version("apache-airflow")
    except metadata.PackageNotFoundError:
        return None


def _room() -> Iterator[Check]:
    """Check how much room each volume has, for the stack and before its first start."""
    if not home().exists():
        free = shutil.disk_usage(home().parent).free
        yield _room_of("home", home(), free, None)
    for volume in volumes.volumes():
        yield _room_of(
            ", ".join(volume.folders), next(iter(volume.folders.values())), volume.free_bytes, volume.free_inodes
        )


def _room_of(names: str, folder: Path, free_bytes: int, free_inodes: float | None) -> Check:
    found = f"{free_bytes / 1024**3:.1f} GB free"
    if free_inodes is not None:
        found += f", {free_inodes:.0%} of the inodes"
    enough = free_bytes >= NEEDED_DISK_BYTES and (free_inodes is None or free_inodes >= _NEEDED_INODES)
    fix = None if enough else f"Free space on the disk of {folder}, or set HUB_HOME to another disk."
    return Check(f"disk space of {names}", enough, found, fix)


_SECRETS_FIX = "Put secrets.json back as it was: from a backup (./hub backup makes them), or restore one as a whole (./hub restore DIR)."
_WRITE_FIXES = {
    "landing": "Then clear the failed tasks: they continue after the last page.",
    "logs": "Then restart what has ended or is silent: ./hub up",
    "task logs": "Then restart what has ended or is silent: ./hub up",
}


def _writes() -> Iterator[Check]:
    """Check that each folder takes a write, through to its disk. Those of the databases are checked by the databases."""
    for name, folder in volumes.folders().items():
        if name in lifecycle.POSTGRES:
            continue
        error = volumes.write_error(folder)
        fix = (
            f"Free space on the disk of {folder}, or allow writing to it. {_WRITE_FIXES.get(name, '')}".strip()
            if error
            else None
        )
        found = f"{folder} cannot be written: {error}" if error else f"{folder} can be written"
        yield Check(name, error is None, found, fix)


def _secrets() -> Iterator[Check]:
    if not secrets_file().exists():
        databases = [name for name in lifecycle.POSTGRES if (home() / name).exists()]
        found = "none yet; the first ./hub up generates them"
        if databases:
            found = f"{secrets_file()} is gone, and {' and '.join(databases)} cannot be opened without it"
        yield Check("secrets", not databases, found, _SECRETS_FIX if databases else None)
        return
    mode = stat.S_IMODE(secrets_file().stat().st_mode)
    closed = mode & (stat.S_IRWXG | stat.S_IRWXO) == 0
    fix = None if closed else f"chmod 600 {secrets_file()}"
    yield Check("secrets", closed, f"{secrets_file()} has mode {mode:04o}", fix)


def _processes() -> Iterator[Check]:
    """Check that each process runs and gives signs of life, and that its port is its own."""
    now = lifecycle.status()
    if now.state == "stopped" and not processes.records():
        yield Check("stack", ok=True, found="stopped; ./hub up starts it")
        return
    for process in now.processes:
        if process.state != "running":
            found = f"{process.problem or process.state}{_again(process)}"
            yield Check(process.name, ok=False, found=found, fix=f"To start it: ./hub up. Its log: {_log_of(process)}")
        elif (wrong := _wrong_at_port(process)) is not None:
            found = f"process {process.pid} is running, but {wrong}"
            yield Check(process.name, ok=False, found=found, fix=_port_fix(process))
        else:
            where = f", port {process.port} answers" if process.port else ""
            waits = f", {process.problem}" if process.problem else ""
            yield Check(process.name, ok=True, found=f"process {process.pid}{where}{waits}{_again(process)}")


def _again(process: lifecycle.ProcessStatus) -> str:
    if process.restarted_at is None:
        return ""
    return f"; {process.restarts} restarts, the last at {process.restarted_at:%Y-%m-%d %H:%M} UTC: {process.restarted_because}"


def _log_of(process: lifecycle.ProcessStatus) -> Path:
    return home() / process.name / "log" if process.name in lifecycle.POSTGRES else processes.log_of(process.name)


def _wrong_at_port(process: lifecycle.ProcessStatus) -> str | None:
    """Say what is wrong at the port of *process*; None where nothing is, or it has none."""
    if process.port is None:
        return None
    if not ports.answers(process.port):
        return f"port {process.port} does not answer"
    # A PostgreSQL server proves itself at the login. Without the secrets' file nothing can be proven, and it is a finding itself.
    if process.url is None or not secrets_file().exists():
        return None
    path = proof.OF_API if process.name == "api-server" else proof.OF_SANDBOX
    try:
        ours = proof.is_proven(process.url, path, load_secrets().stack_key, timeout_s=_PROOF_TIMEOUT_S)
    except OSError as error:
        return f"it does not answer at port {process.port} ({type(error).__name__})"
    return None if ours else f"another program answers at port {process.port}"


def _port_fix(process: lifecycle.ProcessStatus) -> str:
    """Say what to do about a port where our server does not answer, or where another program does."""
    anew = "./hub down, then ./hub up"
    if process.port is None or not ports.answers(process.port):
        return anew
    listening = _listener(process.port)
    # A server of ours that hangs is none that a person should look for and end.
    if listening in {each.pid for some in processes.members(processes.alive()).values() for each in some}:
        return anew
    return f"End that program ({_named(listening)}), or: {anew} takes another port"


def _stale_records() -> Iterator[Check]:
    gone = sorted(processes.records().keys() - processes.alive().keys())
    found = f"ended without ./hub down: {', '.join(gone)}" if gone else "none"
    yield Check(
        "stale records",
        not gone,
        found,
        "To start what is missing: ./hub up. To stop the rest: ./hub down" if gone else None,
    )


def _preferred_ports() -> Iterator[Check]:
    """Report ports that other programs use. That is not a fault, since `up` takes others."""
    living, saved = processes.alive(), ports.saved()
    ours = {record.port for record in living.values()}
    ours |= {saved.get(server) for name in mail_systems.PORTS if name in living for server in mail_systems.PORTS[name]}
    for name, port in {**ports.PREFERRED, **ports.saved()}.items():
        if port not in ours and not ports.is_free(port):
            found = f"port {port} is used by {_program_at(port)}; ./hub up takes the next free one"
            fix = f"To have {port}: end that program. To choose another one: {ports.VARIABLES[name]}=PORT ./hub up"
            yield Check(f"port of {name}", ok=True, found=found, fix=fix)


def _program_at(port: int) -> str:
    """Name the program that listens on *port*, where this user may see it."""
    return _named(_listener(port))


def _listener(port: int) -> int | None:
    """Find the process that listens on *port*; None where this user may not see it."""
    with suppress(psutil.Error, OSError):
        for socket in psutil.net_connections(kind="tcp"):
            if socket.status == psutil.CONN_LISTEN and socket.laddr.port == port and socket.pid:
                return int(socket.pid)
    return None


def _named(pid: int | None) -> str:
    if pid is not None:
        with suppress(psutil.Error):
            return f"{psutil.Process(pid).name()} (process {pid})"
    return "another program"


def _loopback_only() -> Iterator[Check]:
    """Check that the stack can be reached from this machine only."""
    living = processes.alive()
    if not living:
        return
    reachable = sorted({f"{name} at {at}" for name, at in _listening(living) if not _is_loopback(at)})
    found = f"open to the network: {', '.join(reachable)}" if reachable else "all on 127.0.0.1"
    yield Check("listening", not reachable, found, "./hub down, and please report it" if reachable else None)


def _listening(living: dict[str, processes.ProcessRecord]) -> Iterator[tuple[str, str]]:
    for name, some in processes.members(living).items():
        for process in some:
            with suppress(psutil.Error):
                for socket in process.net_connections(kind="inet"):
                    if socket.status == psutil.CONN_LISTEN:
                        yield name, f"{socket.laddr.ip}:{socket.laddr.port}"


def _is_loopback(at: str) -> bool:
    return ipaddress.ip_address(at.rpartition(":")[0]).is_loopback


def _databases() -> Iterator[Check]:
    """Check that both servers accept our login, and that the hub's schema has the version this code needs."""
    import psycopg  # noqa: PLC0415

    from crossdock.db.writable import refusal_of  # noqa: PLC0415

    living, secrets = processes.alive(), load_secrets() if secrets_file().exists() else None
    if secrets is None:
        return
    numbers = {**ports.PREFERRED, **ports.saved()}
    logs = {name: server.log for name, server in lifecycle.servers(numbers, secrets).items()}
    answering: set[str] = set()
    for name, dsn in {
        "postgres-metadata": starts.metadata_dsn(numbers, secrets),
        "postgres-hub": starts.hub_dsn(numbers, secrets),
    }.items():
        if name not in living:
            continue
        try:
            with psycopg.connect(dsn, connect_timeout=5, autocommit=True, options=_HURRY) as connection:
                yield Check(f"{name} answers", ok=True, found=f"PostgreSQL {connection.info.server_version // 10_000}")
                answering.add(name)
                yield _takes_writes(name, refusal_of(connection))
        except psycopg.Error as error:
            refuses_us = "password authentication failed" in str(error)
            fix = _SECRETS_FIX if refuses_us else f"Its log: {logs[name]}"
            yield Check(f"{name} answers", ok=False, found=str(error).strip(), fix=fix)
    if "postgres-hub" in answering:
        schema = _hub_schema()
        yield schema
        if schema.ok:
            yield _unfinished_runs()
            yield from _alerts()


def _takes_writes(name: str, refused: str | None) -> Check:
    """Judge a write: a full volume can still be read, so that a question alone would not find it."""
    fix = None if refused is None else f"Make room on the volume of {home() / name}, or allow writing to it."
    return Check(f"{name} takes writes", refused is None, refused or "yes", fix)


def _hub_schema() -> Check:
    from crossdock.db.migrate import is_current  # noqa: PLC0415  loads SQLAlchemy

    current = is_current(lifecycle.Stack(ports.saved()).hub_dsn)
    found = "the latest version" if current else "not the version that this code needs"
    return Check("hub schema", current, found, None if current else "./hub down, then ./hub up: it migrates")


def _unfinished_runs() -> Check:
    """Find runs without a worker, and runs that take longer than any sync should."""
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.sync import ledger  # noqa: PLC0415

    with Store(lifecycle.Stack(ports.saved()).hub_dsn) as store, store.transaction() as work:
        found = ledger.unfinished(work)
    orphaned = [f"{run.run_id} (its worker sends no heartbeats)" for run in found if not run.has_lease]
    old = [
        f"{run.run_id} (running since {run.started_at:%Y-%m-%d %H:%M})"
        for run in found
        if run.has_lease and datetime.now(UTC) - run.started_at > _LONG_RUN
    ]
    fix = "Clear its failed task in Airflow, or start the next sync: it ends the run and reads what was not loaded."
    bad = [*orphaned, *old]
    return Check("runs", not bad, ", ".join(bad) or f"{len(found)} running", fix if bad else None)


def _alerts() -> Iterator[Check]:
    """Check that a sender of alerts is at work, that somebody gets them, and that no message waits for long."""
    from crossdock.db import leases  # noqa: PLC0415
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.maintenance.alerting import repository  # noqa: PLC0415
    from crossdock.maintenance.alerting.sender import LEASE  # noqa: PLC0415

    with Store(lifecycle.Stack(ports.saved()).hub_dsn) as store, store.transaction() as work:
        holder, routes = leases.holder(work, LEASE), repository.routes(work)
        waiting, since = repository.backlog(work)
    fix = None if holder else f"./hub up starts it. Its log: {processes.log_of('alert-sender')}"
    yield Check("alert sender", holder is not None, f"{holder} is at work" if holder else "nobody sends alerts", fix)
    if routes:
        yield Check("alert routes", ok=True, found=counted(len(routes), "route"))
    else:
        add = "To add one: ./hub alerts routes add"
        yield Check("alert routes", ok=True, found="no route: nobody gets an alert", fix=add, is_notice=True)
    is_late = since is not None and datetime.now(UTC) - since > _LONG_WAIT
    found = f"{waiting} wait, the oldest since {since:%Y-%m-%d %H:%M}" if since else "none wait"
    fix = "./hub alerts messages says why" if is_late else None
    yield Check("alert messages", not is_late, found, fix)


def _airflow() -> Iterator[Check]:
    """Check what Airflow itself reports: health, import errors, connections. It is asked with the password in the secrets' file."""
    if "api-server" not in processes.alive() or not secrets_file().exists():
        return
    api = lifecycle.Stack(ports.saved()).api()
    health = api.health()
    unhealthy = [part for part in _HEALTH_PARTS if (health.get(part) or {}).get("status") != "healthy"]
    found = f"not healthy: {', '.join(unhealthy)}" if unhealthy else "healthy"
    fix = f"If a process ended: ./hub up. Otherwise see the logs in {processes.log_of('scheduler').parent}"
    yield Check("Airflow", not unhealthy, found, fix if unhealthy else None)

    if "metadatabase" in unhealthy:
        return
    errors = api.every("/importErrors", "import_errors")
    for error in errors:
        last = str(error["stack_trace"]).strip().splitlines()[-1:]
        found = f"{error['filename']}: {''.join(last)}"
        yield Check("DAG import", ok=False, found=found, fix="Correct the file; Airflow reads it again within 30 s.")
    if not errors:
        yield Check("DAG import", ok=True, found="every file was read")

    present = {connection["connection_id"] for connection in api.every("/connections", "connections")}
    missing = [
        connection["connection_id"]
        for connection in read_settings().connections
        if connection["connection_id"] not in present
    ]
    found = f"missing: {', '.join(missing)}" if missing else "all of airflow_settings.yaml"
    yield Check("connections", not missing, found, "To create them: ./hub down, then ./hub up" if missing else None)
    yield from _paused(api)


def _paused(api: AirflowApi) -> Iterator[Check]:
    """Find what somebody paused in Airflow: without a delivery worker no event reaches a subscriber, and nothing fails."""
    from crossdock.core.settings import settings  # noqa: PLC0415  loads pydantic

    paused = {dag["dag_id"] for dag in api.every("/dags", "dags", paused=True)}
    workers = [dag_id for dag_id in settings().delivery_dags if dag_id in paused]
    found = f"paused: {', '.join(workers)}" if workers else "not paused"
    fix = f"Unpause it: {' '.join(f'{api.url}/dags/{dag_id}' for dag_id in workers)}" if workers else None
    yield Check("delivery", not workers, found, fix)
    if others := sorted(paused - set(workers)):
        found = f"paused: {', '.join(others)}; nothing starts their runs"
        yield Check("DAGs", ok=True, found=found, fix=f"If that is not meant: unpause them in {api.url}/dags")


def _clock() -> Iterator[Check]:
    """Find a clock that was set back: leases, watermarks and tokens of before would be from the future."""
    now = datetime.now(UTC).timestamp()
    files = (home() / name for name in _OF_EACH_START)
    ahead = {file: file.stat().st_mtime - now for file in files if file.exists()}
    file, ahead_s = max(ahead.items(), key=itemgetter(1), default=(home(), 0.0))
    right = ahead_s < _CLOCK_S
    found = (
        "no file is from the future"
        if right
        else f"{file} has a time {ahead_s:,.0f} s in the future: the clock was set back"
    )
    fix = None if right else "Set the clock of this machine (NTP). Then: ./hub down, then ./hub up"
    yield Check("clock", right, found, fix)


def _clocks() -> Iterator[Check]:
    """Compare the clock of the sandbox with ours: a delta begins at what the source calls now."""
    if "sandbox" not in processes.alive():
        return
    with closing(HTTPConnection(ports.LOOPBACK, ports.saved()["sandbox"], timeout=_PROOF_TIMEOUT_S)) as connection:
        connection.request("GET", proof.OF_SANDBOX)
        shown = connection.getresponse().headers["Date"]
    away_s = abs((parsedate_to_datetime(shown) - datetime.now(UTC)).total_seconds())
    fix = None if away_s < _CLOCK_S else "Set the clocks of both machines (NTP)."
    found = "as ours" if fix is None else f"{away_s:,.0f} s away from ours: changes could be missed"
    yield Check("clock of the sandbox", fix is None, found, fix)


def _settings_file() -> Iterator[Check]:
    try:
        declared = read_settings()
    except StackError as error:
        yield Check("airflow_settings.yaml", ok=False, found=str(error), fix="Correct the file, then run: ./hub up")
    else:
        found = f"{counted(len(declared.connections), 'connection')}, {counted(len(declared.pools), 'pool')}"
        yield Check("airflow_settings.yaml", ok=True, found=found)


def _hub_settings() -> Iterator[Check]:
    """Check that the settings are valid, and that the streams and rules that they name exist."""
    from crossdock.app import stream_settings  # noqa: PLC0415  loads every connector

    try:
        found = stream_settings.findings(definitions_url=hub_environment()["HUB_DEFINITIONS_URL"])
    except Terminal as error:
        found = str(error).splitlines()
    fix = "Correct the variable, then run: ./hub up" if found else None
    yield Check("settings", not found, "; ".join(found) or "valid", fix)


def _declarations() -> Iterator[Check]:
    """Check each declared integration: one with a mistake goes on as it was, and nobody would notice."""
    from crossdock.connectors.declarative import files, streams  # noqa: PLC0415  loads YAML and JMESPath

    wrong = streams.mistakes()
    for error in wrong:
        yield Check(
            f"declaration {error.path.stem}",
            ok=False,
            found="; ".join(map(str, error.mistakes)),
            fix=f"Correct the file, then run: ./hub integration validate {error.path}. "
            "Until then its last valid version runs; if there is none, it has no DAG.",
        )
    if not wrong:
        yield Check("declarations", ok=True, found=f"{len(files.paths())} valid")


_OF_THE_MACHINE: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _memory,
    _airflow_version,
    _clock,
    _room,
    _writes,
    _secrets,
    _settings_file,
    _hub_settings,
    _declarations,
)
_OF_THE_STACK: tuple[Callable[[], Iterator[Check]], ...] = (
    _processes,
    _stale_records,
    _preferred_ports,
    _loopback_only,
    _clocks,
    _databases,
    _airflow,
)
