"""The simulated mail systems of the stack: both run, and the hub can send over them as it is registered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import check_connection
from crossdock.integrations.manifests import manifests
from crossdock.integrations.model import CheckOutcome
from crossdock.stack import mail_systems, ports, processes
from crossdock.stack.secrets import load_secrets
from tests.events.worlds import eventually
from tests.shop import free_port


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch, stack_home: Path) -> Iterator[dict[str, int]]:
    """The ports of running mail systems."""
    assert stack_home.exists()
    for name in ("mail-server", "smtp", "sendgrid"):
        monkeypatch.setenv(ports.VARIABLES[name], str(free_port()))
    numbers = ports.assign()
    for process in mail_systems.PORTS:
        mail_systems.start(process, numbers, load_secrets())
    yield numbers
    processes.stop(list(mail_systems.PORTS))


def test_each_integration_passes_its_connection_test(numbers: dict[str, int]) -> None:
    """With the credentials and networks that a start registers it with."""
    for listening in (server for servers in mail_systems.PORTS.values() for server in servers):
        eventually(lambda server=listening: ports.answers(numbers[server]), True)

    for document in mail_systems.connections(numbers, load_secrets()):
        outcomes = {check.name: check.outcome for check in _checks(document)}
        assert CheckOutcome.FAILED not in outcomes.values(), (document["connection_id"], outcomes)
        assert outcomes["credentials"] is CheckOutcome.OK


def _checks(document: dict[str, Any]) -> Any:
    connection = Connection(**{**document, "extra": json.loads(document["extra"])})
    return check_connection(manifests()[document["conn_type"]], connection)
