"""A simulated system is one folder and one line: the engine knows none, and gives each one all that it has."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock import sandbox
from crossdock.sandbox import systems
from crossdock.sandbox.__main__ import open_system
from crossdock.sandbox.engine.system import SimulatedSystem
from crossdock.sandbox.engine.test_client import TestClient
from tests.sandbox.echo import EchoSystem

ROOM = Path(str(sandbox.__file__)).parent


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedSystem]:
    """The echo, registered by its one line and opened by the command."""
    monkeypatch.setitem(systems.SYSTEMS, "echo", "tests.sandbox.echo:EchoSystem")
    with open_system(["--system", "echo", "--port", "0", "--greeting", "good morning"]) as system:
        yield system


@pytest.fixture
def client(echo: SimulatedSystem) -> TestClient:
    return TestClient(echo.port)


def test_one_line_makes_a_system_known_to_the_command(echo: SimulatedSystem, client: TestClient) -> None:
    """With options of its own beside the engine's."""
    assert type(echo).__name__ == EchoSystem.__name__
    assert client.call("POST", "echo", body={"text": "world"}).json == {"text": "good morning world", "length": 18}
    assert client.get("/_sandbox").json == {"requests": 1, "greeting": "good morning"}


def test_faults_of_the_engine_and_of_the_system_meet_its_requests(client: TestClient) -> None:
    """A script mixes both kinds; the system writes no code for the engine's."""
    client.script("echo", {"shout": True}, {"status": 503}, {"nan": True}, {"truncate_json": 0.5})
    responses = [client.call("POST", "echo", body={"text": "world"}) for _ in range(5)]
    assert responses[0].json["text"] == "GOOD MORNING WORLD"
    assert (responses[1].status, responses[1].json["errors"][0]["code"]) == (503, "General")
    assert math.isnan(responses[2].json["length"])
    assert responses[3].body == responses[4].body[: len(responses[4].body) // 2]
    assert responses[4].json["text"] == "good morning world"


@pytest.mark.parametrize(
    ("script", "unknown"),
    [({"route": "inventory", "script": []}, "inventory"), ({"route": "echo", "script": [{"shrink": 0.5}]}, "shrink")],
)
def test_routes_and_faults_of_another_system_are_unknown(
    client: TestClient, script: dict[str, object], unknown: str
) -> None:
    """A script that is accepted and does nothing would make a test pass for no reason."""
    refused = client.call("PUT", "/_sandbox/faults", body=script)
    assert refused.status == 400
    assert f"'{unknown}'" in refused.json["message"]


def test_refusals_and_the_log_are_the_engines(client: TestClient, echo: SimulatedSystem) -> None:
    """A refused request is logged with its status, a request to the control API is not."""
    assert client.get("other").status == 404
    assert client.call("POST", "echo", body="[]").status == 400
    assert client.get("/_sandbox/life").status == 404
    assert [(entry.path, entry.status) for entry in echo.requests] == [("/other", 404), ("/echo", 400)]


def test_an_unknown_system_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """By the command, before anything is opened."""
    with pytest.raises(SystemExit):
        open_system(["--system", "ehco"])
    assert "commercetools" in capsys.readouterr().err


def test_every_registered_system_exists() -> None:
    """The registry names classes by text, which no type checker reads."""
    assert systems.DEFAULT in systems.SYSTEMS
    for name in systems.SYSTEMS:
        assert issubclass(systems.system_named(name), SimulatedSystem)


def imports_of(path: Path) -> set[str]:
    """The modules of the hub that the file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return {name for name in found if name.split(".")[0] == "crossdock"}


def strangers(folder: str, *allowed: str) -> list[str]:
    paths = sorted((ROOM / folder).rglob("*.py"))
    assert paths, folder
    prefixes = tuple(f"crossdock.sandbox.{name}." for name in allowed)
    return [f"{path.name}: {name}" for path in paths for name in imports_of(path) if not name.startswith(prefixes)]


def test_the_engine_knows_no_system() -> None:
    """So that a new system never has to touch it."""
    assert strangers("engine", "engine") == []


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOM.glob("*/__init__.py")))
def test_a_system_knows_the_engine_and_itself(name: str) -> None:
    """Neither another system nor the hub: what both sides share proves nothing about either."""
    assert strangers(name, "engine", name) == []
    # The check itself sees a foreign import.
    assert name == "engine" or strangers(name, name) != []


@pytest.mark.parametrize("name", ["slack_webhook", "teams_webhook", "signed_webhook"])
def test_a_receiver_shows_what_it_took_and_nothing_that_it_refused(name: str) -> None:
    """With the secret that a person gets from the command, nobody has to read the code for it."""
    with open_system(["--system", name, "--port", "0"]) as system:
        client = TestClient(system.port)
        refused = client.call("POST", "nowhere", body={"text": "x"})

        assert refused.status in {400, 404}
        assert client.call("GET", "nowhere").status == 405
        assert client.get("/_sandbox").json["messages"] == 0
        assert client.get("/_sandbox/inbox").json == {"messages": []}
