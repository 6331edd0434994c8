"""How each process of the stack is started and ended by itself: by `up`, and by the supervisor when it has to be replaced."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from crossdock.core.ids import prefixed
from crossdock.core.stack_proof import KEY_VARIABLE
from crossdock.stack import airflow, mail_systems, ports, processes
from crossdock.stack.home import home, read_json
from crossdock.stack.secrets import Secrets

if TYPE_CHECKING:
    from crossdock.stack.postgres import PostgresServer

POSTGRES = ("postgres-metadata", "postgres-hub")
SUPERVISOR, GUARD = "supervisor", "supervisor-guard"
#: Two, because either may be killed or frozen: each replaces the other.
SUPERVISORS = (SUPERVISOR, GUARD)
#: What they watch, in the order in which it starts.
NAMES = (*POSTGRES, "sandbox", *mail_systems.PORTS, "alert-sender", *airflow.COMMANDS)

SANDBOX_ARGUMENTS = "sandbox-arguments.json"
#: What is replaced gets little time to end: nobody can receive the reports of what it leaves behind.
_GRACE_S = 2.0


def hub_dsn(numbers: Mapping[str, int], secrets: Secrets) -> str:
    """Build the address of the hub's database for the role `hub`, password included."""
    return f"postgresql://{_address('hub', secrets.hub_password, numbers['hub-db'])}"


def metadata_dsn(numbers: Mapping[str, int], secrets: Secrets) -> str:
    """Build the address of Airflow's database for the role `airflow`, password included."""
    return f"postgresql://{_address('airflow', secrets.metadata_password, numbers['metadata'])}"


def _address(owner: str, password: str, port: int) -> str:
    # A password that somebody wrote into secrets.json may have any character.
    return f"{owner}:{quote(password, safe='')}@{ports.LOOPBACK}:{port}/{owner}?{ports.ONLY_SCRAM}"


def servers(numbers: Mapping[str, int], secrets: Secrets) -> dict[str, PostgresServer]:
    """Describe the two PostgreSQL servers, running or not, by process name."""
    from crossdock.stack.postgres import HUB_OPTIONS, METADATA_OPTIONS, PostgresServer  # noqa: PLC0415  only for a start

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


def start(name: str, numbers: Mapping[str, int], secrets: Secrets) -> None:
    """Start one of `NAMES` or `SUPERVISORS` in the environment of this process, record it, and do not wait for it."""
    if name in POSTGRES:
        server = servers(numbers, secrets)[name]
        processes.save_record(name, server.launch(), port=server.port, log=server.log)
    elif name in SUPERVISORS:
        start_supervisor(name)
    elif name in mail_systems.PORTS:
        mail_systems.start(name, numbers, secrets)
    elif name == "sandbox":
        start_sandbox(numbers, secrets, sandbox_arguments())
    elif name == "alert-sender":
        start_alert_sender(numbers, secrets)
    else:
        airflow.start_process(name, numbers, airflow.airflow_environment(numbers, secrets))


def end(name: str, numbers: Mapping[str, int], secrets: Secrets) -> None:
    """
    End one of `NAMES` or `SUPERVISORS` with all its descendants, frozen ones too, and keep its record.

    A killed scheduler leaves workers behind that would run beside the new one; Airflow notices that their tasks send no
    heartbeats. PostgreSQL's own log of changes makes a server that was killed whole again.
    """
    if name in POSTGRES:
        servers(numbers, secrets)[name].stop("immediate", timeout_s=_GRACE_S)
    else:
        processes.end([name], grace_s=_GRACE_S)


def start_supervisor(name: str) -> None:
    """Start one of `SUPERVISORS`; what it starts has the environment of this process."""
    # What the one before it has found is not so any more.
    conditions_file(name).unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "crossdock.stack.supervisor", name]
    processes.start(name, command, environment=airflow.child_environment())


def conditions_file(name: str) -> Path:
    """Name the file in which one of `SUPERVISORS` tells the commands what it has found."""
    return home() / f"{name}.json"


def start_sandbox(numbers: Mapping[str, int], secrets: Secrets, arguments: Sequence[str]) -> None:
    command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--port", str(numbers["sandbox"])]
    command += ["--client-id", sandbox_client(), "--journal", str(_journal_of(arguments)), *arguments]
    environment = {**airflow.child_environment(), KEY_VARIABLE: secrets.stack_key}
    environment["SANDBOX_CLIENT_SECRET"] = secrets.sandbox_client_secret
    processes.start("sandbox", command, environment=environment, port=numbers["sandbox"])


def start_alert_sender(numbers: Mapping[str, int], secrets: Secrets) -> None:
    """Start what sends alerts. Its environment says where the hub's database is: Airflow's, which knows it too, may be down."""
    address = hub_dsn(numbers, secrets).replace("postgresql://", "postgres://", 1)
    settings = airflow.airflow_environment(numbers, secrets)
    environment = {
        f"AIRFLOW_CONN_{prefixed('hub_db').upper()}": address,
        "HUB_AIRFLOW_URL": f"http://{ports.LOOPBACK}:{numbers['airflow']}",
        **settings,
    }
    command = [sys.executable, "-P", "-m", "crossdock.app.alert_sender"]
    processes.start("alert-sender", command, environment=environment)


def sandbox_arguments() -> list[str]:
    """Read the arguments of the last `restart_sandbox`."""
    saved = read_json(home() / SANDBOX_ARGUMENTS)
    return [str(word) for word in saved] if isinstance(saved, list) else []


def _journal_of(arguments: Sequence[str]) -> Path:
    """Name the journal of the shop that *arguments* select: each shop keeps its own changes while another one runs."""
    digest = hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:8]
    return home() / (f"sandbox-{digest}.jsonl" if arguments else "sandbox.jsonl")


def sandbox_client() -> str:
    """Read the client ID with which the hub signs in at the sandbox."""
    from crossdock.stack.settings_file import read_settings  # noqa: PLC0415  loads YAML, only for a start

    connections = {connection["connection_id"]: connection for connection in read_settings().connections}
    return str(connections[prefixed("commercetools")]["login"])
