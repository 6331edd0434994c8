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

#: What `./hub runs` loads, and a few more for other versions of Python.
MOST_MODULES = 530

PROGRAM = """
import json, sys
from crossdock.cli.app import main
try:
    main()
except SystemExit as ended:
    code = int(ended.code or 0)
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""
REPLAY = {"replay_id": 1, "kind": "events", "state": "done", "total": 1, "done": 1, "failed": 0}
RUN = {
    **dict.fromkeys(("window_low", "window_high", "drift", "error", "dag_id", "dag_run_id", "expected_records")),
    "run_id": "r",
    "integration": "i",
    "stream": "shop.inventory",
    "dataset": "inventory",
    "shard": "all",
    "mode": "full",
    "state": "done",
    "keys": [],
    "warnings": [],
    "attempt": 1,
    "balanced": True,
    "seconds": 1.0,
    "landed": 0,
    "started_at": "2026-01-01T00:00:00Z",
    "counts": {"read": 1, "inserted": 1, "updated": 0, "unchanged": 0, "stale": 0, "rejected": 0, "held": 0},
    "lines": {"read": 0},
    "calls": {"calls": 0, "avoided": 0},
}
ITEM = {
    "item_id": 1,
    "stream": "shop.orders",
    "record_key": "1",
    "state": "open",
    "record": {},
    "fields": [],
    "sources": {},
    "history": [],
    "edited": None,
    "is_edited": True,
}
LETTER = {
    "dead_letter_id": 1,
    "subscriber": "s",
    "state": "dead",
    "cause": "BadEvent",
    "reason": "r",
    "attempts": 1,
    "event": {"type": "t", "subject": "s", "key": "k"},
    "edited_data": {},
    "last_seen_at": "2026-01-01T00:00:00Z",
}
STREAM = {
    "id": "shop.inventory",
    "integration": "shop",
    "integration_state": "active",
    "integration_changed_by": "otto",
    "sync_dag": "sync_shop_inventory",
    "backfill_dag": "backfill_shop_inventory",
}
ANSWERS: dict[str, Any] = {
    "/auth/token": {"access_token": "a token"},
    "/api/v2/dags/sync_shop_inventory": {"is_paused": False},
    "/api/v2/dags/sync_shop_inventory/dagRuns": {"dag_run_id": "manual"},
    "/api/v2/dags/sync_shop_inventory/dagRuns/manual": {"state": "success"},
    "/hub/v1/audit": {"entries": [], "next_cursor": None},
    "/hub/v1/availability-rebuilds": {"events": 1, "differences": 0, "replaced": False},
    "/hub/v1/dead-letter-causes": {"causes": []},
    "/hub/v1/dead-letter-discards": {"chosen": 1, "closed": [1]},
    "/hub/v1/dead-letter-replays": REPLAY,
    "/hub/v1/dead-letters": {"dead_letters": [LETTER], "next_cursor": None},
    "/hub/v1/dead-letters/1": LETTER,
    "/hub/v1/delivery": {"subscribers": [], "volumes": [], "horizon_age_s": 0.0},
    "/hub/v1/event-replays": REPLAY,
    "/hub/v1/event-replays/count": {"events": {"availability": 1}},
    "/hub/v1/events": {"events": [], "next_cursor": None},
    "/hub/v1/events/1-1": {"id": "1-1"},
    "/hub/v1/me": {"name": "admin", "roles": ["admin"]},
    "/hub/v1/overview": {
        "latest_run": {"run_id": "r", "state": "done"},
        "in_quarantine": 3,
        "dead_letters": 0,
        "outages": [],
        "alerts": [],
        "alerts_are_sent": True,
        "alert_routes": 1,
        "waiting_messages": 0,
        "waiting_since": None,
        "writes_refused": None,
    },
    "/hub/v1/quarantine": {"items": [], "next_cursor": None},
    "/hub/v1/quarantine-causes": {"causes": []},
    "/hub/v1/quarantine-discards": {"chosen": 1, "closed": [1]},
    "/hub/v1/quarantine-replays": {**REPLAY, "kind": "quarantine"},
    "/hub/v1/quarantine/1": {
        **ITEM,
        "failures": [{"rule": "r", "column": "c", "message": "m", "value": "v"}],
        "passes": True,
    },
    "/hub/v1/records/shop.inventory": {
        "stream": "shop.inventory",
        "key": "A",
        "as_of": None,
        "records": [{"sku": "A"}],
        "waiting": [],
    },
    "/hub/v1/replays": {"replays": [REPLAY]},
    "/hub/v1/replays/1/stop": {**REPLAY, "state": "stopped"},
    "/hub/v1/runs": {"runs": [RUN], "next_cursor": None},
    "/hub/v1/runs/r": RUN,
    "/hub/v1/runs/r/rows": {"rows": [], "next_cursor": None},
    "/hub/v1/streams": {"streams": [STREAM]},
    "/hub/v1/streams/shop.inventory/backfill-days": {"days": []},
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

    def do_PATCH(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def hub_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run_light(*words: str, **environment: str) -> tuple[int, set[str]]:
    """The exit code, and what was loaded."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *words],
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
    code, loaded = run_light(*words)

    assert code == (2 if words == ["staus"] else 0)
    assert loaded & heavy == set()
    assert loaded.isdisjoint(command.target.partition(":")[0] for command in Commands.lazy_commands.values())


CALLS_THE_API = (
    *(f"integration {words}" for words in ("list", "kinds", "pause shop_eu", "resume shop_eu", "test shop_eu")),
    *(
        "quarantine list --stream inventory",
        "quarantine show 1",
        "quarantine discard 1 --reason x",
        "quarantine replay 1",
    ),
    *("dead-letters list", "dead-letters show 1", "dead-letters fix 1 --set a=1", "dead-letters stop 1"),
    *("dead-letters replay 1", "dead-letters discard 1 --reason x"),
    *("events tail", "events show 1-1", "events status", "events replay", "events replay --yes", "events rebuild"),
    *("runs --stream inventory", "run show r", "run rows r", "events list --run r", "quarantine list --run r"),
    *("show inventory A", "audit list --json"),
    *("sync inventory --full", "backfill inventory --from 2026-01-01 --to 2026-01-02"),
)


@pytest.mark.parametrize("command", CALLS_THE_API)
def test_a_command_that_only_calls_the_api_loads_no_database_and_no_engine(hub_url: str, command: str) -> None:
    code, loaded = run_light(*command.split(), HUB_URL=hub_url, HUB_USER="otto", HUB_PASSWORD="x")

    assert code == 0
    assert loaded & HEAVY == set()


def test_a_command_without_a_running_stack_loads_none_of_it(tmp_path: Path) -> None:
    code, loaded = run_light("integration", "list", HUB_HOME=str(tmp_path))

    assert code == 1
    assert loaded & HEAVY == set()


#: Runs the program as `./hub` does, and prints how often the garbage collector ran and how many modules were loaded.
COUNTED = """
import gc, json, runpy, sys
runs = []
gc.callbacks.append(lambda phase, _: runs.append(phase))
sys.argv = ["hub", *sys.argv[1:]]
try:
    runpy.run_module("crossdock.cli", run_name="__main__")
except SystemExit:
    pass
print(json.dumps({"collections": runs.count("start"), "modules": len(sys.modules)}), file=sys.stderr)
"""


def _counted(*words: str, **environment: str) -> dict[str, int]:
    command = [sys.executable, "-P", "-c", COUNTED, *words]
    ended = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    found: dict[str, int] = json.loads(ended.stderr.splitlines()[-1])
    return found


def test_a_command_hardly_collects_garbage(hub_url: str) -> None:
    """While modules are loaded nothing is garbage, and each collection walks all of them: a twentieth of a command's CPU."""
    counted = _counted("runs", "--stream", "inventory", HUB_URL=hub_url, HUB_USER="otto", HUB_PASSWORD="x")

    assert counted["collections"] <= 10


def test_a_command_loads_few_modules(hub_url: str) -> None:
    """A hundred modules are about 50 ms of CPU. Most of these are of typer with pydantic, rich and requests."""
    counted = _counted("runs", "--stream", "inventory", HUB_URL=hub_url, HUB_USER="otto", HUB_PASSWORD="x")

    assert counted["modules"] <= MOST_MODULES
