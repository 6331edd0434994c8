"""The steps of the demo with events: a change reaches its read model; a dead letter is edited and replayed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.replays import follow_replay
from crossdock.client.airflow import AirflowApi
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.commerce.inventory import repository as inventory_repository
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.core.errors import NotFound
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import STOCK_CHANGED, NewEvent
from crossdock.events.webhooks_in.service import connection_of
from crossdock.sync import records

#: The integration whose records change. Others may have records with the same ids.
_SYSTEM = "commercetools"
#: From the change at the retailer to the read model, on a machine that is not busy. Shown, and never a failure.
_GOAL_S = 1
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0
#: The first fetch of a worker also signs in to the shop. The second takes as long as every later one.
_CHANGES = 2
#: The subscribers of a changed stock level.
_STOCK_READERS = {"availability", "stock"}


class EventSteps:
    """The steps with events, on a running stack."""

    def __init__(self, api: AirflowApi, store: Store, sandbox: SandboxControl) -> None:
        self._api, self._store, self._sandbox = api, store, sandbox
        self._hub = HubApi(api)

    def change_reaches_availability(self, bar: Bar) -> str:
        """Follow a change from the retailer's webhook to the read model, without a DAG run."""
        self._wait_for_delivery(bar)
        key = secrets.token_bytes(24)
        self._api.put_connection(
            {
                "connection_id": connection_of(_SYSTEM),
                "conn_type": "generic",
                "password": "whsec_" + base64.b64encode(key).decode(),
                "extra": json.dumps({"scheme": "standard", "dataset": "inventory", "key_path": "sku"}),
            }
        )
        for _ in range(_CHANGES):
            sku, taken_s = self._report_a_change(key)
        return f"{sku}'s availability ({self._available(sku)}) followed after {taken_s:.2f} s (goal: under {_GOAL_S} s)"

    def _report_a_change(self, key: bytes) -> tuple[str, float]:
        """Move stock and report it by webhook; give the SKU and the seconds until its availability followed."""
        began = time.monotonic()
        (moved,) = self._sandbox.live(stock_moves=1)["inventory"]
        body = json.dumps({"type": "inventory.changed", "sku": moved["sku"]}).encode()
        headers = _signed(key, body)
        answer = self._api.signed("POST", path_of("hub", "v1", "webhooks", _SYSTEM), data=body, headers=headers)
        expect(answer.status_code == HTTPStatus.ACCEPTED, f"the webhook was answered with {answer.status_code}")
        while not self._has_arrived(moved):
            is_early = time.monotonic() - began < _MISSING_AFTER_S
            expect(is_early, f"the change of {moved['sku']} did not arrive", f"./hub events list --key {moved['sku']}")
            time.sleep(0.005)
        return str(moved["sku"]), time.monotonic() - began

    def _has_arrived(self, moved: dict[str, Any]) -> bool:
        """Check that the hub has the version, and that the read model is the sum of the hub's stock."""
        with self._store.transaction() as work:
            rows = records.by_key(work, StockLevel.schema, _SYSTEM, moved["sku"])
        has_it = any(row["id"] == moved["id"] and row["version"] >= moved["version"] for row in rows)
        return has_it and self._available(moved["sku"]) == sum(max(row["available_quantity"], 0) for row in rows)

    def correct_an_event(self, bar: Bar) -> str:
        sku = "DEMO-POISON"
        data = {"id": "demo", "version": time.time_ns(), "sku": sku, "available_quantity": "seven"}
        event = NewEvent(
            source="/demo",
            type=STOCK_CHANGED,
            subject="inventory/demo",
            time=datetime.now(UTC),
            partition_key=sku,
            data=json.dumps(data),
        )
        with self._store.transaction() as work:
            event_store.append(work, [event])
        dead_letters = self._dead_letters_of(sku, bar)
        dead_letter_ids = [dead_letter["dead_letter_id"] for dead_letter in dead_letters]
        for dead_letter_id in dead_letter_ids:
            self._hub.patch(path_of("dead-letters", dead_letter_id), {"changes": {"available_quantity": 7}})
        replay = self._hub.post("/dead-letter-replays", {"dead_letter_ids": dead_letter_ids}).document
        follow_replay(self._hub, replay)
        began = time.monotonic()
        while self._available(sku) != 7:  # noqa: PLR2004  as corrected
            look = f"./hub dead-letters show {dead_letter_ids[0]}"
            expect(time.monotonic() - began < _MISSING_AFTER_S, "the corrected event had no effect", look)
            time.sleep(0.05)
        number, cause = len(dead_letters), dead_letters[0]["cause"]
        return f"{number} dead letters of one event ({cause}) are corrected to 7 and replayed; {sku} has 7"

    def _wait_for_delivery(self, bar: Bar) -> None:
        """Wait until consumers are running and every event is delivered."""
        began = time.monotonic()
        while True:
            found = self._hub.get("/delivery").document["subscribers"]
            if all(subscriber["consumed"] and not subscriber["waiting"] for subscriber in found):
                return
            bar.update("Waiting for the delivery of events")
            expect(time.monotonic() - began < _MISSING_AFTER_S, "no worker delivers events: ./hub events status")
            time.sleep(0.2)

    def _available(self, sku: str) -> int | None:
        with self._store.transaction() as work:
            try:
                return inventory_repository.get(work, sku).available_at_source
            except NotFound:
                return None

    def _dead_letters_of(self, sku: str, bar: Bar) -> list[dict[str, Any]]:
        """Wait until the event is dead for each subscriber that reads stock: one of them alone would be chance."""
        began = time.monotonic()
        while True:
            found = [one for one in self._hub.pages("/dead-letters", "dead_letters") if one["event"]["key"] == sku]
            if {one["subscriber"] for one in found} == _STOCK_READERS:
                return found
            bar.update("Waiting for the event to fail")
            expect(
                time.monotonic() - began < _MISSING_AFTER_S,
                "the event that no subscriber can process has not become a dead letter",
                f"./hub events list --key {sku}",
            )
            time.sleep(0.1)


def _signed(key: bytes, body: bytes) -> dict[str, str]:
    """Sign *body* by Standard Webhooks, as a retailer would."""
    delivery_id, at = f"demo_{secrets.token_hex(8)}", str(int(time.time()))
    signature = hmac.new(key, f"{delivery_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
        "content-type": "application/json",
    }
