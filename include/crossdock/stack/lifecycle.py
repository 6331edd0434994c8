"""
Start, stop and inspect the local stack. It writes only to `home()` and listens only on 127.0.0.1.

Each command loads this module to find the stack; what only a start needs is imported where it is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AnotherStart, NotReady
from crossdock.core.ids import prefixed
from crossdock.core.paths import path_of
from crossdock.stack import airflow, mail_systems, ports, processes
from crossdock.stack.home import home, make_private_folder, read_json, write_json
from crossdock.stack.processes import ProcessRecord
from crossdock.stack.secrets import Secrets, load_secrets

if TYPE_CHECKING:
    from crossdock.stack.postgres import PostgresServer
    from crossdock.stack.settings_file import AirflowSettings

Progress = Callable[[str], None]

POSTGRES = ("postgres-metadata", "postgres-hub")
#: In the order in which they start.
NAMES = (*POSTGRES, "sandbox", *mail_systems.PORTS, "alert-sender", *airflow.COMMANDS)
#: Including the migration, which runs only during a start.
_ALL = (*NAMES, airflow.MIGRATION)

_SANDBOX_TIMEOUT_S = 180.0
_SANDBOX_ARGUMENTS = "sandbox-arguments.json"
_ORPHANS_GRACE_S = 2.0


@dataclass(frozen=True)
class Stack:
    """The addresses of a started stack. Its repr has no secrets."""

    ports: dict[str, int]

    @property
    def airflow_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports['airflow']}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports['sandbox']}"

    @property
    def mail_server_url(self) -> str:
        """The control API of the simulated mail server."""
        return f"http://{ports.LOOPBACK}:{self.ports[mail_systems.MAIL_SERVER]}"

    @property
    def sendgrid_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports[mail_systems.SENDGRID]}"

    @property
    def hub_dsn(self) -> str:
        """The address of the hub's database for the role `hub`, password included."""
        return f"postgresql://hub:{load_secrets().hub_password}@{ports.LOOPBACK}:{self.ports['hub-db']}/hub"

    def api(self, user: str = "admin") -> AirflowApi:
        """Build a client of Airflow for one of its users: admin, otto (operator), vera (viewer)."""
        return AirflowApi(self.airflow_url, user, getattr(load_secrets(), f"{user}_password"))

    def environment(self) -> dict[str, str]:
        """Build the environment for a child process that works on this stack, Airflow's settings included."""
        return airflow.airflow_environment(self.ports, load_secrets())


@dataclass(frozen=True)
class ProcessStatus:
    name: str
    #: None when it is not running.
    pid: int | None
    #: "ended": it was started and ended without `down`. "stopped": it was not started.
    state: Literal["running", "ended", "stopped"]
    port: int | None
    #: The page for a person; None where it does not speak HTTP.
    url: str | None


@dataclass(frozen=True)
class StackStatus:
    state: Literal["running", "partial", "stopped"]
    processes: tuple[ProcessStatus, ...]
    airflow_url: str | None


def up(*, progress: Progress, sandbox_args: Sequence[str] = ()) -> Stack:
    """
    Start what is not running, wait until all of it is healthy, and return the stack.

    When it fails or is interrupted, everything that this call started is stopped again.

    Args:
        progress: Called with a short sentence after each step.
        sandbox_args: For `python -m crossdock.sandbox`, when this call starts it.

    Raises:
        StackError: The message has the reason and what to do. Running again is safe.
        Terminal: a setting has an old name or an invalid value, or names a stream or a rule that does not exist.

    """
    from crossdock.app.stream_settings import refuse_mistakes  # noqa: PLC0415  loads every connector

    refuse_mistakes(definitions_url=airflow.hub_environment()["HUB_DEFINITIONS_URL"])
    with _one_at_a_time():
        healthy = _usable(processes.alive())
        if healthy.keys() >= set(NAMES):
            stack = Stack(ports.saved())
            progress(f"The stack is already running: {stack.airflow_url}")
            _remove_stale_dags(stack.api(), progress)
            return stack
        try:
            return _start_missing(healthy, progress, sandbox_args)
        except BaseException:
            _stop([name for name in _ALL if name not in healthy])
            raise


def down(progress: Progress = lambda _: None) -> list[str]:
    """
    Stop exactly what `up` started and all its descendants, also after a crash. The data stays.

    Returns:
        The names of what was still running; empty when there was nothing to stop.

    """
    with _one_at_a_time():
        ended = _stop(_ALL)
        progress(f"Stopped {', '.join(ended)}" if ended else "Nothing was running")
        return ended


def status() -> StackStatus:
    """Report what is running, from our records and the kernel, without a request to a server."""
    recorded, living = processes.records(), processes.alive()
    found = tuple(_process_status(name, recorded.get(name), alive=name in living) for name in NAMES)
    running = sum(process.state == "running" for process in found)
    state: Literal["running", "partial", "stopped"]
    state = "running" if running == len(NAMES) else "partial" if running else "stopped"
    url = next((process.url for process in found if process.name == "api-server"), None)
    return StackStatus(state, found, url)


def load() -> Stack | None:
    """Load the running stack; None when it is stopped or a part of it is missing."""
    return Stack(ports.saved()) if status().state == "running" else None


def servers(numbers: dict[str, int], secrets: Secrets) -> dict[str, PostgresServer]:
    """Describe the two PostgreSQL servers, running or not, by process name."""
    from crossdock.stack.postgres import HUB_OPTIONS, METADATA_OPTIONS, PostgresServer  # noqa: PLC0415  as the module says

    return {
        "postgres-metadata": PostgresServer(
            home() / "postgres-metadata",
            numbers["metadata"],
            secrets.metadata_superuser_password,
            options=METADATA_OPTIONS,
        ),
        "postgres-hub": PostgresServer(
            home() / "postgres-hub", numbers["hub-db"], secrets.hub_superuser_password, options=HUB_OPTIONS
        ),
    }


def _usable(living: dict[str, ProcessRecord]) -> dict[str, ProcessRecord]:
    """
    Select the running processes that a repaired stack can keep. Without its database Airflow's processes end within
    seconds, so those that are still alive then cannot be kept.
    """
    if "postgres-metadata" in living:
        return living
    return {name: record for name, record in living.items() if name not in airflow.COMMANDS}


def _start_missing(living: dict[str, ProcessRecord], progress: Progress, sandbox_args: Sequence[str]) -> Stack:
    # A killed scheduler leaves workers behind that would run beside the new one. They get little time to end, since no
    # process can receive their reports; Airflow notices that their tasks send no heartbeats.
    dead = [name for name in processes.records() if name not in living and name not in POSTGRES]
    processes.stop(dead, grace_s=_ORPHANS_GRACE_S)
    stack = Stack(ports.assign(in_use_by_us=_servers_of(living)))
    secrets = load_secrets()
    _report_moved_ports(stack.ports, progress)
    airflow.write_files(secrets)
    make_private_folder(home() / "landing")

    if "sandbox" not in living:
        _start_sandbox(stack.ports, secrets, sandbox_args or _sandbox_arguments())
    for name in mail_systems.PORTS:
        if name not in living:
            mail_systems.start(name, stack.ports, secrets)
    databases = _start_databases(stack.ports, secrets)
    progress("PostgreSQL servers started")
    _migrate(databases["postgres-metadata"], stack)
    progress("Databases are up to date")
    # Before Airflow starts: its DAG files read there which integrations exist.
    kept = _register(stack, progress)
    if "alert-sender" not in living:
        _start_alert_sender(stack)
    _start_airflow(stack, living, kept, progress)
    return stack


def _servers_of(living: dict[str, ProcessRecord]) -> set[str]:
    """Name the running servers as `ports` does."""
    by_process = {
        "postgres-metadata": ("metadata",),
        "postgres-hub": ("hub-db",),
        "sandbox": ("sandbox",),
        "api-server": ("airflow",),
        **mail_systems.PORTS,
    }
    return {server for process, servers in by_process.items() if process in living for server in servers}


def _report_moved_ports(numbers: dict[str, int], progress: Progress) -> None:
    for name, port in numbers.items():
        preferred = int(os.environ.get(ports.VARIABLES[name], ports.PREFERRED[name]))
        if port != preferred:
            progress(f"{name} listens on port {port} instead of {preferred}")


def _start_databases(numbers: dict[str, int], secrets: Secrets) -> dict[str, PostgresServer]:
    both = servers(numbers, secrets)
    owners = {
        "postgres-metadata": ("airflow", secrets.metadata_password),
        "postgres-hub": ("hub", secrets.hub_password),
    }

    def start(name: str) -> None:
        server = both[name]
        server.initialise()
        pid = server.start()
        processes.save_record(name, pid, port=server.port, log=server.log)
        owner, password = owners[name]
        server.create_database(owner, owner=owner, password=password)

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, both))
    return both


def _migrate(metadata: PostgresServer, stack: Stack) -> None:
    """Migrate both databases at the same time; Airflow's takes longer and runs in a process of its own."""
    from crossdock.app.database import migrate  # noqa: PLC0415  loads SQLAlchemy

    wait = airflow.migrate_metadata(metadata, stack.environment())
    migrate(stack.hub_dsn)
    wait()


def _start_sandbox(numbers: dict[str, int], secrets: Secrets, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--port", str(numbers["sandbox"])]
    command += ["--client-id", _sandbox_client(), "--journal", str(_journal_of(arguments)), *arguments]
    environment = {**airflow.child_environment(), "SANDBOX_CLIENT_SECRET": secrets.sandbox_client_secret}
    processes.start("sandbox", command, environment=environment, port=numbers["sandbox"])


def _start_alert_sender(stack: Stack) -> None:
    """Start what sends alerts. Its environment says where the hub's database is: Airflow's, which knows it too, may be down."""
    address = stack.hub_dsn.replace("postgresql://", "postgres://", 1)
    environment = {f"AIRFLOW_CONN_{prefixed('hub_db').upper()}": address, **stack.environment()}
    command = [sys.executable, "-P", "-m", "crossdock.app.alert_sender"]
    processes.start("alert-sender", command, environment=environment)


def _start_airflow(stack: Stack, living: dict[str, ProcessRecord], kept: Collection[str], progress: Progress) -> None:
    environment = stack.environment()
    since: dict[str, float] = {}
    for name in airflow.COMMANDS:
        if name not in living:
            since[name] = time.time()
            airflow.start_process(name, stack.ports, environment)
    watched = [record for name, record in processes.records().items() if name in NAMES and name not in POSTGRES]
    api = stack.api()
    airflow.wait_for_api(api, watched)
    progress(f"Airflow's API answers: {stack.airflow_url}")
    _wait_for_sandbox(stack)
    progress(f"Sandbox started: {stack.sandbox_url}")
    for process, servers in mail_systems.PORTS.items():
        for server in servers:
            _wait_for(stack, process, server)
    _apply_settings(stack, api, kept)
    progress("Connections and pools are set")
    airflow.wait_for_health(api, watched, since=since)
    progress("Airflow is healthy: scheduler, dag-processor, triggerer")
    _remove_stale_dags(api, progress)


def _remove_stale_dags(api: AirflowApi, progress: Progress) -> None:
    from crossdock.stack.stale_dags import remove_stale_dags  # noqa: PLC0415  as the module says

    found = remove_stale_dags(api)
    if found.removed:
        progress(f"Removed from Airflow, because no DAG file defines them: {', '.join(found.removed)}")
    if found.running:
        progress(f"To be removed by the next ./hub up, because a task still runs: {', '.join(found.running)}")


def restart_dag_processor() -> None:
    """
    Start the DAG processor anew in the environment of this process, from which it takes the schedules of the DAGs.

    Does nothing where it does not run: `up` starts it with this environment anyway.
    """
    with _one_at_a_time():
        if "dag-processor" in processes.alive():
            running = Stack(ports.saved())
            processes.stop(["dag-processor"])
            airflow.start_process("dag-processor", running.ports, running.environment())


def restart_sandbox(arguments: Sequence[str]) -> None:
    """
    Restart the sandbox with *arguments* if the stack is running, and use them at every later start.

    When it does not start with these, the sandbox of before is started again and nothing is saved.

    Raises:
        StackError: the sandbox does not start with *arguments*.

    """
    with _one_at_a_time():
        if "sandbox" in processes.alive():
            _replace_sandbox(Stack(ports.saved()), arguments)
        write_json(home() / _SANDBOX_ARGUMENTS, list(arguments))


def _replace_sandbox(stack: Stack, arguments: Sequence[str]) -> None:
    before = _sandbox_arguments()
    processes.stop(["sandbox"])
    try:
        _start_sandbox(stack.ports, load_secrets(), arguments)
        _wait_for_sandbox(stack)
    except BaseException:
        processes.stop(["sandbox"])
        _start_sandbox(stack.ports, load_secrets(), before)
        _wait_for_sandbox(stack)
        raise


def _sandbox_arguments() -> list[str]:
    """Read the arguments of the last `restart_sandbox`."""
    saved = read_json(home() / _SANDBOX_ARGUMENTS)
    return [str(word) for word in saved] if isinstance(saved, list) else []


def _journal_of(arguments: Sequence[str]) -> Path:
    """Name the journal of the shop that *arguments* select: each shop keeps its own changes while another one runs."""
    digest = hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:8]
    return home() / (f"sandbox-{digest}.jsonl" if arguments else "sandbox.jsonl")


def _sandbox_client() -> str:
    """Read the client ID with which the hub signs in at the sandbox."""
    from crossdock.stack.settings_file import read_settings  # noqa: PLC0415  as the module says

    connections = {connection["connection_id"]: connection for connection in read_settings().connections}
    return str(connections[prefixed("commercetools")]["login"])


def _wait_for_sandbox(stack: Stack) -> None:
    _wait_for(stack, "sandbox", "sandbox")


def _wait_for(stack: Stack, process: str, server: str) -> None:
    """Wait until a simulated system listens on the port of *server*."""
    deadline = time.monotonic() + _SANDBOX_TIMEOUT_S
    while not ports.answers(stack.ports[server]):
        processes.fail_if_dead([processes.records()[process]])
        if time.monotonic() > deadline:
            raise NotReady(
                f"The process {process}", _SANDBOX_TIMEOUT_S, "its port is closed", processes.log_of(process)
            )
        time.sleep(0.1)


def _apply_settings(stack: Stack, api: AirflowApi, kept: Collection[str]) -> None:
    """
    Create the project's connections, pools and variables, with the ports and secrets of this stack.

    The connections *kept* are those that somebody changed. A pool or variable that is there may have been changed in
    Airflow, and stays as it is.
    """
    from crossdock.app import definitions  # noqa: PLC0415  only a start needs them

    settings = _settings(stack)
    for connection in settings.connections:
        if connection["connection_id"] not in kept:
            api.put_connection(connection)
    defined = definitions.read_all(url=stack.environment()["HUB_DEFINITIONS_URL"])
    for pool in [*settings.pools, *(definitions.pool_of(found.integration) for found in defined)]:
        if not api.has(path_of("pools", pool["name"])):
            api.put_pool(pool)
    for variable in settings.variables:
        if not api.has(path_of("variables", variable["key"])):
            api.put_variable(variable)


def _settings(stack: Stack) -> AirflowSettings:
    """Read the project's settings with the ports and secrets of this stack."""
    from crossdock.stack.settings_file import read_settings  # noqa: PLC0415  as the module says

    secrets = load_secrets()
    settings = read_settings(
        overrides={
            "commercetools": {"host": stack.sandbox_url, "password": secrets.sandbox_client_secret},
            "hub_db": {"host": ports.LOOPBACK, "port": stack.ports["hub-db"], "password": secrets.hub_password},
        }
    )
    # Not in the file: a deployment loads that, too, and has no simulated mail systems.
    mailers = mail_systems.connections(stack.ports, secrets)
    own = airflow.database_connection(stack.ports, secrets)
    return replace(settings, connections=[*settings.connections, *mailers, own])


def _register(stack: Stack, progress: Progress) -> Collection[str]:
    """
    Put the project's integrations into the registry, and write the snapshots that DAG files read.

    Returns the connections that were left as somebody changed them.
    """
    from crossdock.app import definitions  # noqa: PLC0415  only a start needs them
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.integrations import service as integration_service  # noqa: PLC0415

    with Store(stack.hub_dsn) as store:
        found = integration_service.register(store, _settings(stack).connections, actor="cli:up")
        definitions.write(store, url=stack.environment()["HUB_DEFINITIONS_URL"])
    for connection_id, by_hand in found.kept.items():
        progress(f"{connection_id} stays as it is: {by_hand.act} by {by_hand.actor}")
    return found.kept


def _stop(names: Sequence[str]) -> list[str]:
    """Stop *names*: Airflow before the databases to which it still writes, these by PostgreSQL's own signals."""
    ended = processes.stop([name for name in names if name not in POSTGRES])
    both = servers(_known_ports(), load_secrets()) if (home() / "secrets.json").exists() else {}
    # Found by their data directories, not by the records: a start may be interrupted before its record is saved.
    selected = [name for name in both if name in names]
    with ThreadPoolExecutor() as pool:
        stopped = list(pool.map(lambda name: both[name].stop(), selected))
    processes.delete_records(names)
    return ended + [name for name, was_running in zip(selected, stopped, strict=True) if was_running]


def _known_ports() -> dict[str, int]:
    return {**ports.PREFERRED, **ports.saved()}


def _process_status(name: str, record: ProcessRecord | None, *, alive: bool) -> ProcessStatus:
    if record is None:
        return ProcessStatus(name, None, "stopped", None, None)
    if not alive:
        return ProcessStatus(name, None, "ended", record.port, None)
    url = f"http://{ports.LOOPBACK}:{record.port}" if name in {"api-server", "sandbox", *mail_systems.PORTS} else None
    return ProcessStatus(name, record.pid, "running", record.port, url)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Lock out a second `up` or `down`, which would take the same ports. The lock ends with its process."""
    home().mkdir(parents=True, exist_ok=True)
    lock = home() / "lock"
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnotherStart(lock) from None
        yield
