"""The stack in which causes of alerts are brought about: its own home, its own simulated shop, and what may be broken in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdock.bench.report import Say
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client import dag_runs
from crossdock.client.airflow import AirflowApi
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.ids import sync_dag
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from crossdock.events.webhooks_in.service import connection_of
from crossdock.stack import lifecycle
from crossdock.stack.lifecycle import Stack
from crossdock.stack.ports import LOOPBACK, is_free

#: The stack's own shop, whose syncs and webhooks are the load.
SHOP = "commercetools"
#: A second shop, which is broken.
BROKEN = "bench_shop"
#: Synced every minute, until its DAG is paused.
SCHEDULED, EVERY_MINUTE = f"{SHOP}.customers", "* * * * *"
#: Read by one run that is too slow.
LATE, DEADLINE_MINUTES = f"{SHOP}.orders", 0.1
#: A gateway whose answers are lost.
GATEWAY = "bench_stripe"
#: The channel of a route, to a port where nobody listens.
DEAF = "bench_deaf"
NETWORKS = ["127.0.0.0/8"]
#: Of a mail or a webhook nobody waits longer: something is missing then, and not slow.
MISSING_AFTER_S = 300.0
_GROWTH_GB = 0.2
#: So much is written to the volume of the home to fill it up to its limit. Others write there, too.
_ROOM_BYTES = 4_000_000_000


def settings_of(home: Path, last_resort: str) -> dict[str, str]:
    """
    Write the settings of the measured stack: what would take hours is made to take seconds.

    Args:
        home: Its home; the limit of free space is just below what its volume has.
        last_resort: Who is notified that the hub's database is down.

    """
    usage = shutil.disk_usage(home)
    return {
        "HUB_HOME": str(home / "hub"),
        "HUB_STREAMS": json.dumps({"*": {"schedule": ""}, SCHEDULED: {"schedule": EVERY_MINUTE}}),
        "HUB_DECLARATIONS": str(home / "declarations"),
        "HUB_ALERT_ROUTES": str(home / "routes"),
        "HUB_ALERT_LAST_RESORT": last_resort,
        "HUB_SYNC_DEADLINE_MINUTES": str(DEADLINE_MINUTES),
        "HUB_DATABASE_GROWTH_GB_PER_DAY": str(_GROWTH_GB),
        "HUB_DISK_FREE_PERCENT": f"{max(0.0, 100 * (usage.free - _ROOM_BYTES) / usage.total):.3f}",
        "HUB_TASK_RETRIES": "1",
        "HUB_RETRY_DELAY_S": "1",
        "HUB_BACKUP_MAX_AGE_H": "1",
    }


class BreakableShop:
    """A simulated shop at one address, which can be ended, and started anew with another number of stock levels."""

    def __init__(self, port: int) -> None:
        self.port, self.secret = port, secrets.token_hex(16)
        self.control = SandboxControl(f"http://{LOOPBACK}:{port}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, inventory: int) -> None:
        """
        Start it.

        Raises:
            ProgramFailed: it did not start.

        """
        self.stop()
        command = [sys.executable, "-P", "-m", "crossdock.sandbox", "--system", SHOP, "--port", str(self.port)]
        size = ["--inventory", str(inventory), "--products", "20", "--orders", "10", "--customers", "10"]
        self._process = subprocess.Popen(
            [*command, "--project", "bench", "--client-id", "bench", "--flaws", "0", *size],
            stdout=subprocess.PIPE,
            env={**os.environ, "SANDBOX_CLIENT_SECRET": self.secret},
        )
        if not (self._process.stdout and self._process.stdout.readline()):
            raise ProgramFailed("The simulated shop did not start")

    def stop(self) -> None:
        """End it: nobody answers at its address."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class World:
    """The running stack, and what causes may break."""

    home: Path
    stack: Stack
    store: Store
    shop: BreakableShop
    say: Say
    #: Undone at the end, last first.
    undo: ExitStack
    webhook_key: bytes = field(default_factory=lambda: secrets.token_bytes(24))

    @property
    def sandbox(self) -> SandboxControl:
        return SandboxControl(self.stack.sandbox_url)

    def api(self) -> AirflowApi:
        """Open a client; each thread needs its own."""
        return self.stack.api()

    def hub(self) -> HubApi:
        return HubApi(self.api())

    def ask(self, statement: bytes, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Read rows of the hub's database."""
        with self.store.transaction() as work:
            return work.execute(statement, values or {}).fetchall()

    def any_sku(self) -> str:
        """Name a SKU of which the hub has stock to sell."""
        ((sku,),) = self.ask(b"SELECT sku FROM stock WHERE available > 0 ORDER BY sku LIMIT 1")
        return str(sku)

    def write(self, statement: bytes, values: Mapping[str, Any] | None = None) -> None:
        """Change the hub's database by hand: for a state that takes hours to come."""
        with self.store.transaction() as work:
            work.execute(statement, values or {})

    def add_integration(
        self, name: str, kind: str, settings: Mapping[str, Any], credentials: Mapping[str, Any]
    ) -> None:
        """Add an integration. The hub tests it first, so that its system has to run."""
        settings = {"allowed_networks": NETWORKS, **settings}
        body = {"id": name, "kind": kind, "settings": settings, "credentials": credentials}
        self.hub().post("/integrations", body)

    def sync(self, stream: str, conf: Mapping[str, object]) -> str:
        """Run the DAG of *stream* to its end, and return the state in the ledger."""
        api = self.api()
        dag_run_id = dag_runs.trigger(api, stream, conf)
        _, runs = dag_runs.follow(api, stream, dag_run_id, lambda *_, **__: None)
        return str(runs[0]["state"])

    def post_webhook(self, api: AirflowApi, integration: str, body: Mapping[str, Any], key: bytes) -> int:
        """Post a webhook, signed with *key*, and return the status of its answer."""
        raw = json.dumps(body).encode()
        path = path_of("hub", "v1", "webhooks", integration)
        return int(api.signed("POST", path, data=raw, headers=signed(key, raw)).status_code)


def signed(key: bytes, body: bytes) -> dict[str, str]:
    """Sign *body* by Standard Webhooks."""
    delivery_id, at = f"bench_{secrets.token_hex(8)}", str(int(time.time()))
    signature = hmac.new(key, f"{delivery_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
        "content-type": "application/json",
    }


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


@contextmanager
def running_world(home: Path, say: Say, prepare: Callable[[World], None]) -> Iterator[World]:
    """Start the stack in the environment of this process, and have *prepare* do what comes before the first cause."""
    for folder in ("declarations", "routes"):
        (home / folder).mkdir(exist_ok=True)
    say("./hub up")
    done = subprocess.run([sys.executable, "-P", "-m", "crossdock.cli", "up"], stdout=subprocess.DEVNULL, check=False)
    try:
        if done.returncode:
            raise ProgramFailed(f"./hub up ended with {done.returncode}; its output is above")
        running = lifecycle.load()
        assert running is not None  # noqa: S101  `up` has just left it running
        with ExitStack() as undo, Store(running.hub_dsn) as store:
            shop = BreakableShop(_free_port())
            undo.callback(shop.stop)
            world = World(home=home, stack=running, store=store, shop=shop, say=say, undo=undo)
            prepare(world)
            yield world
    finally:
        lifecycle.down()


def connect_shops(world: World) -> None:
    """Fill the hub, take the shop's webhooks, and add the second shop."""
    world.shop.start(inventory=400)
    settings = {"base_url": world.shop.control.url, "project": "bench"}
    world.add_integration(BROKEN, SHOP, settings, {"client_id": "bench", "client_secret": world.shop.secret})
    api = world.api()
    api.put_connection(
        {
            "connection_id": connection_of(SHOP),
            "conn_type": "generic",
            "password": secret_of(world.webhook_key),
            "extra": json.dumps({"scheme": "standard", "dataset": "inventory", "key_path": "sku"}),
        }
    )
    for stream in (f"{SHOP}.inventory", f"{SHOP}.products", LATE, f"{BROKEN}.inventory"):
        api.wait_for_dag(sync_dag(stream))
        api.unpause(sync_dag(stream))
        world.say(f"a full sync of {stream}: {world.sync(stream, {'full': True})}")


def _free_port() -> int:
    return next(port for port in range(27_400, 28_400) if is_free(port))
