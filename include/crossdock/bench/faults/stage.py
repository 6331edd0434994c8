"""The stack on which the faults are made: a home with disks of its own, its processes, its commands."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import requests

from crossdock.bench.environment import environment
from crossdock.bench.faults.load import Load, webhook_connection
from crossdock.bench.interrupts import exit_on_signals
from crossdock.bench.report import Say
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.airflow import AirflowApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.ids import sync_dag
from crossdock.core.paths import path_of
from crossdock.events.webhooks_in.service import connection_of
from crossdock.stack import lifecycle, processes
from crossdock.stack.doctor import NEEDED_DISK_BYTES
from crossdock.stack.lifecycle import Stack

SYSTEM = "commercetools"
INVENTORY_DAG = sync_dag(f"{SYSTEM}.inventory")
#: Where Airflow lists and starts its runs.
INVENTORY_RUNS = path_of("dags", INVENTORY_DAG, "dagRuns")
#: Three syncs at work: the inventory's every minute, the others' every two.
_SCHEDULES = {
    f"{SYSTEM}.inventory": {"schedule": "* * * * *"},
    f"{SYSTEM}.products": {"schedule": "*/2 * * * *"},
    f"{SYSTEM}.orders": {"schedule": "1-59/2 * * * *"},
    "*": {"schedule": ""},
}
#: Volume → its folders in the home, each on a disk of its own.
_VOLUMES: Mapping[str, tuple[str, ...]] = {
    "logs": ("logs", "airflow/logs"),
    "landing": ("landing",),
    "postgres-hub": ("postgres-hub",),
    "postgres-metadata": ("postgres-metadata",),
}
#: Of each disk. So much that `doctor` finds none too small that is not full; its file takes as much as was written.
_DISK_BYTES = NEEDED_DISK_BYTES + 1024**3
_COMMAND_TIMEOUT_S = 45.0
_UP_TIMEOUT_S = 400.0
#: The title of a task's process; its parent is its supervisor, which the executor keeps.
_TASK_TITLE = "airflow worker -- "


@dataclass(frozen=True)
class Command:
    """What a command answered; no exit code where it was given up."""

    exit_code: int | None
    output: str

    @property
    def document(self) -> dict[str, Any]:
        """Read its JSON; empty where there is none."""
        for line in self.output.splitlines():
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    return found
        return {}


class Stage:
    """A running stack under load. Names of processes are those of `./hub status`."""

    def __init__(self, home: Path, volumes: Mapping[str, tuple[Path, ...]], say: Say, every_s: float) -> None:
        self.home, self.volumes, self.say = home, volumes, say
        self.key = secrets.token_bytes(24)
        #: When the present fault began, where that is not when its preparation ended.
        self.hit_at: float | None = None
        webhooks = f"{self.stack.airflow_url}/hub/v1/webhooks/{SYSTEM}"
        self.load = Load(self.stack.sandbox_url, webhooks, self.key, every_s)

    @cached_property
    def stack(self) -> Stack:
        from crossdock.stack import ports  # noqa: PLC0415  its saved ports are there after the start

        return Stack(ports.saved())

    @cached_property
    def api(self) -> AirflowApi:
        return self.stack.api()

    @cached_property
    def token(self) -> str:
        return self.api.new_token()

    @property
    def sandbox(self) -> SandboxControl:
        return SandboxControl(self.stack.sandbox_url)

    def begin(self) -> None:
        """Connect the sender of webhooks, fill the hub, and start the load."""
        self.api.put_connection(webhook_connection(connection_of(SYSTEM), self.key))
        self.api.wait_for_dag(INVENTORY_DAG)
        _ = self.token
        self.load.start()

    def hit(self) -> None:
        """Note that the fault begins now, once for each."""
        self.hit_at = self.hit_at or time.time()

    def pid(self, name: str) -> int:
        return processes.records()[name].pid

    def names_like(self, *words: str) -> list[str]:
        """Find the recorded processes whose name has one of *words*."""
        return [name for name in processes.records() if any(word in name for word in words)]

    def signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Ask Airflow as the admin, with little patience; raises a RequestException."""
        arguments.setdefault("timeout", 5.0)
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.stack.airflow_url}/api/v2{path}"
        answer = requests.request(method, url, headers=headers, **arguments)  # noqa: S113  it is among them
        answer.raise_for_status()
        return answer.json()

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read rows of the hub's database over a connection of its own; raises psycopg's errors."""
        options = "-c search_path=hub -c statement_timeout=4000"
        with psycopg.connect(self.stack.hub_dsn, connect_timeout=2, options=options, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def command(self, *words: str, timeout_s: float = _COMMAND_TIMEOUT_S) -> Command:
        """Run `./hub WORDS`."""
        words = (sys.executable, "-P", "-m", "crossdock.cli", *words)
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return Command(None, "")
        return Command(done.returncode, done.stdout + done.stderr)

    def up(self) -> Command:
        return self.command("up", timeout_s=_UP_TIMEOUT_S)

    def down(self) -> Command:
        return self.command("down", timeout_s=_UP_TIMEOUT_S)

    def task_processes(self, dag_id_begins: str) -> list[psutil.Process]:
        """Find the processes of the running tasks of the DAGs with such names; their parents supervise them."""
        path = path_of("dags", "~", "dagRuns", "~", "taskInstances")
        found = self.request("GET", path, params={"state": "running", "limit": 50})
        ids = {task["id"] for task in found["task_instances"] if task["dag_id"].startswith(dag_id_begins)}
        titles = {f"{_TASK_TITLE}{task_id}" for task_id in ids}
        members = processes.members(["scheduler"])["scheduler"]
        running = []
        for process in members:
            with suppress(psutil.Error, IndexError):
                if process.cmdline()[0].strip() in titles:
                    running.append(process)
        return running


@contextmanager
def running_stage(say: Say, *, every_s: float = 0.5) -> Iterator[Stage]:
    """Start a stack with disks of its own, under a load of a change each *every_s* seconds, and remove it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="crossdock-bench-faults-", dir="/var/tmp"))
    # As root, PostgreSQL runs as another user, who must be able to enter.
    root.chmod(0o755)
    home = root / "home"
    ours = {"HUB_HOME": str(home), "HUB_STREAMS": json.dumps(_SCHEDULES), "COLUMNS": "200"}
    volumes: dict[str, tuple[Path, ...]] = {}
    stage: Stage | None = None
    with environment(ours), exit_on_signals():
        try:
            home.mkdir(parents=True, exist_ok=True)
            volumes = _mounted(root, home, say)
            stage = _started(home, volumes, say, every_s)
            yield stage
        finally:
            if stage:
                stage.load.stop()
            lifecycle.down()
            for folders in volumes.values():
                for mounted in folders:
                    _run("umount", "-l", str(mounted))
            shutil.rmtree(root, ignore_errors=True)


def _started(home: Path, volumes: Mapping[str, tuple[Path, ...]], say: Say, every_s: float) -> Stage:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-P", "-m", "crossdock.cli", "up"], check=False)
    if done.returncode:
        raise ProgramFailed(f"./hub up ended with {done.returncode}; its output is above")
    say(f"The stack runs after {time.monotonic() - began:.0f} s")
    stage = Stage(home, volumes, say, every_s)
    stage.begin()
    return stage


def _mounted(root: Path, home: Path, say: Say) -> dict[str, tuple[Path, ...]]:
    """Give each volume a disk in a file of its own; empty where this user may mount nothing."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        say("No disks of their own: that needs root and mkfs.ext4")
        return {}
    found: dict[str, tuple[Path, ...]] = {}
    for name, folders in _VOLUMES.items():
        for folder in folders:
            at = home / folder
            at.mkdir(parents=True, exist_ok=True)
            image = root / f"{folder.replace('/', '-')}.img"
            with image.open("wb") as file:
                file.truncate(_DISK_BYTES)
            if not _run("mkfs.ext4", "-q", "-m", "0", "-E", "root_owner=0:0", str(image)):
                return found
            if not _run("mount", "-o", "loop", str(image), str(at)):
                say("No disks of their own: this machine mounts none")
                return found
            (at / "lost+found").rmdir()
            found[name] = (*found.get(name, ()), at)
    return found


def _run(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
