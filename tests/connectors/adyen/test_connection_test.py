"""The connection test of Adyen: it lists payment methods, and makes no payment."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.core.errors import BadRequest, SystemRefused
from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import check_connection
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.adyen.platform import FakeAdyen

KIND = manifests()["adyen"]


def connection(adyen: FakeAdyen, *, api_key: str = "sandbox", merchant_account: str = "SandboxECOM") -> Connection:
    networks = ["127.0.0.1/32"]
    settings = {"base_url": adyen.url, "merchant_account": merchant_account, "allowed_networks": networks}
    return KIND.connection("adyen_eu", settings, {"api_key": api_key})


def outcomes(adyen: FakeAdyen, **wrong: str) -> dict[str, str]:
    return {check.name: check.outcome for check in check_connection(KIND, connection(adyen, **wrong))}


def test_a_connection_in_order_passes_and_pays_nothing(adyen: FakeAdyen) -> None:
    assert outcomes(adyen) == {
        "address": "ok",
        "tls": "skipped",
        "credentials": "ok",
        "scope": "ok",
        "sample": "ok",
    }
    assert [entry.path for entry in adyen.requests] == ["/v71/paymentMethods"]


@pytest.mark.parametrize(
    ("wrong", "failed"), [({"api_key": "guess"}, "credentials"), ({"merchant_account": "AnotherECOM"}, "scope")]
)
def test_what_is_wrong_fails_the_check_that_it_concerns(adyen: FakeAdyen, wrong: dict[str, str], failed: str) -> None:
    found = outcomes(adyen, **wrong)

    assert [name for name, outcome in found.items() if outcome == "failed"] == [failed]


@pytest.mark.parametrize("missing", ["host", "password", "extra"])
def test_a_connection_that_lacks_something_names_it(adyen: FakeAdyen, missing: str) -> None:
    fields: dict[str, Any] = {"host": adyen.url, "password": "sandbox", "extra": {"merchant_account": "SandboxECOM"}}
    del fields[missing]

    with pytest.raises(BadRequest):
        KIND.connection_test(Connection(connection_id="adyen_eu", conn_type="adyen", **fields))


def test_the_key_is_shown_nowhere(adyen: FakeAdyen) -> None:
    """Not even if the platform repeats it."""
    client = KIND.provided("client")("adyen_eu", connection(adyen, api_key="canary-1"), None)

    with pytest.raises(SystemRefused) as caught:
        client.count_payment_methods()
    assert "canary-1" not in str(caught.value)
