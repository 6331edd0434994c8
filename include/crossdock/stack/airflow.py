"""Airflow's four processes on this machine: their settings, their start, their health."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowUnreachable, NotReady, ProcessDied
from crossdock.core.ids import prefixed
from crossdock.core.stack_proof import KEY_VARIABLE
from crossdock.stack import memory, processes
from crossdock.stack.home import home, make_private_folder, project, read_json, write_json
from crossdock.stack.ports import ONLY_SCRAM
from crossdock.stack.processes import ProcessRecord
from crossdock.stack.secrets import Secrets

if TYPE_CHECKING:
    from crossdock.stack.postgres import PostgresServer

#: Our name of each process → the arguments of `airflow`. The log servers of the scheduler and the triggerer can only
#: listen on every interface, so they are not started; the api-server reads the same files from disk.
COMMANDS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: Our name of `airflow db migrate`, which runs for a while during the first start.
MIGRATION = "airflow-migrate"
#: Our name of each process → its name in /monitor/health.
_HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
#: User → role, from most to least permissions; HUB_LOGINS adds to them.
PEOPLE = {"admin": "admin", "otto": "op", "vera": "viewer"}

#: On a machine with twenty times the work that it can do. A process that dies is noticed at once.
_MIGRATION_TIMEOUT_S = 900.0
_HEALTH_TIMEOUT_S = 600.0
#: A port that only root could open: the log servers are not started, see COMMANDS.
_NO_LOG_SERVER = "1"


def airflow_home() -> Path:
    return home() / "airflow"


def process_logs() -> list[Path]:
    """Name the logs of all processes: a folder, and one file for each PostgreSQL server."""
    return [home() / "logs", *(home() / name / "log" for name in ("postgres-metadata", "postgres-hub"))]


def hub_environment() -> dict[str, str]:
    """Build the variables by which the commands and tasks of this stack find its files."""
    return {
        "HUB_PROJECT": str(project()),
        "HUB_HOME": str(home()),
        "HUB_LANDING_URL": f"file://{home() / 'landing'}",
        "HUB_DEFINITIONS_URL": f"file://{home() / 'definitions'}",
        "HUB_PROCESS_LOGS": os.pathsep.join(map(str, process_logs())),
        # The simulated mail systems take any sender.
        "HUB_MAIL_FROM": os.environ.get("HUB_MAIL_FROM", "The Shop <orders@shop.example>"),
        # With the sandbox, a task should not need minutes to run out of retries.
        "HUB_RETRY_DELAY_S": os.environ.get("HUB_RETRY_DELAY_S", "2"),
    }


def child_environment() -> dict[str, str]:
    """
    Copy our environment without what would change the stack: another Airflow's settings, Python's paths.

    PYTHONPYCACHEPREFIX stays: where the project's folder is read-only, bytecode needs another folder.

    AIRFLOW_CONN_* and AIRFLOW_VAR_* stay: they pass a secret without writing it to a file.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHONPYCACHEPREFIX"
        or (not name.startswith(("AIRFLOW__", "PYTHON")) and name not in {"AIRFLOW_HOME", "AIRFLOW_CONFIG"})
    }
    # Otherwise tasks would report their state to 127.0.0.1 through a company's proxy.
    direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {
        **kept,
        **hub_environment(),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def airflow_environment(ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
    """Build the whole environment of Airflow's processes, and so of every task."""
    return {
        **child_environment(),
        "AIRFLOW_HOME": str(airflow_home()),
        KEY_VARIABLE: secrets.stack_key,
        # No telemetry of Airflow and its packages.
        "SCARF_ANALYTICS": "false",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
        **_section("CORE", _core_settings(ports, secrets)),
        **_section("DATABASE", _database_settings(ports, secrets)),
        **_section("API", _api_settings(ports, secrets)),
        # A shift: for that long, Airflow's own routes accept the token of a user who was removed. Ours do not.
        **_section("API_AUTH", {"JWT_SECRET": secrets.jwt_secret, "JWT_EXPIRATION_TIME": 8 * 3600}),
        **_section("LOGGING", _LOGGING_SETTINGS),
        **_section("SCHEDULER", _SCHEDULER_SETTINGS),
        **_section("WORKERS", _WORKER_SETTINGS),
        **_section("DAG_PROCESSOR", {"REFRESH_INTERVAL": 30, "MIN_FILE_PROCESS_INTERVAL": 60}),
        **_section("TRIGGERER", {"SHARED_STREAM_COHORT_GRACE_PERIOD": 15}),
        **_section("STATE_STORE", {"CLEAR_ON_SUCCESS": True}),
    }


def database_connection(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    """Describe Airflow's own database as a connection, by which the DAG `clean_up` cleans it: tasks do not have it otherwise."""
    return {
        "connection_id": prefixed("airflow_db"),
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": ports["metadata"],
        "login": "airflow",
        "password": secrets.metadata_password,
        "schema": "airflow",
        "extra": json.dumps(dict([ONLY_SCRAM.split("=")])),
    }


def write_files(secrets: Secrets) -> None:
    """Write the files that Airflow reads at its start: local settings and passwords."""
    make_private_folder(airflow_home() / "config")
    make_private_folder(airflow_home())
    warm_up = airflow_home() / "config" / "airflow_local_settings.py"
    warm_up.write_text("from crossdock.app.airflow.warm_up import *  # noqa\n")
    people, known = _people(), read_json(_passwords_file()) or {}
    write_json(_logins_file(), {name: role for name, role in people.items() if name not in PEOPLE})
    # Passwords stay: a process of before still knows their people, and Airflow writes into its log those that it has to make up.
    more = {name: token_urlsafe(18) for name in people if name not in known}
    ours = {name: getattr(secrets, f"{name}_password") for name in PEOPLE}
    write_json(_passwords_file(), {**more, **known, **ours})


def migrate_metadata(server: PostgresServer, environment: Mapping[str, str]) -> Callable[[], None]:
    """
    Start to migrate Airflow's tables to the installed version; return a function that waits for the end.

    A migration without changes takes seconds, too. A stamp file names the Airflow version and the data directory of the
    last one, so that it can be skipped.
    """
    stamp_file = airflow_home() / "migrated.json"
    stamp = {"airflow": metadata.version("apache-airflow"), "data": server.system_identifier()}
    if read_json(stamp_file) == stamp:
        return lambda: None
    record = processes.start(MIGRATION, _airflow("db", "migrate"), environment=environment)

    def wait() -> None:
        code = processes.wait_for_end(record, _MIGRATION_TIMEOUT_S)
        if code is None:
            raise NotReady("airflow db migrate", _MIGRATION_TIMEOUT_S, "it still runs", Path(record.log))
        if code != 0:
            raise ProcessDied("airflow db migrate", Path(record.log), processes.tail(Path(record.log)))
        processes.delete_records([MIGRATION])
        write_json(stamp_file, stamp)

    return wait


def start_process(name: str, ports: Mapping[str, int], environment: Mapping[str, str]) -> ProcessRecord:
    """Start one of COMMANDS, detached."""
    port = ports["airflow"] if name == "api-server" else None
    return processes.start(name, _airflow(*COMMANDS[name]), environment=environment, port=port)


def wait_for_api(api: AirflowApi, watched: Iterable[ProcessRecord]) -> None:
    """Wait until the REST API answers and reaches its database."""
    _wait(api, list(watched), lambda health: _unhealthy(health, ["metadatabase"], since={}))


def wait_for_health(api: AirflowApi, watched: Iterable[ProcessRecord], *, since: Mapping[str, float]) -> None:
    """
    Wait until all of Airflow is healthy.

    Args:
        api: The API of this stack.
        watched: Processes whose end makes further waiting useless.
        since: Process name → when it was started (seconds since 1970). Airflow reports a scheduler as healthy for
            30 s after it was killed, so a process counts only with a heartbeat after its own start.

    """
    _wait(api, list(watched), lambda health: _unhealthy(health, ["metadatabase", *_HEALTH_NAMES.values()], since=since))


def _wait(api: AirflowApi, watched: list[ProcessRecord], unhealthy: Callable[[dict[str, Any]], str]) -> None:
    deadline = time.monotonic() + _HEALTH_TIMEOUT_S
    missing = "the API does not answer"
    while time.monotonic() < deadline:
        processes.fail_if_dead(watched)
        try:
            missing = unhealthy(api.health())
        except AirflowUnreachable as unreachable:
            missing = unreachable.cause
        if not missing:
            return
        time.sleep(0.25)
    raise NotReady("Airflow", _HEALTH_TIMEOUT_S, missing, processes.log_of("api-server"))


def _unhealthy(health: dict[str, Any], parts: list[str], *, since: Mapping[str, float]) -> str:
    """Name the *parts* that are not healthy; empty when all are."""
    from datetime import datetime  # noqa: PLC0415

    started = {_HEALTH_NAMES[name]: at for name, at in since.items() if name in _HEALTH_NAMES}
    bad = []
    for part in parts:
        found = health.get(part) or {}
        heartbeat = found.get(f"latest_{part}_heartbeat")
        stale = part in started and (not heartbeat or datetime.fromisoformat(heartbeat).timestamp() < started[part])
        if found.get("status") != "healthy" or stale:
            bad.append(part)
    return f"not healthy: {', '.join(bad)}" if bad else ""


def _airflow(*words: str) -> list[str]:
    # -P: the current folder is not searched for modules.
    return [sys.executable, "-P", "-m", "airflow", *words]


def new_logins() -> list[str]:
    """Name the people of HUB_LOGINS who cannot log in before Airflow is started anew, and those who still can."""
    logins = read_json(_logins_file()) or {}
    wanted = {name: role for name, role in _people().items() if name not in PEOPLE}
    return sorted(name for name in {*wanted, *logins} if wanted.get(name) != logins.get(name))


def _people() -> dict[str, str]:
    """Map each person who may log in to the role: ours, and those of HUB_LOGINS, or as it was at the last start."""
    from crossdock.core.settings import read_settings  # noqa: PLC0415  pydantic: only a start needs it

    more = read_settings().roles_of_logins
    return {**PEOPLE, **((read_json(_logins_file()) or {}) if more is None else more)}


def _logins_file() -> Path:
    return home() / "logins.json"


def _passwords_file() -> Path:
    return home() / "airflow-passwords.json"


def _section(name: str, settings: Mapping[str, object]) -> dict[str, str]:
    return {f"AIRFLOW__{name}__{key}": str(value) for key, value in settings.items()}


def _core_settings(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    return {
        "DAGS_FOLDER": project() / "dags",
        "PLUGINS_FOLDER": project() / "plugins",
        "LOAD_EXAMPLES": False,
        "EXECUTOR": "LocalExecutor",
        "PARALLELISM": memory.tasks_at_once(memory.available()),
        # Python 3.14 would have each worker load everything anew: 250 MB each, which a fork shares. macOS cannot fork safely.
        **({"MP_START_METHOD": "fork"} if sys.platform == "linux" else {}),
        "FERNET_KEY": secrets.fernet_key,
        "SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in _people().items()),
        "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": _passwords_file(),
        "EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{ports['airflow']}/execution/",
        "DAGS_ARE_PAUSED_AT_CREATION": False,
        "MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 1,
        "TEST_CONNECTION": "Enabled",
        # The default asks the name service, which takes long without a network.
        "HOSTNAME_CALLABLE": "socket.gethostname",
    }


def _database_settings(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    address = f"airflow:{quote(secrets.metadata_password, safe='')}@127.0.0.1:{ports['metadata']}/airflow"
    return {
        # Both drivers are named: SQLAlchemy 2.1 uses psycopg 3 for postgresql://, and Airflow expects psycopg2.
        "SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}?{ONLY_SCRAM}",
        "SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{address}",
    }


def _api_settings(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    return {
        "HOST": "127.0.0.1",
        "PORT": ports["airflow"],
        "BASE_URL": f"http://127.0.0.1:{ports['airflow']}",
        "WORKERS": 1,
        "SECRET_KEY": secrets.api_secret_key,
        # Also the longest wait of `down` for an open browser tab.
        "WORKER_TIMEOUT": 30,
        "INSTANCE_NAME": "Crossdock",
    }


_LOGGING_SETTINGS: dict[str, object] = {
    "COLORED_CONSOLE_LOG": False,
    "UVICORN_LOGGING_LEVEL": "WARNING",
    "WORKER_LOG_SERVER_PORT": _NO_LOG_SERVER,
    "TRIGGER_LOG_SERVER_PORT": _NO_LOG_SERVER,
    # Silences a line per request, and a stack trace about the missing log server at each refresh of a running task.
    "NAMESPACE_LEVELS": "http.access=WARNING airflow.utils.log.file_task_handler=CRITICAL",
}

_WORKER_SETTINGS: dict[str, object] = {
    # A delivery worker that runs needs the hub's database, and not the api-server to which it sends heartbeats. After three
    # failed ones it would end, and nothing starts without the api-server; leases keep it from working beside a successor.
    "MAX_FAILED_HEARTBEATS": 60,
}

_SCHEDULER_SETTINGS: dict[str, object] = {
    # A killed task is detected after half a minute, not five.
    "TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
    "TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    "ORPHANED_TASKS_CHECK_INTERVAL": 30,
}
