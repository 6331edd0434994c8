"""What is wrong with this machine or this stack, and how to mend it. Changes nothing; works when the stack is down."""

from __future__ import annotations

import ipaddress
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

import psutil  # type: ignore[import-untyped]

from crossdock.client.errors import StackError
from crossdock.stack import lifecycle, ports, processes
from crossdock.stack.home import home
from crossdock.stack.secrets import load_secrets, secrets_file
from crossdock.stack.settings_file import read_settings

_NEEDED_PYTHON = (3, 11)
_NEEDED_DISK_BYTES = 2 * 1024**3
#: More than a full disk leaves in its last block.
_TRIAL_BYTES = 64 * 1024
_LONG_AT_WORK = timedelta(days=1)
_HEALTH_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    #: What was found, in words.
    found: str
    #: What to do about it; None when it is well.
    fix: str | None = None


def examine() -> list[Check]:
    """
    Every check that makes sense now: of the machine always, of a server when it runs.

    A check that breaks is itself a finding; none of them stops the others.
    """
    return list(chain.from_iterable(_safely(look) for look in _LOOKS))


def _safely(look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001  whatever it is, the person should read it with the rest
        name = look.__name__.strip("_").replace("_", " ")
        yield Check(name, ok=False, found=f"{type(error).__name__}: {error}", mend="./hub down, then ./hub up")


def _python() -> Iterator[Check]:
    enough = sys.version_info >= _NEEDED_PYTHON
    yield Check("Python", enough, platform.python_version(), None if enough else "Install Python 3.11 or newer.")


def _disk_space() -> Iterator[Check]:
    folder = home() if home().exists() else home().parent
    free = shutil.disk_usage(folder).free
    mend = None if free >= _NEEDED_DISK_BYTES else f"Make room on the disk of {folder}, or set HUB_HOME to another one."
    yield Check("disk space", mend is None, f"{free / 1024**3:.1f} GB free for {folder}", mend)


def _landing() -> Iterator[Check]:
    """Pages can be written where this machine's stack keeps them; another HUB_LANDING_URL is its owner's to watch."""
    folder = home() / "landing"
    if not folder.exists():
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(bytes(_TRIAL_BYTES))
            trial.flush()
    except OSError as error:
        mend = "Make room or open the folder; then clear the red tasks: they go on after the last page that landed."
        yield Check("landing", ok=False, found=f"{folder} cannot be written: {error.strerror}", mend=mend)
    else:
        yield Check("landing", ok=True, found=f"{folder} can be written")


def _secrets() -> Iterator[Check]:
    if not secrets_file().exists():
        yield Check("secrets", ok=True, found="none yet; the first ./hub up makes them")
        return
    mode = stat.S_IMODE(secrets_file().stat().st_mode)
    closed = mode & (stat.S_IRWXG | stat.S_IRWXO) == 0
    mend = None if closed else f"chmod 600 {secrets_file()}"
    yield Check("secrets", closed, f"{secrets_file()} has mode {mode:04o}", mend)


def _parts() -> Iterator[Check]:
    """Each process, and whether its port answers."""
    now = lifecycle.status()
    if now.state == "stopped" and not processes.records():
        yield Check("stack", ok=True, found="stopped; ./hub up starts it")
        return
    for each in now.processes:
        if each.state != "running":
            log = home() / each.name / "log" if each.name in lifecycle.POSTGRES else processes.log_of(each.name)
            yield Check(each.name, ok=False, found=each.state, mend=f"./hub up starts what is missing. Its log: {log}")
        elif each.port is not None and not ports.answers(each.port):
            found = f"process {each.pid} runs, but port {each.port} does not answer"
            yield Check(each.name, ok=False, found=found, mend="./hub down, then ./hub up")
        else:
            where = f", port {each.port} answers" if each.port else ""
            yield Check(each.name, ok=True, found=f"process {each.pid}{where}")


def _stale_records() -> Iterator[Check]:
    gone = sorted(processes.records().keys() - processes.alive().keys())
    found = f"ended without ./hub down: {', '.join(gone)}" if gone else "none"
    yield Check("stale records", not gone, found, "./hub up mends the stack, ./hub down clears it" if gone else None)


def _wanted_ports() -> Iterator[Check]:
    """Ports of ours that a stranger has; `up` moves to others, so it is worth knowing, not wrong."""
    ours = {record.port for record in processes.alive().values()}
    for name, port in {**ports.WANTED, **ports.kept()}.items():
        if port not in ours and not ports.is_free(port):
            found = f"port {port} is taken by another program; ./hub up takes the next free one"
            yield Check(f"port of {name}", ok=True, found=found)


def _loopback_only() -> Iterator[Check]:
    """Nobody but this machine can reach the stack."""
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
    """Both servers let us in, and the hub's schema is the one this code needs."""
    import psycopg  # noqa: PLC0415

    living, secrets = processes.alive(), load_secrets() if secrets_file().exists() else None
    if secrets is None:
        return
    for name, server in lifecycle.servers({**ports.WANTED, **ports.kept()}, secrets).items():
        if name not in living:
            continue
        try:
            with psycopg.connect(server.dsn(), connect_timeout=5) as connection:
                yield Check(f"{name} answers", ok=True, found=f"PostgreSQL {connection.info.server_version // 10_000}")
        except psycopg.Error as error:
            yield Check(f"{name} answers", ok=False, found=str(error).strip(), mend=f"Its log: {server.log}")
    if "postgres-hub" in living:
        schema = _hub_schema()
        yield schema
        if schema.ok:
            yield _unended_runs()


def _hub_schema() -> Check:
    from crossdock.db.migrate import is_current  # noqa: PLC0415  loads SQLAlchemy

    current = is_current(lifecycle.Stack(ports.kept()).hub_dsn)
    found = "the newest version" if current else "another version than this code needs"
    return Check("hub schema", current, found, None if current else "./hub down, then ./hub up: it migrates")


def _unended_runs() -> Check:
    """Runs that nobody is at, or that take longer than any sync should."""
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.sync import ledger as runs  # noqa: PLC0415

    with Store(lifecycle.Stack(ports.kept()).hub_dsn) as store, store.transaction() as work:
        found = runs.unended(work)
    silent = [f"{run.run_id} (its worker is silent)" for run in found if not run.has_lease]
    old = [
        f"{run.run_id} (at work since {run.started_at:%Y-%m-%d %H:%M})"
        for run in found
        if run.has_lease and datetime.now(UTC) - run.started_at > _LONG_AT_WORK
    ]
    mend = "Clear its red task in Airflow, or start the next sync of it: that ends it and reads what it had not loaded."
    told = f"{len(found)} at work"
    return Check("runs", not (silent or old), ", ".join(silent + old) or told, mend if silent or old else None)


def _airflow() -> Iterator[Check]:
    """Health, import errors, connections: what Airflow itself knows."""
    if "api-server" not in processes.alive():
        return
    api = lifecycle.Stack(ports.kept()).api()
    health = api.health()
    sick = [part for part in _HEALTH_PARTS if (health.get(part) or {}).get("status") != "healthy"]
    found = f"not healthy: {', '.join(sick)}" if sick else "healthy"
    logs = f"./hub up mends it when a process ended; else see {processes.log_of('scheduler').parent}"
    yield Check("Airflow", not sick, found, logs if sick else None)

    if "metadatabase" in sick:
        return
    errors = api.get("/importErrors", limit=100)["import_errors"]
    for error in errors:
        last = str(error["stack_trace"]).strip().splitlines()[-1:]
        found = f"{error['filename']}: {''.join(last)}"
        yield Check("DAG import", ok=False, found=found, mend="Mend the file; Airflow reads it again within 30 s.")
    if not errors:
        yield Check("DAG import", ok=True, found="every file was read")

    present = {each["connection_id"] for each in api.get("/connections", limit=100)["connections"]}
    missing = [each["connection_id"] for each in read_settings().connections if each["connection_id"] not in present]
    found = f"missing: {', '.join(missing)}" if missing else "all of airflow_settings.yaml"
    yield Check("connections", not missing, found, "./hub down, then ./hub up: it makes them" if missing else None)


def _settings_file() -> Iterator[Check]:
    try:
        settings = read_settings()
    except StackError as error:
        yield Check("airflow_settings.yaml", ok=False, found=str(error), mend="Mend the file, then ./hub up")
    else:
        found = f"{len(settings.connections)} connections, {len(settings.pools)} pools"
        yield Check("airflow_settings.yaml", ok=True, found=found)


_LOOKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _disk_space,
    _landing,
    _secrets,
    _settings_file,
    _parts,
    _stale_records,
    _wanted_ports,
    _loopback_only,
    _databases,
    _airflow,
)
