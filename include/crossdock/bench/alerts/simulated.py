"""Simulated systems that run beside the measured stack."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.sandbox import SandboxControl


@contextmanager
def simulated(name: str, credentials: Mapping[str, str]) -> Iterator[SandboxControl]:
    """
    Run the simulated system *name* on a free port until the block ends; *credentials* are environment variables.

    Raises:
        ProgramFailed: it did not start.

    """
    seed = ["--seed", str(secrets.randbits(32))] if name == "stripe" else []
    command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--system", name, "--port", "0", *seed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **credentials}) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise ProgramFailed(f"The simulated system {name} did not start")
            yield SandboxControl(str(json.loads(line)["url"]))
        finally:
            process.kill()
