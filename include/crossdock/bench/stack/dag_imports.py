"""
Measure the import of each DAG file once Airflow is loaded: `{file: [[seconds, CPU seconds], …]}` on standard output.

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

_REPEAT = 5


def main(files: list[str]) -> None:
    import_module("airflow.dag_processing.processor")
    sdk = import_module("airflow.sdk")
    for name in sdk.__all__:  # each is imported at its first use, and a file may use any
        with suppress(AttributeError, ImportError):
            getattr(sdk, name)
    seconds = {file: [_measured_in_a_fork(file) for _ in range(_REPEAT)] for file in files}
    sys.stdout.write(json.dumps(seconds) + "\n")


def _measured_in_a_fork(file: str) -> tuple[float, float]:
    """Import *file*; return the seconds that have passed, and those of CPU."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        began, cpu_before = time.perf_counter(), time.process_time()
        runpy.run_path(file)
        taken = time.perf_counter() - began, time.process_time() - cpu_before
        os.write(writes, json.dumps(taken).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        wall_s, cpu_s = json.loads(pipe.read())
    os.waitpid(child, 0)
    return wall_s, cpu_s


if __name__ == "__main__":
    main(sys.argv[1:])
