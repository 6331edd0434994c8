"""The health check of Airflow's containers: what it calls healthy, and when it ends the main process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from crossdock.stack import container_health
from crossdock.stack.container_health import is_to_be_ended, main_process, verdict
from tests.deploy.compose import NO_COMPOSE, PROGRAM, declared, filled_in

WELL: dict[str, Any] = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "healthy"}}
SILENT: dict[str, Any] = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": "unhealthy"}}
NO_DATABASE: dict[str, Any] = {"metadatabase": {"status": "unhealthy"}, "scheduler": {"status": "unhealthy"}}


@pytest.mark.parametrize(
    ("report", "part", "expected"),
    [
        (WELL, "scheduler", "healthy"),
        (SILENT, "scheduler", "silent"),
        (SILENT, "metadatabase", "healthy"),
        (NO_DATABASE, "scheduler", "unknown"),
        (NO_DATABASE, "metadatabase", "unknown"),
        (None, "scheduler", "unknown"),
        ({}, "scheduler", "unknown"),
    ],
)
def test_a_part_is_silent_only_by_airflows_own_word(report: dict[str, Any] | None, part: str, expected: str) -> None:
    """While its database or the api-server is away, a restart of the scheduler would only end the tasks at work."""
    assert verdict(report, part) == expected


def test_a_silent_main_process_is_ended_at_the_second_look_and_not_while_it_starts() -> None:
    """The first look after a suspended machine finds every heartbeat old; so does one after a start."""
    assert is_to_be_ended("silent", age_s=3600, was_silent=True)
    assert not is_to_be_ended("silent", age_s=3600, was_silent=False)
    assert not is_to_be_ended("silent", age_s=60, was_silent=True)
    assert not is_to_be_ended("unknown", age_s=3600, was_silent=True)
    assert not is_to_be_ended("healthy", age_s=3600, was_silent=True)


def test_only_the_main_process_of_its_own_container_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with a stack of `./hub up`, the parent of that scheduler is the machine's init process, too."""
    code = "import sys, time; print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, "airflow", "scheduler"], stdout=subprocess.PIPE) as scheduler:
        assert scheduler.stdout is not None
        scheduler.stdout.readline()
        child = psutil.Process(scheduler.pid)
        monkeypatch.setattr(child, "ppid", lambda: 1)
        monkeypatch.setattr(container_health.psutil, "process_iter", lambda: [child])

        assert main_process("scheduler") is None, "this test is not in a container"
        monkeypatch.setattr(os, "getppid", lambda: 0)
        assert main_process("scheduler") == child
        assert main_process("triggerer") is None
        monkeypatch.undo()
        assert main_process("scheduler") is None
        scheduler.kill()


@pytest.mark.skipif(not PROGRAM.exists(), reason=NO_COMPOSE)
def test_each_part_of_airflow_is_asked_about_itself() -> None:
    """A check that asks about another part would end a well process."""
    services = declared(filled_in())["services"]
    asked = {
        name: service["healthcheck"]["test"][-1]
        for name, service in services.items()
        if "crossdock.stack.container_health" in service["healthcheck"].get("test", ())
    }

    assert asked == {
        "api-server": "metadatabase",
        "scheduler": "scheduler",
        "dag-processor": "dag_processor",
        "triggerer": "triggerer",
    }
    for name in asked:
        assert services[name]["init"], "the main process is a child of the init process"
        assert services[name]["restart"] == "unless-stopped"
