"""
Start, stop and inspect the local stack. It writes only to `home()` and listens only on 127.0.0.1.

Each command loads this module to find the stack; what only a start needs is imported where it is used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossdock.client import proof
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AnotherShop, LoginsChanged, NotReady, StackError
from crossdock.core.paths import path_of
from crossdock.observability import restarts
from crossdock.stack import airflow, mail_systems, ports, processes, starting, starts, supervisor, turns
from crossdock.stack.conditions import LOOK_EVERY_S, Condition, State, what_is_wrong
from crossdock.stack.home import RESTORING, home, make_private_folder, write_json
from crossdock.stack.processes import ProcessRecord
from crossdock.stack.secrets import Secrets, load_secrets
from crossdock.stack.starting import Step

if TYPE_CHECKING:
    from crossdock.stack.postgres import PostgresServer
    from crossdock.stack.settings_file import AirflowSettings

Progress = Callable[[str], None]

#: In the order in which they start.
NAMES = (*starts.NAMES, *starts.SUPERVISORS)
#: Including the migration, which runs only during a start.
_ALL = (*NAMES, airflow.MIGRATION)

POSTGRES = starts.POSTGRES
servers = starts.servers

_SANDBOX_TIMEOUT_S = 180.0
_SUPERVISOR_GRACE_S = 2.0
_PROOF_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Stack:
    """The addresses of a started stack. Its repr has no secrets."""

    ports: dict[str, int]

    @property
    def airflow_url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.ports['airflow']}"

    @property
    def pages_url(self) -> str:
        """The hub's pages in Airflow's UI: the route of the plugin's external view."""
        return f"{self.airflow_url}/plugin/crossdock"

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
        return starts.hub_dsn(self.ports, load_secrets())

    def api(self, user: str = "admin", *, timeout_s: float = AirflowApi.TIMEOUT_S) -> AirflowApi:
        """Build a client of Airflow for one of its users: admin, otto (operator), vera (viewer)."""
        secrets = load_secrets()
        return AirflowApi(
            self.airflow_url,
            user,
            getattr(secrets, f"{user}_password"),
            timeout_s=timeout_s,
            stack_key=secrets.stack_key,
        )

    def environment(self) -> dict[str, str]:
        """Build the environment for a child process that works on this stack, Airflow's settings included."""
        return airflow.airflow_environment(self.ports, load_secrets())


@dataclass(frozen=True)
class ProcessStatus:
    name: str
    #: None when it is not running.
    pid: int | None
    #: As in `Condition`.
    state: State
    port: int | None
    #: The page for a person; None where it does not speak HTTP.
    url: str | None
    #: What is wrong, in words; None when nothing is.
    problem: str | None = None
    #: How often it was started anew since the last `up` of a stopped stack, when last, and why.
    restarts: int = 0
    restarted_at: datetime | None = None
    restarted_because: str | None = None


@dataclass(frozen=True)
class StackStatus:
    state: Literal["running", "partial", "stopped"]
    processes: tuple[ProcessStatus, ...]
    airflow_url: str | None
    #: How far a start is that is going on; None where none is.
    starting: str | None = None


def up(*, progress: Progress, shop: Sequence[str] | None = None) -> Stack:
    """
    Start what is not running or is silent, wait until all of it is healthy, and return the stack.

    When another command is at work on this stack, it waits for that. When it fails or is interrupted, everything that this
    call started is stopped again.

    Args:
        progress: Called with a short sentence after each step.
        shop: The arguments of the sandbox from now on. It has them before any DAG can run. None: as they were.

    Raises:
        StackError: The message has the reason and what to do. Running again is safe.
        AnotherShop: The sandbox is running, with another shop than *shop*.
        LoginsChanged: Airflow is running, with other logins than HUB_LOGINS names.
        Terminal: a setting has an old name or an invalid value, or names a stream or a rule that does not exist.

    """
    from crossdock.app.stream_settings import refuse_mistakes  # noqa: PLC0415  loads every connector

    refuse_mistakes(definitions_url=airflow.hub_environment()["HUB_DEFINITIONS_URL"])
    with turns.in_turn(progress):
        if (home() / RESTORING).exists():
            raise StackError(f"{home()} was not restored to its end. Run ./hub restore again")
        turns.forget_stop()
        sound = _sound(processes.alive(), progress)
        with _shop_chosen(shop, is_running="sandbox" in sound):
            return _start_what_is_not(sound, progress)


def shop_of(dataset: Path) -> list[str]:
    """Build the arguments of the sandbox for the shop of a file."""
    return ["--dataset", str(dataset.resolve())]


@contextmanager
def _shop_chosen(shop: Sequence[str] | None, *, is_running: bool) -> Iterator[None]:
    """Let the sandbox start with *shop*, and at later starts too, unless this one fails."""
    before = starts.sandbox_arguments()
    if shop is None or list(shop) == before:
        yield
        return
    if is_running:
        raise AnotherShop
    write_json(home() / starts.SANDBOX_ARGUMENTS, list(shop))
    try:
        yield
    except BaseException:
        write_json(home() / starts.SANDBOX_ARGUMENTS, before)
        raise


def _start_what_is_not(sound: dict[str, ProcessRecord], progress: Progress) -> Stack:
    if sound.keys() >= set(NAMES):
        stack = Stack(ports.saved())
        progress(f"The stack is already running: {stack.airflow_url}")
        if names := airflow.new_logins():
            raise LoginsChanged(names)
        _remove_stale_dags(stack.api(), progress)
        return stack
    if not sound.keys() & set(starts.NAMES):
        restarts.file_in(home()).unlink(missing_ok=True)
    # What they start has their environment; from now on it is to be that of this process.
    processes.stop(starts.SUPERVISORS, grace_s=_SUPERVISOR_GRACE_S)
    try:
        with starting.reported():
            stack = _start_missing(sound, progress)
            _start_supervisors()
    except BaseException:
        _stop([name for name in _ALL if name not in sound or name in starts.SUPERVISORS])
        raise
    return stack


def down(progress: Progress = lambda _: None) -> list[str]:
    """
    Stop exactly what `up` started and all its descendants, also after a crash. The data stays.

    Returns:
        The names of what was still running; empty when there was nothing to stop.

    """
    # Before its turn: a supervisor may have that now, and be frozen. Their records are kept until nobody else writes any.
    turns.announce_stop()
    ended = processes.end(starts.SUPERVISORS, grace_s=_SUPERVISOR_GRACE_S)
    with turns.in_turn(progress):
        turns.announce_stop()
        ended = _stop(_ALL) + ended
        turns.forget_stop()
        return ended


def status() -> StackStatus:
    """Report what is running, from our records, the kernel and what the supervisor found, without a request to a server."""
    recorded, found, restarted = processes.records(), conditions(), restarts.read(restarts.file_in(home()))
    each = tuple(_process_status(found[name], recorded.get(name), restarted.get(name)) for name in NAMES)
    running = sum(process.state == "running" for process in each)
    state: Literal["running", "partial", "stopped"]
    state = "running" if running == len(NAMES) else "partial" if running else "stopped"
    url = next((process.url for process in each if process.name == "api-server"), None)
    start = starting.now()
    return StackStatus(state, each, url, start.sentence if start else None)


def conditions() -> dict[str, Condition]:
    """
    Say how each process of the stack is, by name; `what_is_wrong` has the words.

    From our records and the kernel, and by what the supervisor found at its looks, while it lives.
    """
    recorded, living = processes.records(), processes.alive()
    reported = supervisor.reported_conditions()
    found: dict[str, Condition] = {}
    for name in NAMES:
        if name not in living:
            waits_for = reported[name].waits_for if name in reported else None
            found[name] = Condition(name, "ended" if name in recorded else "stopped", waits_for=waits_for)
        elif name in reported and reported[name].state != "ended":
            found[name] = reported[name]
        else:
            found[name] = Condition(name, "running")
    return found


def load() -> Stack | None:
    """Load the running stack; None when it is stopped or a part of it is missing."""
    return Stack(ports.saved()) if processes.alive().keys() >= set(starts.NAMES) else None


def _sound(living: dict[str, ProcessRecord], progress: Progress) -> dict[str, ProcessRecord]:
    """
    Select the living processes that a repaired stack can keep: those that give signs of life.

    Without its database Airflow's processes end within seconds, so those that are still alive then cannot be kept.
    """
    if "postgres-metadata" not in living:
        living = {name: record for name, record in living.items() if name not in airflow.COMMANDS}
    if not living:
        return {}
    silent = _silent(living, progress)
    return {name: record for name, record in living.items() if name not in silent}


def _silent(living: Collection[str], progress: Progress) -> set[str]:
    """
    Look at the *living* until each has given a sign of life, or has given none for too long.

    What the supervisor has counted need not be counted again: as long as this has its turn, nobody replaces anything.
    """
    looker = supervisor.Supervisor("up", supervisor.duties_of_both(load_secrets()))
    reported = supervisor.reported_conditions()
    counted = {name for name, condition in reported.items() if condition.state == "silent" and name in living}
    heard: set[str] = set()
    named = ""
    try:
        while True:
            looker.look()
            watched = {name: each for name, each in looker.watched().items() if name in living}
            heard |= {name for name, each in watched.items() if each.is_well}
            silent = {name for name, each in watched.items() if each.is_silent} | (counted - heard)
            unsure = sorted({name for name, each in watched.items() if each.may_recover} - heard - silent)
            if not unsure:
                return silent
            if (waits := ", ".join(unsure)) != named:
                progress(f"Waiting for a sign of life of {waits}")
                named = waits
            time.sleep(LOOK_EVERY_S)
    finally:
        looker.close()


def _start_missing(sound: dict[str, ProcessRecord], progress: Progress) -> Stack:
    # A killed scheduler leaves workers behind that would run beside the new one.
    for name in processes.records():
        if name not in sound:
            starts.end(name, _known_ports(), load_secrets())
    processes.delete_records([name for name in processes.records() if name not in sound])
    stack = Stack(ports.assign(in_use_by_us=_servers_of(sound)))
    secrets = load_secrets()
    _report_moved_ports(stack.ports, progress)
    airflow.write_files(secrets)
    make_private_folder(home() / "landing")

    for name in ("sandbox", *mail_systems.PORTS):
        if name not in sound:
            starts.start(name, stack.ports, secrets)
    databases = _start_databases(stack.ports, secrets)
    progress("PostgreSQL servers started")
    starting.wait_for(Step.MIGRATION)
    _migrate(databases["postgres-metadata"], stack)
    progress("Databases are up to date")
    starting.wait_for(Step.REGISTRY)
    # Before Airflow starts: its DAG files read there which integrations exist.
    kept = _register(stack, progress)
    if "alert-sender" not in sound:
        starts.start_alert_sender(stack.ports, secrets)
    _start_airflow(stack, sound, kept, progress)
    return stack


def _start_supervisors() -> None:
    for name in starts.SUPERVISORS:
        starts.start_supervisor(name)


def _servers_of(living: Collection[str]) -> set[str]:
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
    from crossdock.db import views  # noqa: PLC0415  loads the database driver

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
        if name == "postgres-hub":
            server.create_reader(views.READER, secrets.reader_password, database=owner, schema=views.schema_of("hub"))

    with ThreadPoolExecutor() as pool:
        list(pool.map(start, both))
    return both


def _migrate(metadata: PostgresServer, stack: Stack) -> None:
    """Migrate both databases at the same time; Airflow's takes longer and runs in a process of its own."""
    from crossdock.app.database import migrate  # noqa: PLC0415  loads SQLAlchemy

    wait = airflow.migrate_metadata(metadata, stack.environment())
    migrate(stack.hub_dsn)
    wait()


def _start_airflow(stack: Stack, living: dict[str, ProcessRecord], kept: Collection[str], progress: Progress) -> None:
    starting.wait_for(Step.API)
    environment = stack.environment()
    since: dict[str, float] = {}
    for name in airflow.COMMANDS:
        if name not in living:
            since[name] = time.time()
            airflow.start_process(name, stack.ports, environment)
    watched = [record for name, record in processes.records().items() if name in starts.NAMES and name not in POSTGRES]
    api = stack.api()
    airflow.wait_for_api(api, watched)
    progress(f"Airflow's API answers: {stack.airflow_url}")
    starting.wait_for(Step.SIMULATED)
    _wait_for_sandbox(stack)
    progress(f"Sandbox started: {stack.sandbox_url}")
    for process, servers in mail_systems.PORTS.items():
        for server in servers:
            _wait_for(stack, process, server)
    starting.wait_for(Step.CONNECTIONS)
    _apply_settings(stack, api, kept)
    progress("Connections and pools are set")
    starting.wait_for(Step.AIRFLOW)
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
    with turns.in_turn(_say_nothing):
        if "dag-processor" in processes.alive():
            running = Stack(ports.saved())
            processes.stop(["dag-processor"])
            airflow.start_process("dag-processor", running.ports, running.environment())
            # They would start it in their own environment, which has the schedules of before.
            if processes.stop(starts.SUPERVISORS, grace_s=_SUPERVISOR_GRACE_S):
                _start_supervisors()


def restart_sandbox(arguments: Sequence[str]) -> None:
    """
    Restart the sandbox with *arguments* if the stack is running, and use them at every later start.

    When it does not start with these, the sandbox of before is started again and nothing is saved.

    Raises:
        StackError: the sandbox does not start with *arguments*.

    """
    with turns.in_turn(_say_nothing):
        if "sandbox" in processes.alive():
            _replace_sandbox(Stack(ports.saved()), arguments)
        write_json(home() / starts.SANDBOX_ARGUMENTS, list(arguments))


def _say_nothing(_: str) -> None:
    """Wait for a turn in silence."""


def _replace_sandbox(stack: Stack, arguments: Sequence[str]) -> None:
    before = starts.sandbox_arguments()
    processes.stop(["sandbox"])
    try:
        starts.start_sandbox(stack.ports, load_secrets(), arguments)
        _wait_for_sandbox(stack)
    except BaseException:
        processes.stop(["sandbox"])
        starts.start_sandbox(stack.ports, load_secrets(), before)
        _wait_for_sandbox(stack)
        raise


def _wait_for_sandbox(stack: Stack) -> None:
    _wait_for(stack, "sandbox", "sandbox")


def _wait_for(stack: Stack, process: str, server: str) -> None:
    """Wait until a simulated system listens on the port of *server*."""
    deadline = time.monotonic() + _SANDBOX_TIMEOUT_S
    while not _answers(stack, server):
        processes.fail_if_dead([processes.records()[process]])
        if time.monotonic() > deadline:
            raise NotReady(
                f"The process {process}", _SANDBOX_TIMEOUT_S, "its port is closed", processes.log_of(process)
            )
        time.sleep(0.1)


def _answers(stack: Stack, server: str) -> bool:
    """Whether our own process listens on the port of *server*. That of SMTP has no way to prove it."""
    port = stack.ports[server]
    if server == "smtp" or not ports.answers(port):
        return ports.answers(port)
    url = f"http://{ports.LOOPBACK}:{port}"
    with suppress(OSError):
        return proof.is_proven(url, proof.OF_SANDBOX, load_secrets().stack_key, timeout_s=_PROOF_TIMEOUT_S)
    return False


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
            "hub_db": {
                "host": ports.LOOPBACK,
                "port": stack.ports["hub-db"],
                "password": secrets.hub_password,
                "extra": dict([ports.ONLY_SCRAM.split("=")]),
            },
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
    from crossdock.app import definitions, workflow_snapshots  # noqa: PLC0415  only a start needs them
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.integrations import service as integration_service  # noqa: PLC0415

    with Store(stack.hub_dsn) as store:
        found = integration_service.register(store, _settings(stack).connections, actor="cli:up")
        definitions.write(store, url=stack.environment()["HUB_DEFINITIONS_URL"])
        workflow_snapshots.write(store, url=stack.environment()["HUB_DEFINITIONS_URL"], anew=True)
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


def _process_status(
    condition: Condition, record: ProcessRecord | None, restarted: restarts.Restarts | None
) -> ProcessStatus:
    name, is_alive = condition.name, condition.state in {"running", "silent"}
    port = record.port if record else None
    speaks_http = name in {"api-server", "sandbox", *mail_systems.PORTS}
    latest = restarted.latest[-1] if restarted and restarted.latest else None
    return ProcessStatus(
        name,
        record.pid if record and is_alive else None,
        condition.state,
        port,
        f"http://{ports.LOOPBACK}:{port}" if speaks_http and is_alive else None,
        what_is_wrong(condition),
        restarted.number if restarted else 0,
        latest.at if latest else None,
        latest.why if latest else None,
    )
