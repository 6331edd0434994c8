"""Airflow's four processes on this machine: their settings, their start, and what "healthy" means."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowUnreachable, NotReady, ProcessDied
from crossdock.stack import processes
from crossdock.stack.home import home, make_private_folder, project, read_json, write_json
from crossdock.stack.postgres import PostgresServer
from crossdock.stack.processes import ProcessRecord
from crossdock.stack.secrets import Secrets

#: Our name of each process, and what `airflow` calls it. The log servers of the scheduler and the triggerer
#: listen on every interface and nothing can tell them not to; the api-server reads the same files from disk.
COMMANDS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
#: Our name of `airflow db migrate`, which runs for a while during the first start.
MIGRATION = "airflow-migrate"
#: What each process calls itself in the answer of /monitor/health.
_HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
#: Role by name, in the order of power.
PEOPLE = {"admin": "admin", "otto": "op", "vera": "viewer"}

#: On a machine with twenty times the work that it can do. Whoever has died is noticed at once.
_MIGRATION_TIMEOUT_S = 900.0
_HEALTH_TIMEOUT_S = 600.0
#: Never open on loopback, and nobody but root could open it: see COMMANDS.
_NO_LOG_SERVER = "1"


def airflow_home() -> Path:
    return home() / "airflow"


def hub_environment() -> dict[str, str]:
    """What the commands and the tasks of this stack need to find each other's files."""
    return {
        "HUB_PROJECT": str(project()),
        "HUB_HOME": str(home()),
        "HUB_LANDING_URL": f"file://{home() / 'landing'}",
        # Beside the sandbox nobody should wait minutes to see a task give up.
        "HUB_RETRY_DELAY_S": os.environ.get("HUB_RETRY_DELAY_S", "2"),
    }


def child_environment() -> dict[str, str]:
    """
    Our own environment without what would change the stack from outside: another Airflow's settings, Python's paths.

    PYTHONPYCACHEPREFIX stays: where the project's folder may not be written to, compiled code has to go elsewhere.

    AIRFLOW_CONN_* and AIRFLOW_VAR_* stay: that is how a person hands over a secret without writing it down.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHONPYCACHEPREFIX"
        or (not name.startswith(("AIRFLOW__", "PYTHON")) and name not in {"AIRFLOW_HOME", "AIRFLOW_CONFIG"})
    }
    # A company's proxy would otherwise be asked for 127.0.0.1, by tasks that report their state.
    direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {
        **kept,
        **hub_environment(),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def airflow_environment(ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
    """The whole environment of Airflow's processes, and so of every task."""
    return {
        **child_environment(),
        "AIRFLOW_HOME": str(airflow_home()),
        # Telemetry of Airflow's and of its packages.
        "SCARF_ANALYTICS": "false",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
        **_section("CORE", _core_settings(ports, secrets)),
        **_section("DATABASE", _database_settings(ports, secrets)),
        **_section("API", _api_settings(ports, secrets)),
        **_section("API_AUTH", {"JWT_SECRET": secrets.jwt_secret}),
        **_section("LOGGING", _LOGGING_SETTINGS),
        **_section("SCHEDULER", _SCHEDULER_SETTINGS),
        **_section("DAG_PROCESSOR", {"REFRESH_INTERVAL": 30, "MIN_FILE_PROCESS_INTERVAL": 30}),
        **_section("TRIGGERER", {"SHARED_STREAM_COHORT_GRACE_PERIOD": 15}),
        **_section("STATE_STORE", {"CLEAR_ON_SUCCESS": True}),
    }


def write_files(secrets: Secrets) -> None:
    """What Airflow reads from disk before it reads anything else."""
    make_private_folder(airflow_home() / "config")
    make_private_folder(airflow_home())
    warm_up = airflow_home() / "config" / "airflow_local_settings.py"
    warm_up.write_text("from crossdock.app.airflow.warm_up import *  # noqa\n")
    write_json(_passwords_file(), {name: getattr(secrets, f"{name}_password") for name in PEOPLE})


def migrate_metadata(server: PostgresServer, environment: Mapping[str, str]) -> Callable[[], None]:
    """
    Bring Airflow's tables to the installed version; starts at once and returns what waits for the end.

    It costs seconds to find out that there is nothing to do, so a stamp says for which Airflow and for which
    data directory it was done.
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
        processes.forget([MIGRATION])
        write_json(stamp_file, stamp)

    return wait


def start_process(name: str, ports: Mapping[str, int], environment: Mapping[str, str]) -> ProcessRecord:
    """One of COMMANDS, detached."""
    port = ports["airflow"] if name == "api-server" else None
    return processes.start(name, _airflow(*COMMANDS[name]), environment=environment, port=port)


def wait_for_api(api: AirflowApi, those: Iterable[ProcessRecord]) -> None:
    """Return once the REST API answers and reaches its database."""
    _wait(api, list(those), lambda health: _sick(health, ["metadatabase"], since={}))


def wait_for_health(api: AirflowApi, those: Iterable[ProcessRecord], *, since: Mapping[str, float]) -> None:
    """
    Return once all of Airflow is healthy.

    Args:
        api: Of this stack.
        those: The processes whose end means that waiting is in vain.
        since: By process name, when it was started (seconds since 1970). Airflow calls a scheduler healthy for 30 s
            after it was killed, so a process started just now must have reported after its own start.

    """
    _wait(api, list(those), lambda health: _sick(health, ["metadatabase", *_HEALTH_NAMES.values()], since=since))


def _wait(api: AirflowApi, those: list[ProcessRecord], sick: Callable[[dict[str, Any]], str]) -> None:
    deadline = time.monotonic() + _HEALTH_TIMEOUT_S
    missing = "the API does not answer"
    while time.monotonic() < deadline:
        processes.fail_if_dead(those)
        try:
            missing = sick(api.health())
        except AirflowUnreachable as unreachable:
            missing = unreachable.cause
        if not missing:
            return
        time.sleep(0.25)
    raise NotReady("Airflow", _HEALTH_TIMEOUT_S, missing, processes.log_of("api-server"))


def _sick(health: dict[str, Any], parts: list[str], *, since: Mapping[str, float]) -> str:
    """Which *parts* are not healthy, as words; empty when all are."""
    from datetime import datetime  # noqa: PLC0415

    started = {_HEALTH_NAMES[name]: at for name, at in since.items() if name in _HEALTH_NAMES}
    bad = []
    for part in parts:
        said = health.get(part) or {}
        heartbeat = said.get(f"latest_{part}_heartbeat")
        stale = part in started and (not heartbeat or datetime.fromisoformat(heartbeat).timestamp() < started[part])
        if said.get("status") != "healthy" or stale:
            bad.append(part)
    return f"not healthy: {', '.join(bad)}" if bad else ""


def _airflow(*words: str) -> list[str]:
    # -P: the folder we stand in is not searched for modules.
    return [sys.executable, "-P", "-m", "airflow", *words]


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
        # Two readers of events live in two of these; three syncs and a backfill find place beside them.
        "PARALLELISM": 6,
        "FERNET_KEY": secrets.fernet_key,
        "SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in PEOPLE.items()),
        "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": _passwords_file(),
        "EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{ports['airflow']}/execution/",
        "DAGS_ARE_PAUSED_AT_CREATION": False,
        "MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 1,
        "TEST_CONNECTION": "Enabled",
        # The default asks the name service, which a machine without a network waits for.
        "HOSTNAME_CALLABLE": "socket.gethostname",
    }


def _database_settings(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    place = f"airflow:{secrets.metadata_password}@127.0.0.1:{ports['metadata']}/airflow"
    return {
        # Both drivers by name: SQLAlchemy 2.1 takes plain postgresql:// for psycopg 3, Airflow expects psycopg2.
        "SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{place}",
        "SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{place}",
    }


def _api_settings(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    return {
        "HOST": "127.0.0.1",
        "PORT": ports["airflow"],
        "BASE_URL": f"http://127.0.0.1:{ports['airflow']}",
        "WORKERS": 1,
        "SECRET_KEY": secrets.api_secret_key,
        # Also how long `down` would wait for an open browser tab.
        "WORKER_TIMEOUT": 30,
        "INSTANCE_NAME": "Crossdock",
    }


_LOGGING_SETTINGS: dict[str, object] = {
    "COLORED_CONSOLE_LOG": False,
    "UVICORN_LOGGING_LEVEL": "WARNING",
    "WORKER_LOG_SERVER_PORT": _NO_LOG_SERVER,
    "TRIGGER_LOG_SERVER_PORT": _NO_LOG_SERVER,
    # A line per request; and, while somebody looks at a running task, a stack trace per refresh about the log
    # server that is not there.
    "NAMESPACE_LEVELS": "http.access=WARNING airflow.utils.log.file_task_handler=CRITICAL",
}

_SCHEDULER_SETTINGS: dict[str, object] = {
    # A task whose process was killed is noticed in half a minute, not in five.
    "TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
    "TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
    "ORPHANED_TASKS_CHECK_INTERVAL": 30,
}
