"""
What a command does not load. Half a second of imports before each answer makes a command line feel slow.

No seconds are measured here: they depend on the machine. The list of what is slow to load does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from crossdock.cli.app import Commands

#: Database drivers, web frameworks, data libraries and our rooms that need them.
HEAVY = frozenset(
    {
        *("airflow", "alembic", "fastapi", "great_expectations", "msgspec", "pandas", "psycopg", "pyarrow"),
        *("pydantic_settings", "sqlalchemy", "starlette"),
        *("crossdock.api", "crossdock.app", "crossdock.bench", "crossdock.connectors", "crossdock.core.settings"),
        *("crossdock.db", "crossdock.events", "crossdock.integrations", "crossdock.sync"),
    }
)
#: Not needed either to print a line. Pydantic is typer's own: it loads it for the first option of a command.
NOT_FOR_A_LINE = HEAVY | {"pydantic", "requests", "rich", "urllib3", "crossdock.stack"}

RUN = """
import json, sys
from crossdock.cli.app import main
try:
    main()
except SystemExit as ended:
    code = int(ended.code or 0)
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""
ANSWERS: dict[str, Any] = {
    "/auth/token": {"access_token": "a token"},
    "/hub/v1/integrations": {"integrations": [], "next_cursor": None},
    "/hub/v1/kinds": {"kinds": []},
    "/hub/v1/integrations/shop_eu/pause": {"id": "shop_eu"},
    "/hub/v1/integrations/shop_eu/resume": {"id": "shop_eu"},
    "/hub/v1/integrations/shop_eu/test": {"passed": True, "checks": []},
}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(ANSWERS[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def hub_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _run(*words: str, **environment: str) -> tuple[int, set[str]]:
    """The exit code, and what was loaded."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", RUN, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(ended.stderr.splitlines()[-1])
    return report["code"], set(report["modules"])


@pytest.mark.parametrize(
    ("words", "heavy"),
    [(["--version"], NOT_FOR_A_LINE), (["--help"], HEAVY), (["staus"], HEAVY)],
    ids=["version", "help", "wrong word"],
)
def test_what_needs_no_hub_loads_no_command(words: list[str], heavy: frozenset[str]) -> None:
    code, loaded = _run(*words)

    assert code == (2 if words == ["staus"] else 0)
    assert loaded & heavy == set()
    assert loaded.isdisjoint(command.target.partition(":")[0] for command in Commands.lazy_commands.values())


@pytest.mark.parametrize(
    "words",
    [["list"], ["kinds"], ["pause", "shop_eu"], ["resume", "shop_eu"], ["test", "shop_eu"]],
    ids=" ".join,
)
def test_a_command_that_only_calls_the_api_loads_no_database_and_no_engine(hub_url: str, words: list[str]) -> None:
    code, loaded = _run("integration", *words, HUB_URL=hub_url, HUB_USER="otto", HUB_PASSWORD="x")

    assert code == 0
    assert loaded & HEAVY == set()


def test_a_command_without_a_running_stack_loads_none_of_it(tmp_path: Path) -> None:
    code, loaded = _run("integration", "list", HUB_HOME=str(tmp_path))

    assert code == 1
    assert loaded & HEAVY == set()
