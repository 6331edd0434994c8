"""Check this machine and this stack, and suggest fixes. Changes nothing; works when the stack is down."""

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
from crossdock.core.errors import Terminal
from crossdock.stack import lifecycle, ports, processes
from crossdock.stack.airflow import hub_environment
from crossdock.stack.home import home
from crossdock.stack.secrets import load_secrets, secrets_file
from crossdock.stack.settings_file import read_settings

_NEEDED_PYTHON = (3, 11)
_NEEDED_DISK_BYTES = 2 * 1024**3
#: More than fits into the last block of a full disk.
_TEST_BYTES = 64 * 1024
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


def examine() -> list[Check]:
    """
    Run every check that applies now: of the machine always, of a server when it runs.

    A check that raises an error is itself a finding and does not stop the others.
    """
    return list(chain.from_iterable(_safely(check) for check in _CHECKS))


def _safely(check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001  any error should be shown with the other findings
        name = check.__name__.strip("_").replace("_", " ")
        yield Check(name, ok=False, found=f"{type(error).__name__}: {error}", fix="./hub down, then ./hub up")


def _python() -> Iterator[Check]:
    enough = sys.version_info >= _NEEDED_PYTHON
    yield Check("Python", enough, platform.python_version(), None if enough else "Install Python 3.11 or newer.")


def _disk_space() -> Iterator[Check]:
    folder = home() if home().exists() else home().parent
    free = shutil.disk_usage(folder).free
    fix = (
        None if free >= _NEEDED_DISK_BYTES else f"Free space on the disk of {folder}, or set HUB_HOME to another disk."
    )
    yield Check("disk space", fix is None, f"{free / 1024**3:.1f} GB free for {folder}", fix)


def _landing() -> Iterator[Check]:
    """Check that pages can be written to the local landing folder; another HUB_LANDING_URL is not checked."""
    folder = home() / "landing"
    if not folder.exists():
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TEST_BYTES))
            file.flush()
    except OSError as error:
        fix = (
            "Free space or allow writing to the folder. Then clear the failed tasks: they continue after the last page."
        )
        yield Check("landing", ok=False, found=f"{folder} cannot be written: {error.strerror}", fix=fix)
    else:
        yield Check("landing", ok=True, found=f"{folder} can be written")


def _secrets() -> Iterator[Check]:
    if not secrets_file().exists():
        yield Check("secrets", ok=True, found="none yet; the first ./hub up generates them")
        return
    mode = stat.S_IMODE(secrets_file().stat().st_mode)
    closed = mode & (stat.S_IRWXG | stat.S_IRWXO) == 0
    fix = None if closed else f"chmod 600 {secrets_file()}"
    yield Check("secrets", closed, f"{secrets_file()} has mode {mode:04o}", fix)


def _processes() -> Iterator[Check]:
    """Check that each process runs and its port answers."""
    now = lifecycle.status()
    if now.state == "stopped" and not processes.records():
        yield Check("stack", ok=True, found="stopped; ./hub up starts it")
        return
    for process in now.processes:
        if process.state != "running":
            log = (
                home() / process.name / "log" if process.name in lifecycle.POSTGRES else processes.log_of(process.name)
            )
            yield Check(process.name, ok=False, found=process.state, fix=f"To start it: ./hub up. Its log: {log}")
        elif process.port is not None and not ports.answers(process.port):
            found = f"process {process.pid} is running, but port {process.port} does not answer"
            yield Check(process.name, ok=False, found=found, fix="./hub down, then ./hub up")
        else:
            where = f", port {process.port} answers" if process.port else ""
            yield Check(process.name, ok=True, found=f"process {process.pid}{where}")


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
    ours = {record.port for record in processes.alive().values()}
    for name, port in {**ports.PREFERRED, **ports.saved()}.items():
        if port not in ours and not ports.is_free(port):
            found = f"port {port} is used by another program; ./hub up takes the next free one"
            yield Check(f"port of {name}", ok=True, found=found)


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

    living, secrets = processes.alive(), load_secrets() if secrets_file().exists() else None
    if secrets is None:
        return
    for name, server in lifecycle.servers({**ports.PREFERRED, **ports.saved()}, secrets).items():
        if name not in living:
            continue
        try:
            with psycopg.connect(server.dsn(), connect_timeout=5) as connection:
                yield Check(f"{name} answers", ok=True, found=f"PostgreSQL {connection.info.server_version // 10_000}")
        except psycopg.Error as error:
            yield Check(f"{name} answers", ok=False, found=str(error).strip(), fix=f"Its log: {server.log}")
    if "postgres-hub" in living:
        schema = _hub_schema()
        yield schema
        if schema.ok:
            yield _unfinished_runs()
            yield from _alerts()


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
    found = f"{len(routes)} routes" if routes else "no route: nobody gets an alert. See ./hub alerts routes add"
    yield Check("alert routes", ok=True, found=found)
    is_late = since is not None and datetime.now(UTC) - since > _LONG_WAIT
    found = f"{waiting} wait, the oldest since {since:%Y-%m-%d %H:%M}" if since else "none wait"
    fix = "./hub alerts messages says why" if is_late else None
    yield Check("alert messages", not is_late, found, fix)


def _airflow() -> Iterator[Check]:
    """Check what Airflow itself reports: health, import errors, connections."""
    if "api-server" not in processes.alive():
        return
    api = lifecycle.Stack(ports.saved()).api()
    health = api.health()
    unhealthy = [part for part in _HEALTH_PARTS if (health.get(part) or {}).get("status") != "healthy"]
    found = f"not healthy: {', '.join(unhealthy)}" if unhealthy else "healthy"
    fix = f"If a process ended: ./hub up. Otherwise see the logs in {processes.log_of('scheduler').parent}"
    yield Check("Airflow", not unhealthy, found, fix if unhealthy else None)

    if "metadatabase" in unhealthy:
        return
    errors = api.get("/importErrors", limit=100)["import_errors"]
    for error in errors:
        last = str(error["stack_trace"]).strip().splitlines()[-1:]
        found = f"{error['filename']}: {''.join(last)}"
        yield Check("DAG import", ok=False, found=found, fix="Correct the file; Airflow reads it again within 30 s.")
    if not errors:
        yield Check("DAG import", ok=True, found="every file was read")

    present = {connection["connection_id"] for connection in api.get("/connections", limit=100)["connections"]}
    missing = [
        connection["connection_id"]
        for connection in read_settings().connections
        if connection["connection_id"] not in present
    ]
    found = f"missing: {', '.join(missing)}" if missing else "all of airflow_settings.yaml"
    yield Check("connections", not missing, found, "To create them: ./hub down, then ./hub up" if missing else None)


def _settings_file() -> Iterator[Check]:
    try:
        settings = read_settings()
    except StackError as error:
        yield Check("airflow_settings.yaml", ok=False, found=str(error), fix="Correct the file, then run: ./hub up")
    else:
        found = f"{len(settings.connections)} connections, {len(settings.pools)} pools"
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


_CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _disk_space,
    _landing,
    _secrets,
    _settings_file,
    _hub_settings,
    _declarations,
    _processes,
    _stale_records,
    _preferred_ports,
    _loopback_only,
    _databases,
    _airflow,
)
