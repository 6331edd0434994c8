"""
The health check of a container of Airflow: `python -m crossdock.stack.container_health API_SERVER PART`.

Compose marks a container as unhealthy and leaves it at that. So the check ends the container's main process when its part
has given no heartbeat at two looks in a row, and the restart policy starts it again. It does so only by Airflow's own word:
when the api-server or the database does not answer, a restart of another process would help nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import psutil  # type: ignore[import-untyped]

#: A container that has just been started has the heartbeats of the one before it.
_START_S = 180.0
_TIMEOUT_S = 8.0
#: Part of the health report → the word of the command that it is.
_COMMANDS = {"scheduler": "scheduler", "dag_processor": "dag-processor", "triggerer": "triggerer"}
_SEEN = Path("/tmp/crossdock-no-heartbeat")  # noqa: S108  of the container

Verdict = Literal["healthy", "unknown", "silent"]


def verdict(report: dict[str, Any] | None, part: str) -> Verdict:
    """Judge *part* by what Airflow reports; None: it did not answer."""
    if report is None or (report.get("metadatabase") or {}).get("status") != "healthy":
        return "unknown"
    if part == "metadatabase" or (report.get(part) or {}).get("status") == "healthy":
        return "healthy"
    return "silent"


def is_to_be_ended(found: Verdict, *, age_s: float, was_silent: bool) -> bool:
    """
    Whether the main process has to be replaced.

    Args:
        found: By this look.
        age_s: For how long the main process has been running.
        was_silent: Whether the look before this one found the same: after a machine was suspended, one does.

    """
    return found == "silent" and was_silent and age_s > _START_S


def main_process(part: str) -> psutil.Process | None:
    """
    Find Airflow's process directly below the init process of this container.

    None outside of a container, where it may be that of any stack. What an engine starts in a container, as this check, has
    its parent outside of it.
    """
    if os.getppid() != 0:
        return None
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.ppid() == 1 and {"airflow", _COMMANDS.get(part, "")} <= _words(process):
                return process
    return None


def _words(process: psutil.Process) -> set[str]:
    """Split a command line, or the title that Airflow gives itself instead of it, into names."""
    return {Path(word).name for argument in process.cmdline() for word in argument.split()}


def ask(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=_TIMEOUT_S) as answer:  # noqa: S310  the address is declared
            report: dict[str, Any] = json.load(answer)
    except (OSError, ValueError, HTTPException):
        return None
    return report


def check(url: str, part: str) -> int:
    """Return the exit code of the check: 0 for healthy."""
    found = verdict(ask(url), part)
    was_silent = _SEEN.exists()
    if found == "silent":
        _SEEN.touch()
    else:
        _SEEN.unlink(missing_ok=True)
    process = main_process(part)
    if process is not None and is_to_be_ended(found, age_s=time.time() - process.create_time(), was_silent=was_silent):
        # A frozen process takes no other signal.
        os.kill(process.pid, signal.SIGKILL)
    return int(found != "healthy")


if __name__ == "__main__":
    sys.exit(check(sys.argv[1], sys.argv[2]))
