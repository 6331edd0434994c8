"""The wanted port where it is free, another where it is not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.client.errors import StackError
from crossdock.stack import ports


@pytest.fixture(autouse=True)
def quiet_neighbourhood(monkeypatch: pytest.MonkeyPatch, free_port: int) -> int:
    """Wanted ports that no real stack on this machine uses."""
    monkeypatch.setattr(ports, "PREFERRED", {name: free_port + at for at, name in enumerate(ports.PREFERRED)})
    return free_port


def listen_on(port: int) -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


def test_every_server_gets_a_port_of_its_own() -> None:
    found = ports.assign()

    assert found.keys() == ports.PREFERRED.keys()
    assert len(set(found.values())) == len(found)


def test_a_taken_port_is_moved() -> None:
    """8080 is everybody's favourite; a stranger there must not stop the first start."""
    with listen_on(ports.PREFERRED["airflow"]):
        found = ports.assign()

    assert found["airflow"] != ports.PREFERRED["airflow"]
    assert ports.is_free(found["airflow"])


def test_a_moved_port_stays_after_a_restart() -> None:
    """Bookmarks and open pages continue to work."""
    with listen_on(ports.PREFERRED["airflow"]):
        first = ports.assign()

    assert ports.assign() == first


def test_a_running_server_keeps_its_port() -> None:
    first = ports.assign()

    with listen_on(first["metadata"]):
        assert ports.assign(in_use_by_us=["metadata"])["metadata"] == first["metadata"]


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, quiet_neighbourhood: int) -> None:
    ports.assign()
    monkeypatch.setenv("HUB_PORT_AIRFLOW", str(quiet_neighbourhood + 50))

    assert ports.assign()["airflow"] == quiet_neighbourhood + 50


@pytest.mark.parametrize("nonsense", ["http", "0", "70000", "-1", ""])
def test_an_invalid_port_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, nonsense: str) -> None:
    monkeypatch.setenv("HUB_PORT_SANDBOX", nonsense)

    with pytest.raises(StackError, match="HUB_PORT_SANDBOX"):
        ports.assign()


def test_two_stacks_that_start_in_the_same_moment_choose_different_ports(tmp_path: Path) -> None:
    """Neither listens yet, so that each port looks free to both."""
    ours = ports.assign()
    code = "import json; from crossdock.stack import ports; ports.PREFERRED = json.loads(input()); print(json.dumps(ports.assign()))"
    environment = {**os.environ, "HUB_HOME": str(tmp_path / "another")}

    other = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(ports.PREFERRED),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )

    theirs = json.loads(other.stdout)
    assert set(ours.values()).isdisjoint(theirs.values())
