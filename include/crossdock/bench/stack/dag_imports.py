"""
What each DAG file costs to import once Airflow is there: `{file: [seconds, …]}` on standard output.

Airflow's dag-processor imports each file anew in a process that it forks from itself; so does this program.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from contextlib import suppress
from importlib import import_module

_TIMES = 5


def main(files: list[str]) -> None:
    _import_airflow()
    sys.stdout.write(json.dumps({file: [_seconds_in_a_fork(file) for _ in range(_TIMES)] for file in files}) + "\n")


def _import_airflow() -> None:
    """All that is Airflow's own, whichever of it a file uses."""
    import_module("airflow.dag_processing.processor")
    sdk = import_module("airflow.sdk")
    for name in sdk.__all__:  # each is imported when it is first asked for
        with suppress(AttributeError, ImportError):
            getattr(sdk, name)


def _seconds_in_a_fork(file: str) -> float:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        began = time.perf_counter()
        runpy.run_path(file)
        os.write(writes, f"{time.perf_counter() - began}".encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as said:
        told = said.read()
    os.waitpid(child, 0)
    return float(told)


if __name__ == "__main__":
    main(sys.argv[1:])
