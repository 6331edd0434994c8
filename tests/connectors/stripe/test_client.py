"""The client and the connection test of Stripe."""

from __future__ import annotations

import pytest

from crossdock.connectors.stripe.client import BASE_URL, Stripe
from crossdock.connectors.stripe.connection_test import StripeConnectionTest
from crossdock.core.errors import BadRequest
from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import all_passed, check_connection
from crossdock.integrations.manifests import manifests
from crossdock.integrations.model import CheckOutcome
from crossdock.sandbox.stripe.provider import FakeStripe

KIND = manifests()["stripe"]


def connection_of(provider: FakeStripe, key: str | None = None) -> Connection:
    settings = {"base_url": provider.url, "allowed_networks": ["127.0.0.0/8"]}
    return KIND.connection("stripe_eu", settings, {"secret_key": key or provider.key})


def test_without_a_base_url_it_is_stripes_own_address() -> None:
    """So a person enters the key alone."""
    connection = KIND.connection("stripe_eu", {}, {"secret_key": "sk_test_1"})

    assert Stripe.of(connection).http.base_url == BASE_URL
    assert StripeConnectionTest(connection).url == BASE_URL
    assert KIND.settings["properties"]["base_url"]["default"] == BASE_URL


def test_without_a_key_it_says_what_is_missing() -> None:
    with pytest.raises(BadRequest, match="has no password"):
        Stripe.of(Connection(connection_id="stripe_eu", conn_type="stripe"))


def test_the_connection_test_passes_and_only_reads(provider: FakeStripe) -> None:
    checks = check_connection(KIND, connection_of(provider))

    assert all_passed(checks)
    assert {entry.method for entry in provider.requests} == {"GET"}


@pytest.mark.parametrize(
    ("route", "status", "failed"),
    [
        ("list_payment_intents", 401, "credentials"),
        ("list_payment_intents", 403, "credentials"),
        ("list_refunds", 403, "scope"),
    ],
)
def test_the_check_that_failed_names_what_is_wrong(provider: FakeStripe, route: str, status: int, failed: str) -> None:
    """A restricted key may read payments and no refunds."""
    provider.faults.put(route, [{"status": status}])

    checks = check_connection(KIND, connection_of(provider))

    assert [check.name for check in checks if check.outcome is CheckOutcome.FAILED] == [failed]


def test_a_wrong_key_is_found_and_not_shown(provider: FakeStripe) -> None:
    checks = check_connection(KIND, connection_of(provider, "sk_test_guess"))

    assert not all_passed(checks)
    assert "guess" not in str(checks)
