"""Each test has a stack home of its own, and leaves no server behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.stack.ports import VARIABLES
from crossdock.stack.postgres import PostgresServer


@pytest.fixture(autouse=True)
def stack_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """HUB_HOME in a folder of the test, so that no real stack is touched."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through; pytest's own are closed, and root's server runs as nobody."""
    folder = Path(tempfile.mkdtemp(prefix="hub-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(open_folder: Path, free_port: int) -> Iterator[PostgresServer]:
    """A server with data, not started."""
    made = PostgresServer(open_folder / "postgres-ours", free_port, "a long password")
    made.initialise()
    yield made
    made.remove()


@pytest.fixture
def free_port() -> int:
    """A port without a listener."""
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
