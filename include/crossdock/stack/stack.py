"""Start, end and look at the local stack. Everything it writes is in `home()`, everything it opens is on 127.0.0.1."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AnotherStart, NotReady
from crossdock.stack import airflow, ports, processes
from crossdock.stack.home import home, make_private_folder, read_json, write_json
from crossdock.stack.postgres import HUB_OPTIONS, METADATA_OPTIONS, PostgresServer
from crossdock.stack.processes import ProcessRecord
from crossdock.stack.secrets import Secrets, load_secrets
from crossdock.stack.settings_file import read_settings
from crossdock.stack.stale_dags import remove_stale_dags

Progress = Callable[[str], None]

POSTGRES = ("postgres-metadata", "postgres-hub")
#: In the order of the start.
NAMES = (*POSTGRES, "sandbox", *airflow.COMMANDS)
#: With what runs only for a while during a start.
_ALL = (*NAMES, airflow.MIGRATION)

_SANDBOX_TIMEOUT_S = 60.0
_SANDBOX_ARGUMENTS = "sandbox-arguments.json"
_ORPHANS_GRACE_S = 2.0


@dataclass(frozen=True)
class Stack:
    """A started stack: its addresses. The secrets stay out of its repr."""

    ports: dict[str, int]

    @property
    def airflow_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports['airflow']}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports['sandbox']}"

    @property
    def hub_dsn(self) -> str:
        """The hub's database as its own role; holds the password."""
        return f"postgresql://hub:{load_secrets().hub_password}@{ports.LOOPBACK}:{self.ports['hub-db']}/hub"

    def api(self, user: str = "admin") -> AirflowApi:
        """Airflow as one of its people: admin, otto (operator), vera (viewer)."""
        return AirflowApi(self.airflow_url, user, getattr(load_secrets(), f"{user}_password"))

    def environment(self) -> dict[str, str]:
        """What a child process of a command needs to work on this stack, Airflow's settings included."""
        return airflow.airflow_environment(self.ports, load_secrets())


@dataclass(frozen=True)
class ProcessStatus:
    name: str
    #: None when it does not run.
    pid: int | None
    #: "ended": it was started and is gone without `down`. "stopped": it was not started.
    state: Literal["running", "ended", "stopped"]
    port: int | None
    #: Where a person can look at it; None for what speaks no HTTP.
    url: str | None


@dataclass(frozen=True)
class StackStatus:
    state: Literal["running", "partial", "stopped"]
    processes: tuple[ProcessStatus, ...]
    airflow_url: str | None


def up(*, progress: Progress, sandbox_args: Sequence[str] = ()) -> Stack:
    """
    A running, healthy stack: started, or mended where a part of it had ended, or as it was.

    What this call started is ended again when it fails or is interrupted.

    Args:
        progress: Called with a short sentence after each step.
        sandbox_args: For `python -m crossdock.sandbox`, when this call starts it.

    Raises:
        StackError: With the reason and what to do. Running again is safe.

    """
    with _one_at_a_time():
        healthy = _worth_keeping(processes.alive())
        if healthy.keys() >= set(NAMES):
            stack = Stack(ports.kept())
            progress(f"The stack is already running: {stack.airflow_url}")
            _remove_stale_dags(stack.api(), progress)
            return stack
        try:
            return _start_what_is_missing(healthy, progress, sandbox_args)
        except BaseException:
            _end([name for name in _ALL if name not in healthy])
            raise


def down(progress: Progress = lambda _: None) -> list[str]:
    """
    End exactly what `up` started and what that started, after a crash too. The data stay.

    Returns:
        The names of what was still alive. Empty when there was nothing to end.

    """
    with _one_at_a_time():
        ended = _end(_ALL)
        progress(f"Ended {', '.join(ended)}" if ended else "Nothing was running")
        return ended


def status() -> StackStatus:
    """What runs, from what we wrote down and from the kernel; asks no server."""
    written, living = processes.records(), processes.alive()
    found = tuple(_process_status(name, written.get(name), alive=name in living) for name in NAMES)
    running = sum(each.state == "running" for each in found)
    state: Literal["running", "partial", "stopped"]
    state = "running" if running == len(NAMES) else "partial" if running else "stopped"
    url = next((each.url for each in found if each.name == "api-server"), None)
    return StackStatus(state, found, url)


def load() -> Stack | None:
    """The stack that runs now, or None when it is stopped or a part of it is missing."""
    return Stack(ports.kept()) if status().state == "running" else None


def servers(numbers: dict[str, int], secrets: Secrets) -> dict[str, PostgresServer]:
    """The two PostgreSQL servers by process name, running or not."""
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


def _worth_keeping(living: dict[str, ProcessRecord]) -> dict[str, ProcessRecord]:
    """
    What a mended stack goes on with. Airflow's processes end, one after the other, once their database was gone for
    some seconds, so those that are still alive without it are not.
    """
    if "postgres-metadata" in living:
        return living
    return {name: record for name, record in living.items() if name not in airflow.COMMANDS}


def _start_what_is_missing(living: dict[str, ProcessRecord], progress: Progress, sandbox_args: Sequence[str]) -> Stack:
    # A killed scheduler leaves workers behind that would go on beside the new one. With nobody left to report
    # to they get little time; Airflow notices their tasks' silence.
    dead = [name for name in processes.records() if name not in living and name not in POSTGRES]
    processes.stop(dead, grace_s=_ORPHANS_GRACE_S)
    stack = Stack(ports.assign(in_use_by_us=_servers_of(living)))
    secrets = load_secrets()
    _say_moved(stack.ports, progress)
    airflow.write_files(secrets)
    make_private_folder(home() / "landing")

    if "sandbox" not in living:
        _start_sandbox(stack.ports, secrets, sandbox_args or _sandbox_arguments())
    databases = _start_databases(stack.ports, secrets)
    progress("PostgreSQL servers started")
    _migrate(databases["postgres-metadata"], stack)
    progress("Databases are up to date")
    _start_airflow(stack, living, progress)
    return stack


def _servers_of(living: dict[str, ProcessRecord]) -> set[str]:
    """The names, as `ports` has them, of the servers that run."""
    by_process = {
        "postgres-metadata": "metadata",
        "postgres-hub": "hub-db",
        "sandbox": "sandbox",
        "api-server": "airflow",
    }
    return {server for process, server in by_process.items() if process in living}


def _say_moved(numbers: dict[str, int], progress: Progress) -> None:
    for name, port in numbers.items():
        wanted = int(os.environ.get(ports.VARIABLES[name], ports.WANTED[name]))
        if port != wanted:
            progress(f"Port {wanted} is not used for {name}: it listens on {port}")


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
        processes.remember(name, pid, port=server.port, log=server.log)
        owner, password = owners[name]
        server.create_database(owner, owner=owner, password=password)

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, both))
    return both


def _migrate(metadata: PostgresServer, stack: Stack) -> None:
    """Both databases at the same time; Airflow's takes longer, in a process of its own."""
    from crossdock.app.database import migrate  # noqa: PLC0415  loads SQLAlchemy

    wait = airflow.migrate_metadata(metadata, stack.environment())
    migrate(stack.hub_dsn)
    wait()


def _start_sandbox(numbers: dict[str, int], secrets: Secrets, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--port", str(numbers["sandbox"])]
    command += ["--client-id", _sandbox_client(), "--journal", str(_journal_of(arguments)), *arguments]
    environment = {**airflow.child_environment(), "SANDBOX_CLIENT_SECRET": secrets.sandbox_client_secret}
    processes.start("sandbox", command, environment=environment, port=numbers["sandbox"])


def _start_airflow(stack: Stack, living: dict[str, ProcessRecord], progress: Progress) -> None:
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
    _put_settings(stack, api)
    progress("Connections and pools are set")
    airflow.wait_for_health(api, watched, since=since)
    progress("Airflow is healthy: scheduler, dag-processor, triggerer")
    _remove_stale_dags(api, progress)


def _remove_stale_dags(api: AirflowApi, progress: Progress) -> None:
    found = remove_stale_dags(api)
    if found.removed:
        progress(f"Removed from Airflow, because no DAG file defines them: {', '.join(found.removed)}")
    if found.running:
        progress(f"To be removed by the next ./hub up, because a task still runs: {', '.join(found.running)}")


def restart_sandbox(arguments: Sequence[str]) -> None:
    """
    The sandbox started anew with *arguments*, now when the stack runs, and at every later start.

    When it does not start with these, the one that was there is put back and nothing is remembered.

    Raises:
        StackError: the sandbox does not start with these.

    """
    with _one_at_a_time():
        if "sandbox" in processes.alive():
            _replace_sandbox(Stack(ports.kept()), arguments)
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
    """What the last `restart_sandbox` asked for."""
    kept = read_json(home() / _SANDBOX_ARGUMENTS)
    return [str(word) for word in kept] if isinstance(kept, list) else []


def _journal_of(arguments: Sequence[str]) -> Path:
    """Each shop has a day of its own: going to another and back must not forget what changed in the first."""
    digest = hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:8]
    return home() / (f"sandbox-{digest}.jsonl" if arguments else "sandbox.jsonl")


def _sandbox_client() -> str:
    """Who the hub says it is, so that the sandbox lets it in."""
    connections = {each["connection_id"]: each for each in read_settings().connections}
    return str(connections["commercetools"]["login"])


def _wait_for_sandbox(stack: Stack) -> None:
    deadline = time.monotonic() + _SANDBOX_TIMEOUT_S
    while not ports.answers(stack.ports["sandbox"]):
        processes.fail_if_dead([processes.records()["sandbox"]])
        if time.monotonic() > deadline:
            raise NotReady("The sandbox", _SANDBOX_TIMEOUT_S, "its port is closed", processes.log_of("sandbox"))
        time.sleep(0.1)


def _put_settings(stack: Stack, api: AirflowApi) -> None:
    """The project's connections, pools and variables, with the ports and secrets of this stack."""
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.integrations import service as integrations  # noqa: PLC0415  only a start needs them

    secrets = load_secrets()
    settings = read_settings(
        overrides={
            "commercetools": {"host": stack.sandbox_url, "password": secrets.sandbox_client_secret},
            "hub_db": {"host": ports.LOOPBACK, "port": stack.ports["hub-db"], "password": secrets.hub_password},
        }
    )
    for connection in settings.connections:
        api.put_connection(connection)
    for pool in settings.pools:
        api.put_pool(pool)
    for variable in settings.variables:
        api.put_variable(variable)
    with Store(stack.hub_dsn) as store:
        integrations.register(store, settings.connections, actor="cli:up")


def _end(names: Sequence[str]) -> list[str]:
    """End these, Airflow before the databases it writes its last words to, and the servers by PostgreSQL's own rules."""
    ended = processes.stop([name for name in names if name not in POSTGRES])
    both = servers(_known_ports(), load_secrets()) if (home() / "secrets.json").exists() else {}
    # Asked by their data directories, not by the records: a start may be cut off before it is written down.
    doomed = [name for name in both if name in names]
    with ThreadPoolExecutor() as pool:
        stopped = list(pool.map(lambda name: both[name].stop(), doomed))
    processes.forget(names)
    return ended + [name for name, was_running in zip(doomed, stopped, strict=True) if was_running]


def _known_ports() -> dict[str, int]:
    return {**ports.WANTED, **ports.kept()}


def _process_status(name: str, record: ProcessRecord | None, *, alive: bool) -> ProcessStatus:
    if record is None:
        return ProcessStatus(name, None, "stopped", None, None)
    if not alive:
        return ProcessStatus(name, None, "ended", record.port, None)
    url = f"http://{ports.LOOPBACK}:{record.port}" if name in {"api-server", "sandbox"} else None
    return ProcessStatus(name, record.pid, "running", record.port, url)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two `up` at once would take each other's ports; the lock goes with its process, however that ends."""
    home().mkdir(parents=True, exist_ok=True)
    lock = home() / "lock"
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnotherStart(lock) from None
        yield
