"""./hub doctor finds each of ten faults that a test puts in, and names what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from crossdock.app.database import migrate
from crossdock.core.stack_proof import CHALLENGE, PROOF, proof_of
from crossdock.stack import doctor, memory, processes, starts, volumes
from crossdock.stack.doctor import Check, examine
from crossdock.stack.home import write_json
from crossdock.stack.postgres import PostgresServer
from crossdock.stack.secrets import load_secrets
from crossdock.stack.volumes import Volume


class AirflowStandIn(ThreadingHTTPServer):
    """Answers as Airflow's API does. With the stack's key it is ours, without it somebody else's."""

    daemon_threads = True

    def __init__(self, key: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.connections = ["hub_db", "commercetools"]
        self.dags: dict[str, bool] = {"deliver_events": False, "deliver_events_2": False, "clean_up": False}

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def document(self, path: str, query: dict[str, list[str]]) -> Any:
        offset, limit = (int(query.get(name, [default])[0]) for name, default in (("offset", "0"), ("limit", "50")))
        healthy = {part: {"status": "healthy"} for part in ("metadatabase", "scheduler", "dag_processor", "triggerer")}
        lists: dict[str, list[dict[str, Any]]] = {
            "importErrors": [],
            "connections": [{"connection_id": name} for name in self.connections],
            "dags": [{"dag_id": name} for name, is_paused in self.dags.items() if is_paused],
        }
        name = path.rpartition("/")[2]
        if name not in lists:
            return {"access_token": "t"} if name == "token" else healthy
        field = {"importErrors": "import_errors"}.get(name, name)
        # As Airflow has it: never more than 100.
        return {field: lists[name][offset : offset + min(limit, 100)], "total_entries": len(lists[name])}


class _Handler(BaseHTTPRequestHandler):
    server: AirflowStandIn

    def answer(self) -> None:
        place = urlsplit(self.path)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = json.dumps(self.server.document(place.path, parse_qs(place.query))).encode()
        self.send_response(200)
        challenge = self.headers.get(CHALLENGE)
        if self.server.key and challenge:
            self.send_header(PROOF, proof_of(self.server.key, challenge, self.server.port))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Machine:
    """A machine with a stack of a test, in which a fault is put."""

    home: Path
    tmp: Path
    monkeypatch: pytest.MonkeyPatch
    undo: ExitStack

    def airflow(self, key: str | None) -> AirflowStandIn:
        """Let the stack's api-server be a stand-in with this key, or with none."""
        server = AirflowStandIn(key)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.undo.callback(thread.join)
        self.undo.callback(server.shutdown)
        self.runs("api-server", "airflow", server.port)
        return server

    def hub_database(self) -> PostgresServer:
        """Start the hub's server, with an empty database."""
        port = self.free_port()
        server = starts.servers({"metadata": port, "hub-db": port}, load_secrets())["postgres-hub"]
        server.initialise()
        self.undo.callback(server.remove)
        server.start()
        self.undo.callback(server.stop, "immediate")
        server.create_database("hub", owner="hub", password=load_secrets().hub_password)
        self.runs("postgres-hub", "hub-db", port)
        return server

    def runs(self, process: str, server: str, port: int) -> None:
        """Record that *process* runs: this one stands for it."""
        processes.save_record(process, os.getpid(), port=port, log=processes.log_of(process))
        write_json(self.home / "ports.json", {server: port})

    def free_port(self) -> int:
        import socket  # noqa: PLC0415

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


@pytest.fixture
def machine(open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The home is where root's PostgreSQL server, which runs as nobody, may read."""
    home = open_folder / "home"
    home.mkdir(mode=0o755)
    monkeypatch.setenv("HUB_HOME", str(home))
    with ExitStack() as undo:
        yield Machine(home, tmp_path, monkeypatch, undo)


def a_full_disk(machine: Machine) -> str:
    """At the doctor's edge: nobody fills the disk of a test."""
    full = Volume({"landing": machine.home / "landing"}, free_bytes=40 * 1024**2, free_inodes=0.5)
    machine.monkeypatch.setattr(volumes, "volumes", lambda: [full])
    return f"disk space of landing: 0.0 GB free, 50% of the inodes → Free space on the disk of {machine.home}/landing"


def a_wrong_clock(machine: Machine) -> str:
    """The clock was an hour ahead, and was set back: the files of then are from the future."""
    write_json(machine.home / "ports.json", {})
    os.utime(machine.home / "ports.json", (time.time() + 3_600,) * 2)
    return "ports.json has a time 3,600 s in the future: the clock was set back → Set the clock of this machine (NTP)"


def a_taken_port(machine: Machine) -> str:
    stranger = AirflowStandIn(None)
    machine.undo.callback(stranger.server_close)
    machine.monkeypatch.setitem(doctor.ports.PREFERRED, "sandbox", stranger.port)
    return (
        f"port of sandbox: port {stranger.port} is used by {psutil.Process().name()} (process {os.getpid()}) → "
        f"To have {stranger.port}: end that program. To choose another one: HUB_PORT_SANDBOX=PORT ./hub up"
    )


def a_changed_secret(machine: Machine) -> str:
    machine.hub_database()
    secrets = json.loads((machine.home / "secrets.json").read_text())
    write_json(machine.home / "secrets.json", {**secrets, "hub_password": "another-one"})
    return "postgres-hub answers: password authentication failed → Put secrets.json back as it was: from a backup"


def lost_secrets(machine: Machine) -> str:
    """It said that the next start generates them: with those no database opens."""
    (machine.home / "postgres-hub").mkdir()
    return "secrets.json is gone, and postgres-hub cannot be opened without it → Put secrets.json back as it was"


def a_paused_delivery(machine: Machine) -> str:
    airflow = machine.airflow(load_secrets().stack_key)
    airflow.dags["deliver_events_2"] = True
    return f"delivery: paused: deliver_events_2 → Unpause it: http://127.0.0.1:{airflow.port}/dags/deliver_events_2"


def a_stopped_process(machine: Machine) -> str:
    del machine
    processes.save_record("scheduler", 2**22 + 1, port=None, log=processes.log_of("scheduler"))
    return f"scheduler: ended → To start it: ./hub up. Its log: {processes.log_of('scheduler')}"


def a_failed_migration(machine: Machine) -> str:
    """One that ended before its end: the schema has the version before the last."""
    machine.hub_database()
    migrate(starts.hub_dsn(doctor.ports.saved(), load_secrets()))
    with psycopg.connect(starts.hub_dsn(doctor.ports.saved(), load_secrets())) as connection:
        connection.execute("UPDATE hub.hub_alembic_version SET version_num = '0001'")
    return "hub schema: not the version that this code needs → ./hub down, then ./hub up: it migrates"


def a_read_only_folder(machine: Machine) -> str:
    """A mount can be read only for root too; a mode cannot. So the refusal is the file system's own, at the doctor's edge."""
    (machine.home / "landing").mkdir()
    real = volumes.write_error
    machine.monkeypatch.setattr(
        volumes, "write_error", lambda folder: "Read-only file system" if folder.name == "landing" else real(folder)
    )
    return f"landing cannot be written: Read-only file system → Free space on the disk of {machine.home}/landing, or allow writing to it"


def an_old_python(machine: Machine) -> str:
    machine.monkeypatch.setattr(doctor, "_NEEDED_PYTHON", (3, 99))
    return "Python: 3. → Install Python 3.11 or newer, delete .venv and run ./hub up"


def a_foreign_airflow(machine: Machine) -> str:
    """Another project's Airflow has the port of ours."""
    load_secrets()
    airflow = machine.airflow(None)
    return f"api-server: another program answers at port {airflow.port} → ./hub down, then ./hub up takes another port"


def another_version_of_airflow(machine: Machine) -> str:
    machine.monkeypatch.setattr(doctor.metadata, "version", lambda _: "2.10.5")
    return "Airflow's version: 2.10.5 is installed, and this code needs 3. → Delete .venv, then run ./hub up"


def too_little_memory(machine: Machine) -> str:
    """At the doctor's edge, as with the disk."""
    machine.monkeypatch.setattr(memory, "available", lambda: 1024**3)
    return "memory: 1.1 GB, 3 tasks at once → Give the machine or its container 2 GB"


FAULTS: list[Callable[[Machine], str]] = [
    a_full_disk,
    a_wrong_clock,
    a_taken_port,
    a_changed_secret,
    lost_secrets,
    a_paused_delivery,
    a_stopped_process,
    a_failed_migration,
    a_read_only_folder,
    an_old_python,
    a_foreign_airflow,
    another_version_of_airflow,
    too_little_memory,
]
#: Not faults: a start goes on in spite of them.
REMARKS = {a_taken_port}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_doctor_finds_a_fault_and_names_its_remedy(machine: Machine, fault: Callable[[Machine], str]) -> None:
    """The line alone leaves a person where they were."""
    line, _, remedy = fault(machine).partition(" → ")

    checks = examine()

    found = [each for each in checks if _is_about(line, each)]
    assert found, "\n".join(f"{each.name}: {each.found}" for each in checks)
    (check,) = found
    assert check.ok == (fault in REMARKS)
    assert _without_paths(remedy) in _without_paths(check.fix or "")
    assert not [each.name for each in checks if "Error: " in each.found], "a check that fails itself names no remedy"


def _is_about(line: str, check: Check) -> bool:
    """Whether *check* says *line*: its words in their order."""
    said, at = f"{check.name}: {check.found}", 0
    for part in line.split(": "):
        at = said.find(part, at)
        if at < 0:
            return False
    return True


def _without_paths(text: str) -> str:
    """The project's own folder is another one on each machine."""
    return text.replace(f"{doctor.project()}/", "")


def test_a_well_machine_has_no_fault(machine: Machine) -> None:
    """Otherwise a fault that the doctor always finds would pass for each of the above."""
    (machine.home / "landing").mkdir()
    load_secrets()

    checks = {each.name: each for each in examine()}

    assert [f"{each.name}: {each.found}" for each in checks.values() if not each.ok and "disk" not in each.name] == []


def test_a_file_that_no_start_writes_says_nothing_of_the_clock(machine: Machine) -> None:
    """The remedy, a new start, left it as it was: the fault stayed for ever."""
    load_secrets()
    os.utime(machine.home / "secrets.json", (time.time() + 3_600,) * 2)

    checks = {each.name: each for each in examine()}

    assert checks["clock"].ok


def test_the_doctor_writes_no_secrets(machine: Machine) -> None:
    """With new ones no database opens, and the backup's file would be one of two."""
    machine.airflow(None)
    (machine.home / "postgres-hub").mkdir()

    checks = {each.name: each for each in examine()}

    assert not checks["secrets"].ok
    assert not (machine.home / "secrets.json").exists()
    assert not [each.name for each in checks.values() if "Error: " in each.found]


_SILENT = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    input()
"""


def test_our_own_server_that_hangs_is_not_a_program_to_end(machine: Machine) -> None:
    """It accepts connections, as the kernel does for it, and answers none."""
    load_secrets()
    machine.monkeypatch.setattr(doctor, "_PROOF_TIMEOUT_S", 0.3)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _SILENT], stdin=pipe, stdout=pipe, start_new_session=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        processes.save_record("api-server", server.pid, port=port, log=processes.log_of("api-server"))
        write_json(machine.home / "ports.json", {"airflow": port})

        check = next(each for each in examine() if each.name == "api-server")
        server.communicate(b"\n")

    assert f"it does not answer at port {port}" in check.found
    assert check.fix == "./hub down, then ./hub up"


def test_the_doctor_reads_every_connection(machine: Machine) -> None:
    """Airflow answers with 100 at most: with more, those of airflow_settings.yaml looked as if they were gone."""
    airflow = machine.airflow(load_secrets().stack_key)
    airflow.connections = [f"shop_{number}" for number in range(250)]
    airflow.connections += [connection["connection_id"] for connection in doctor.read_settings().connections]

    checks = {each.name: each for each in examine()}

    assert (checks["connections"].ok, checks["connections"].found) == (True, "all of airflow_settings.yaml")


def test_a_paused_sync_is_named_and_is_no_fault(machine: Machine) -> None:
    airflow = machine.airflow(load_secrets().stack_key)
    airflow.dags["sync_commercetools_inventory"] = True

    checks = {each.name: each for each in examine()}

    assert checks["delivery"].ok
    assert (checks["DAGs"].ok, checks["DAGs"].found) == (
        True,
        "paused: sync_commercetools_inventory; nothing starts their runs",
    )


def test_settings_of_another_airflow_are_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack leaves them out, so a person who set them for it looks for their effect in vain."""
    del machine
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "64")

    check = next(each for each in examine() if each.name == "another Airflow")

    assert "does not use: AIRFLOW" in check.found
    assert "AIRFLOW__CORE__PARALLELISM" in check.found
