"""A start that is going on: how far it is and what it waits for, for whoever asks meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from crossdock.stack.home import home, read_json, write_json


class Step(StrEnum):
    """What a start waits for, in its order."""

    DATABASES = "the PostgreSQL servers"
    MIGRATION = "the migration of both databases"
    REGISTRY = "the registry of integrations"
    API = "Airflow's api-server"
    SIMULATED = "the sandbox and its mail systems"
    CONNECTIONS = "Airflow's connections and pools"
    AIRFLOW = "Airflow's scheduler, dag-processor and triggerer"


_STEPS = tuple(Step)


@dataclass(frozen=True)
class Starting:
    """A start that is going on now."""

    for_s: float
    waits_for: Step

    @property
    def sentence(self) -> str:
        done = _STEPS.index(self.waits_for)
        return f"starting for {self.for_s:.0f} s: {done} of {len(_STEPS)} steps are done, and it waits for {self.waits_for}"


@contextmanager
def reported() -> Iterator[None]:
    """Say from now on that the stack is starting, until this ends or its process does."""
    process = psutil.Process()
    write_json(_file(), {"pid": process.pid, "created_at": process.create_time(), "began_at": time.time()})
    try:
        wait_for(Step.DATABASES)
        yield
    finally:
        _file().unlink(missing_ok=True)


def wait_for(step: Step) -> None:
    """Say what this start waits for now."""
    if (known := read_json(_file())) and known["pid"] == os.getpid():
        write_json(_file(), {**known, "waits_for": step.value})


def now() -> Starting | None:
    """Read the start that is going on; None where none is, or its process has ended."""
    known = read_json(_file())
    try:
        process = psutil.Process(known["pid"]) if known else None
        if process is None or process.create_time() != known["created_at"]:
            return None
        return Starting(max(0.0, time.time() - known["began_at"]), Step(known["waits_for"]))
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None


def _file() -> Path:
    return home() / "starting.json"
