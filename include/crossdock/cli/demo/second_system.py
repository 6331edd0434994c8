"""A further simulated system that runs for some steps of the demo, as a process of its own on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from crossdock.cli.demo.checks import DemoFailed
from crossdock.client.sandbox import SandboxControl

_STOP_TIMEOUT_S = 30.0


@contextmanager
def second_system(name: str, arguments: Sequence[str], secrets: Mapping[str, str]) -> Iterator[SandboxControl]:
    """
    Run the simulated system *name* until the block ends.

    Args:
        name: As `python -m crossdock.sandbox --system` knows it.
        arguments: Further arguments for it.
        secrets: Environment variables with its credentials, which no process list shows.

    Raises:
        DemoFailed: it did not start; what it printed is on standard error.

    """
    command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--system", name, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **secrets}) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise DemoFailed(f"the simulated system {name} did not start")
            yield SandboxControl(str(json.loads(line)["url"]))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
