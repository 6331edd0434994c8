"""A further simulated system that runs for some steps of the demo, as a process of its own on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from crossdock.cli.demo.checks import DemoFailed
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.errors import NotFound
from crossdock.core.paths import path_of

_STOP_TIMEOUT_S = 30.0
#: The simulated systems are on this machine; without it, no connection may lead into a private network.
LOOPBACK = ("127.0.0.0/8",)


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


@contextmanager
def connected(
    hub: HubApi,
    name: str,
    kind: str,
    system: SandboxControl,
    credentials: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Add an integration with a simulated system; remove it when the block ends."""
    remove_integration(hub, name)  # one that an interrupted demo left
    settings = {"base_url": system.url, "allowed_networks": LOOPBACK, **(settings or {})}
    hub.post("/integrations", {"id": name, "kind": kind, "settings": settings, "credentials": credentials})
    try:
        yield
    finally:
        remove_integration(hub, name)


def remove_integration(hub: HubApi, integration: str) -> None:
    """Remove an integration, if it is there."""
    try:
        found = hub.get(path_of("integrations", integration))
    except NotFound:
        return
    hub.delete(path_of("integrations", integration), if_match=found.etag)
