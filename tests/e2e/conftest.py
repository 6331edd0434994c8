"""A whole stack, started by the command that users have: two PostgreSQL servers, the sandbox, a real Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from crossdock.core.settings import UNSCHEDULED
from crossdock.stack import processes
from crossdock.stack.ports import VARIABLES
from tests.shop import free_port

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Hub:
    """`./hub` with a home and ports of its own, so that it meets no other stack."""

    environment: dict[str, str]

    def __call__(self, *words: str, exit_code: int | None = 0, timeout_s: float = 1_800) -> str:
        """What `./hub WORDS` prints; *exit_code* None for any."""
        ended = subprocess.run(
            [sys.executable, "-m", "crossdock.cli", *words],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if exit_code is not None:
            assert ended.returncode == exit_code, f"{words} exited {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr

    def json(self, *words: str, exit_code: int | None = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self(*words, "--json", exit_code=exit_code).splitlines()[0])
        return document


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Tests with a stack of their own come first, so that two stacks do not share the machine.

    Of those that share one, the story comes first: it tells a stack that nobody has used.
    """
    here = [at for at, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    in_order = sorted((items[at] for at in here), key=_turn)
    for at, item in zip(here, in_order, strict=True):
        items[at] = item


def _turn(item: pytest.Item) -> int:
    """0 with a stack of its own, 1 for the story, 2 for all that share its stack."""
    is_shared = "hub" in getattr(item, "fixturenames", ())
    return (1 if item.path.name == "test_story.py" else 2) if is_shared else 0


@contextmanager
def running_hub(home: Path, **settings: str) -> Iterator[Hub]:
    """A stack in *home* on ports of its own, ended at the end; *settings* are environment variables."""
    ports = {variable: str(free_port()) for variable in VARIABLES.values()}
    environment = {
        **os.environ,
        "HUB_HOME": str(home),
        **ports,
        # A scheduled run in the middle of a test would load its changes.
        "HUB_STREAMS": UNSCHEDULED,
        "HUB_RETRY_DELAY_S": "1",
        "COLUMNS": "160",
        **settings,
    }
    command = Hub(environment)
    try:
        command("up")
        yield command
    finally:
        command("down")
        left = processes_of(home)
        assert left == [], "`down` ends all that `up` started, and all that came of it"


def processes_of(home: Path) -> list[str]:
    """
    Every process at work for the stack in *home*: by its working folder, or by its environment.

    Not by our own records: a worker of Airflow that outlived its scheduler is in none.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            is_inside = Path(process.cwd()).is_relative_to(home.resolve())
            if is_inside or process.environ().get(processes.MARKER, "").endswith(f"@{home.resolve()}"):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with running_hub(tmp_path_factory.mktemp("e2e") / "home") as command:
        yield command
