"""The load: changes at the source and signed webhooks, some a second, each recorded by the one who made it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests

from crossdock.client.errors import StackError

#: A real sender waits about so long for an answer.
_TIMEOUT_S = 10.0
#: Every fourth change has no webhook: only a sync brings it.
_UNANNOUNCED = 4


@dataclass(frozen=True)
class Change:
    """A change that the source made; times are of `time.time`."""

    id: str
    sku: str
    version: int
    at: float


@dataclass(frozen=True)
class Sent:
    """A webhook and its answer; no status where there was no answer."""

    delivery_id: str
    at: float
    answered_at: float
    status: int | None

    @property
    def is_taken(self) -> bool:
        return self.status == HTTPStatus.ACCEPTED


@dataclass
class Load:
    """Two threads at work from `start` to `stop`; `pause` lets all that is on its way arrive."""

    sandbox_url: str
    webhook_url: str
    key: bytes
    #: Seconds between two changes, and between two webhooks.
    every_s: float = 0.5
    changes: list[Change] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopped, self._paused = threading.Event(), threading.Event()
        self._announced = 0
        self._threads = [
            threading.Thread(target=self._repeat, args=(act,), daemon=True) for act in (self._change, self._tell)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def pause(self) -> None:
        self._paused.set()
        time.sleep(2 * self.every_s)

    def go_on(self) -> None:
        self._paused.clear()

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            if not self._paused.is_set():
                # A part that is away is what this is about; the other thread goes on.
                with suppress(requests.RequestException, StackError):
                    act()
            self._stopped.wait(max(0.0, self.every_s - (time.monotonic() - began)))

    def _change(self) -> None:
        answer = requests.post(f"{self.sandbox_url}/_sandbox/life", json={"stock_moves": 1}, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        for moved in answer.json()["inventory"]:
            self.changes.append(Change(moved["id"], moved["sku"], moved["version"], time.time()))

    def _tell(self) -> None:
        """Send a webhook about the next change; while the source makes none, about an old one."""
        if not self.changes:
            return
        if self._announced < len(self.changes):
            self._announced += 1
            if self._announced % _UNANNOUNCED == 0:
                return
            changed = self.changes[self._announced - 1]
        else:
            changed = random.choice(self.changes)  # noqa: S311  no secret
        body = json.dumps({"type": "inventory.changed", "sku": changed.sku}).encode()
        delivery_id, at = f"fault_{secrets.token_hex(8)}", time.time()
        status: int | None = None
        try:
            headers = _signed(self.key, delivery_id, int(at), body)
            status = requests.post(self.webhook_url, data=body, headers=headers, timeout=_TIMEOUT_S).status_code
        finally:
            self.sent.append(Sent(delivery_id, at, time.time(), status))


def webhook_connection(connection_id: str, key: bytes) -> dict[str, Any]:
    """Describe the connection by which the hub knows the sender of the load."""
    return {
        "connection_id": connection_id,
        "conn_type": "generic",
        "password": "whsec_" + base64.b64encode(key).decode(),
        "extra": json.dumps({"scheme": "standard", "dataset": "inventory", "key_path": "sku"}),
    }


def _signed(key: bytes, delivery_id: str, at: int, body: bytes) -> dict[str, str]:
    """Sign *body* by Standard Webhooks."""
    signature = hmac.new(key, f"{delivery_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
        "content-type": "application/json",
    }
