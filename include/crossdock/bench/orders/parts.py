"""What orders are measured on: a database, a gateway, a CRM and a mail server, each a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from crossdock.app.database import migrate
from crossdock.bench.server import Server, database_server
from crossdock.bench.sync.processes import Child
from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.repository import StockState
from crossdock.db.database import Store
from crossdock.integrations import service as integration_service
from crossdock.stack.ports import LOOPBACK, free_port
from crossdock.stack.postgres import HUB_OPTIONS

#: Far more than a run sells, so that no order waits for stock; several, so that orders rarely meet at one.
SKUS, AVAILABLE = 200, 1_000_000
#: The server counts statements only when it loads this at its start.
_COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "on"}
#: A CRM's own limit (HubSpot: 10 calls a second) would be what is measured.
_NO_LIMIT = {"calls": {"rate": {"calls": 10_000, "per_s": 1.0, "burst": 1_000}}}


class Parts(NamedTuple):
    """The processes of a run, besides those that drive orders."""

    server: Server
    #: By name: `stripe`, `hubspot`, `smtp`.
    sandboxes: Mapping[str, Child]
    #: As Airflow's API has them.
    connections: Sequence[Mapping[str, Any]]


@contextmanager
def parts() -> Iterator[Parts]:
    """Start a database and the simulated systems, connect them, and put stock on the shelf; remove all of it afterwards."""
    smtp_port = free_port()
    with database_server({**HUB_OPTIONS, **_COUNTING}) as server, ExitStack() as opened:
        migrate(server.dsn)

        def sandbox(*words: str) -> Child:
            return opened.enter_context(Child("crossdock.sandbox", "--port", "0", "--system", *words))

        sandboxes = {
            "stripe": sandbox("stripe"),
            "hubspot": sandbox("hubspot"),
            "smtp": sandbox("smtp", "--smtp-port", str(smtp_port)),
        }
        connections = [
            _connection("stripe", sandboxes["stripe"].ready["url"], "sk_test_sandbox"),
            _connection("hubspot", sandboxes["hubspot"].ready["url"], "sandbox", **_NO_LIMIT),
            {
                **_connection("smtp_relay", f"smtp://{LOOPBACK}:{smtp_port}", "sandbox", allow_plain=True),
                "login": "sandbox",
            },
        ]
        with Store(server.dsn) as store:
            integration_service.register(store, connections, actor="bench")
            _fill_shelves(store)
        yield Parts(server, sandboxes, connections)


def _connection(kind: str, host: str, password: str, **extra: Any) -> dict[str, Any]:
    return {
        "connection_id": kind,
        "conn_type": kind,
        "host": host,
        "password": password,
        "extra": json.dumps({"allowed_networks": ["127.0.0.0/8"], **extra}),
    }


def _fill_shelves(store: Store) -> None:
    now = datetime.now(UTC)
    states = [
        StockState("shop", f"entry-{number}", sku_of(number), "berlin", AVAILABLE, 1, now) for number in range(SKUS)
    ]
    with store.transaction() as work:
        reservation_repository.set_on_hand(work, states)


def sku_of(number: int) -> str:
    """Name the SKU of an order by the order's number."""
    return f"mug-{number % SKUS}"
