"""The command line in this process, and the hub that it speaks to: what it prints on either side, and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from typer.core import TyperGroup

from crossdock.cli.app import app, main
from crossdock.cli.command_groups import LazyCommandGroup
from crossdock.core.settings import settings
from crossdock.stack.postgres import PostgresServer
from tests.api.conftest import SIMPLE, serve
from tests.api.conftest import Hub as ServedHub
from tests.hub_databases import HubDatabases
from tests.streams import define_shop


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def text(self) -> str:
        """All that a person reads, whatever the width of the terminal."""
        return " ".join((self.out + self.err).replace("│", " ").split())


Hub = Callable[..., Ended]


def commands() -> Iterator[tuple[str, Any]]:
    """List every command of ./hub by its words: `quarantine show`."""
    return _commands_of(typer.main.get_command(app), "")


def _commands_of(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    if command.invoke_without_command:
        yield name, command
    for each, listed in command.commands.items():
        below = command.load(each) if isinstance(command, LazyCommandGroup) else listed
        yield from _commands_of(below, f"{name} {each}".strip())


@pytest.fixture
def stackless_hub(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Hub:
    """`./hub WORDS` where no stack runs and nobody has logged in."""
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("HUB_DATABASE_URL", "HUB_URL", "HUB_USER", "HUB_PASSWORD", "HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hub", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[ServedHub]:
    """The hub's API in a real api-server of Airflow, under its simple auth manager."""
    yield from serve(tmp_path_factory.mktemp("served"), postgres, SIMPLE)


@pytest.fixture
def hub_dsn(served: ServedHub, hub_databases: HubDatabases) -> str:
    """The database of the served hub, migrated and empty: the server has one address for it, so it keeps its name."""
    name = psycopg.conninfo.conninfo_to_dict(served.dsn)["dbname"]
    hub_databases.renew(str(name))
    return f"{served.dsn}?sslmode=disable&gssencmode=disable"


@pytest.fixture
def hub(stackless_hub: Hub, served: ServedHub, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Hub:  # noqa: ARG001
    """`./hub WORDS` as otto, an operator, against the served hub with the streams of one shop and an empty database."""
    # Here too: a delivery worker of a test runs in this process.
    monkeypatch.setattr(settings(), "definitions_url", define_shop(served.definitions))
    for name, value in {"HUB_URL": served.url, "HUB_USER": "otto", "HUB_PASSWORD": "otto" * 2}.items():
        monkeypatch.setenv(name, value)
    return stackless_hub


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Keep the tests of the served hub in one worker: a second one would start it again, for ten seconds of CPU.

    First, because xdist reads the marks in the same hook.
    """
    for item in items:
        if "served" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("cli_served"))
