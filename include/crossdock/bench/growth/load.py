"""Changes of the simulated shop, each reported by a signed webhook, at a steady rate."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from threading import local

import requests

from crossdock.bench.report import Say
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.airflow import AirflowApi
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.paths import path_of
from crossdock.events.webhooks_in.service import connection_of
from crossdock.stack.lifecycle import Stack

SYSTEM = "commercetools"
_SENDERS = 8
_TIMEOUT_S = 60.0
_SAY_EVERY_S = 60.0
#: Until everything is delivered, on a machine with twenty times the work that it can do.
_DELIVERED_TIMEOUT_S = 900.0
_sessions = local()


def configure(api: AirflowApi) -> bytes:
    """Let the hub receive webhooks of the simulated shop; return the key that signs them."""
    key = secrets.token_bytes(24)
    api.put_connection(
        {
            "connection_id": connection_of(SYSTEM),
            "conn_type": "generic",
            "password": "whsec_" + base64.b64encode(key).decode(),
            "extra": json.dumps({"scheme": "standard", "dataset": "inventory", "key_path": "sku"}),
        }
    )
    return key


def send(running: Stack, key: bytes, *, rate: float, seconds: float, say: Say) -> int:
    """
    Change stock and report each change, *rate* times a second for *seconds*; return how many webhooks were accepted.

    Raises:
        ProgramFailed: one was refused.

    """
    sandbox = SandboxControl(running.sandbox_url)
    url = running.airflow_url + path_of("hub", "v1", "webhooks", SYSTEM)
    began, sent, said_at = time.monotonic(), 0, 0.0
    with ThreadPoolExecutor(_SENDERS, thread_name_prefix="webhook") as pool:
        while (elapsed_s := time.monotonic() - began) < seconds:
            due = int(elapsed_s * rate) + 1 - sent
            if due > 0:
                moved = sandbox.live(stock_moves=due)["inventory"]
                for status in pool.map(partial(_report, url, key), [str(change["sku"]) for change in moved]):
                    if status != HTTPStatus.ACCEPTED:
                        raise ProgramFailed(f"A webhook was answered with HTTP {status}")
                sent += len(moved)
            if elapsed_s - said_at > _SAY_EVERY_S:
                say(f"{sent:,} webhooks in {elapsed_s:.0f} s")
                said_at = elapsed_s
            time.sleep(max(0.0, began + sent / rate - time.monotonic()))
    return sent


def wait_until_delivered(api: AirflowApi) -> float:
    """
    Wait until every subscriber has had every event; return the seconds.

    Raises:
        ProgramFailed: they have not after a quarter of an hour.

    """
    hub, began = HubApi(api), time.monotonic()
    while time.monotonic() - began < _DELIVERED_TIMEOUT_S:
        found = hub.get("/delivery").document["subscribers"]
        if all(one["consumed"] and not one["waiting"] and not one["retrying"] for one in found):
            return time.monotonic() - began
        time.sleep(1.0)
    raise ProgramFailed("The events are not delivered: ./hub events status")


def _report(url: str, key: bytes, sku: str) -> int:
    """Send one webhook, signed by Standard Webhooks; return the status of the answer."""
    if not hasattr(_sessions, "session"):
        _sessions.session = requests.Session()
        _sessions.session.trust_env = False  # 127.0.0.1 is reached without a proxy
    body = json.dumps({"type": "inventory.changed", "sku": sku}).encode()
    delivery_id, at = f"growth_{secrets.token_hex(8)}", str(int(time.time()))
    signature = hmac.new(key, f"{delivery_id}.{at}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": delivery_id,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
        "content-type": "application/json",
    }
    answer: requests.Response = _sessions.session.post(url, data=body, headers=headers, timeout=_TIMEOUT_S)
    return answer.status_code
