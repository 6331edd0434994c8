"""
Our connector on a Stripe of other authors: PyPI `localstripe`, a process of its own.

It ignores idempotency keys, so what follows from them is tested on the sandbox. What else it does otherwise than the vendor,
and what its starter adds, is in docs/concepts/third-parties.md.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from crossdock.connectors.stripe import Stripe
from crossdock.connectors.stripe.connection_test import StripeConnectionTest
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended, Refused
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from tests.contracts.gateways import QUICK
from tests.shop import free_port
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, a minute of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

KEY = "sk_test_12345"
REFERENCE = "order-4711"
LOOPBACK = {"allowed_networks": ["127.0.0.0/8"]}
_PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a running localstripe, which has no payments yet."""
    port = free_port()
    command = [str(sdk_python("localstripe")), str(HERE / "localstripe" / "start.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        assert process.poll() is None, "localstripe ended at once"
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("localstripe did not start")


class Hub:
    """The hub before localstripe."""

    def __init__(self, url: str, store: Store) -> None:
        self._url, self._store = url, store
        document = {"connection_id": "gateway", "conn_type": "stripe", "host": url}
        integration_service.register(store, [document], actor="cli:up")

    def perform(self, name: str, given: dict[str, Any], key: str) -> Ended:
        return service.perform(self._store, self._client, "gateway", name, given, key=key, actor="airflow:otto")

    def output(self, name: str, given: dict[str, Any], key: str = "") -> dict[str, Any]:
        ended = self.perform(name, given, key or name)
        assert isinstance(ended, Done), ended
        assert ended.output is not None
        return dict(ended.output)

    def find(self, reference: str) -> dict[str, Any]:
        since = datetime.now(UTC) - timedelta(hours=1)
        return self.output("find_payment", {"reference": reference, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"})

    @contextmanager
    def _client(self, integration: Integration, _: Manifest) -> Iterator[Stripe]:
        client = Stripe(KEY, base_url=self._url, name=integration.integration_id, limits=QUICK)
        yield client
        client.http.close()


@pytest.fixture
def hub(url: str, store: Store) -> Hub:
    requests.delete(f"{url}/_config/data", headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
    return Hub(url, store)


def to_authorise(method: str = "pm_card_visa", reference: str = REFERENCE) -> dict[str, Any]:
    return {"reference": reference, "amount_minor": 1999, "currency": "EUR", "payment_method": method}


def test_a_payment_is_authorised_captured_and_given_back(hub: Hub) -> None:
    authorised = hub.output("authorise", to_authorise())
    money = {"payment_ref": authorised["payment_ref"], "reference": REFERENCE, "currency": "EUR"}
    captured = hub.output("capture", money | {"amount_minor": 1999})
    refunded = hub.output("refund", money | {"amount_minor": 500})

    assert (authorised["state"], captured["state"], refunded["state"]) == ("authorised", "done", "done")
    assert captured["amount_minor"] == 1999
    refunds = hub.output("get_refunds", {"payment_ref": authorised["payment_ref"]})["refunds"]
    assert [(refund["operation_ref"], refund["reference"]) for refund in refunds] == [
        (refunded["operation_ref"], REFERENCE)
    ]
    found = hub.find(REFERENCE)
    assert (found["payment_ref"], found["state"]) == (authorised["payment_ref"], "captured")
    assert (found["captured_minor"], found["refunded_minor"]) == (1999, 500)


def test_a_part_is_captured_and_the_rest_is_no_refund(hub: Hub) -> None:
    """Whoever wrote it also counts what is released as refunded."""
    ref = hub.output("authorise", to_authorise())["payment_ref"]
    part = {"payment_ref": ref, "reference": "capture-1", "currency": "EUR", "amount_minor": 500}
    captured = hub.output("capture", part)

    payment = hub.output("get_payment", {"payment_ref": ref})
    assert (payment["captured_minor"], payment["refunded_minor"]) == (500, 0)
    assert (payment["capture_ref"], payment["capture_reference"]) == (captured["operation_ref"], "capture-1")


def test_a_void_releases(hub: Hub) -> None:
    ref = hub.output("authorise", to_authorise())["payment_ref"]

    assert hub.output("void", {"payment_ref": ref, "reference": REFERENCE})["state"] == "done"
    assert hub.find(REFERENCE)["state"] == "voided"


def test_a_declined_card_is_refused_and_moves_nothing(hub: Hub) -> None:
    """It gives a decline the type of a wrong request, so it counts as no decision; and it authorises `chargeDeclined`."""
    ended = hub.perform("authorise", to_authorise("pm_card_chargeCustomerFail"), "d")

    assert isinstance(ended, Refused)
    assert (ended.status, "declined" in ended.message) == (402, True)
    assert hub.find(REFERENCE)["state"] == "declined"


def test_a_payment_is_found_among_many(hub: Hub) -> None:
    """Three pages of a list."""
    wanted = hub.output("authorise", to_authorise())["payment_ref"]
    headers = {"Authorization": f"Bearer {KEY}"}
    for _ in range(210):
        requests.post(
            f"{hub._url}/v1/payment_intents", data={"amount": 1, "currency": "eur"}, headers=headers, timeout=60
        )

    assert hub.find(REFERENCE)["payment_ref"] == wanted
    assert not hub.find("order-none")["found"]


def test_the_connection_test_passes(url: str) -> None:
    connection = Connection(connection_id="gateway", conn_type="stripe", host=url, password=KEY, extra=LOOPBACK)
    test = StripeConnectionTest(connection)

    assert test.credentials() == "the provider accepts the key"
    assert "may read payments and refunds" in test.scope()
    assert test.sample()
