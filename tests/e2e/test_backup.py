"""
A backup of a whole stack under load, the loss of its home, a restore, and the next syncs: against what was there before.

The shop and the payment gateway are outside: they are not restored, and go on.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossdock.cli.demo.second_system import second_system
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.db.database import Store
from crossdock.stack.postgres_location import locate
from tests.e2e.conftest import running_hub
from tests.e2e.watched import Watched
from tests.events.worlds import publish, stock

pytestmark = [pytest.mark.e2e, pytest.mark.deep]

OPEN_ITEMS = "SELECT item_id, dataset, record_key, state FROM quarantine_item ORDER BY 1"
PAYMENTS = "SELECT reference, payment_id, state FROM payment ORDER BY 1"


KEY = "sk_test_of_a_backup"


@pytest.fixture
def gateway() -> Iterator[SandboxControl]:
    """A payment gateway outside of the stack."""
    with second_system("stripe", ["--seed", "7"], {"SANDBOX_STRIPE_KEY": KEY}) as opened:
        yield opened


@contextmanager
def load(stack: Watched) -> Iterator[list[datetime]]:
    """Events that are written all the time, each with the time after its commit by the database's clock."""
    over, committed = threading.Event(), list[datetime]()

    def write() -> None:
        with Store(stack.dsn) as store:
            while not over.is_set():
                publish(store, stock("LOAD", len(committed) + 1, 1))
                committed.append(datetime.now(UTC))
                time.sleep(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield committed
    finally:
        over.set()
        thread.join(600)


def pay(stack: Watched, reference: str) -> dict[str, Any]:
    body = {
        "reference": reference,
        "amount_minor": 4_990,
        "currency": "EUR",
        "payment_methods": {"backup_stripe": "pm_card_visa"},
        "return_url": "https://shop.example.com/checkout",
    }
    hub = HubApi(stack.api)
    payment = hub.post("/payments", body, timeout_s=600).document
    # Its key, too, comes again after the restore: a caller that repeats a request repeats its key.
    hub.post(f"/payments/{payment['payment_id']}/captures", {}, key=f"capture-{reference}")
    document: dict[str, Any] = hub.get(f"/payments/{payment['payment_id']}").document
    return document


def connect(stack: Watched, gateway: SandboxControl) -> None:
    settings = {"base_url": gateway.url, "allowed_networks": ["127.0.0.0/8"]}
    body = {"id": "backup_stripe", "kind": "stripe", "settings": settings, "credentials": {"secret_key": KEY}}
    HubApi(stack.api).post("/integrations", body)


def destroy(home: Path) -> None:
    """The disk is gone, with what was moved of the servers."""
    for name in ("postgres-hub", "postgres-metadata"):
        shutil.rmtree(locate(home / name).folder)
    shutil.rmtree(home)


def test_nothing_of_the_backups_instant_is_lost_and_nobody_pays_twice(
    tmp_path: Path, gateway: SandboxControl, record_property: Callable[[str, object], None]
) -> None:
    """Events, payments and open items; a payment that was made after the backup is asked for again, and made once."""
    home, kept = tmp_path / "home", tmp_path / "backups"
    with running_hub(home) as hub:
        stack = Watched(hub, timedelta(seconds=60))
        hub("sync", "inventory", "--full", exit_code=None)
        hub("sync", "orders", "--full", exit_code=None)
        connect(stack, gateway)
        early = [pay(stack, f"early-{number}") for number in range(3)]
        items = stack.ask(OPEN_ITEMS)
        assert items
        with load(stack) as committed:
            time.sleep(2)
            backup = hub.json("backup", str(kept))
            time.sleep(2)
        instant = datetime.fromisoformat(backup["instant"])
        before = sum(at < instant for at in committed)
        pay(stack, "late-1")
        stack.sandbox.live(stock_moves=25)
        hub("down")
        journal = (home / "sandbox.jsonl").read_bytes()
        destroy(home)

        began_at = time.monotonic()
        restored = hub.json("restore", str(kept))
        (home / "sandbox.jsonl").write_bytes(journal)
        hub("up")
        stack = Watched(hub, timedelta(seconds=60))
        hub("sync", "inventory", exit_code=None)
        record_property("seconds of the backup", backup["seconds"])
        record_property("seconds of the restore", restored["seconds"])
        record_property("seconds until all is synced", round(time.monotonic() - began_at, 1))

        assert restored["missing_pages"] == []
        written = {
            version
            for (version,) in stack.ask("SELECT (data->>'version')::int FROM event WHERE partition_key = 'LOAD'")
        }
        assert written >= set(range(1, before + 1))
        assert stack.ask(OPEN_ITEMS) == items
        known = {reference: state for reference, _, state in stack.ask(PAYMENTS)}
        assert known == {payment["reference"]: payment["state"] for payment in early}
        again = pay(stack, "late-1")
        assert again["state"] == early[0]["state"]
        charged = [move for move in gateway.ledger() if move[0] == "captured"]
        assert len(charged) == 4, "three early ones and the late one, each once"
        with psycopg.connect(stack.dsn) as database:
            # They are of no record: to the promises, they are events without a change.
            database.execute("DELETE FROM hub.event WHERE partition_key = 'LOAD'")
        stack.assert_promises()
