"""A sender of CloudEvents asks by OPTIONS whether it may deliver: Azure Event Grid does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from crossdock.db.database import Store
from tests.events.webhooks_in.test_webhooks import WebhookClient, client
from tests.shop import query

__all__ = ["client"]

ORIGIN = "eventgrid.azure.net"
ASKED = {"WebHook-Request-Origin": ORIGIN, "WebHook-Request-Rate": "120"}
GRID = {"scheme": "azure_event_grid", "token_parameter": "code", "dataset": "inventory", "key_path": "data.sku"}
GRANTED = {"WebHook-Allowed-Origin": ORIGIN, "WebHook-Allowed-Rate": "*", "Allow": "POST"}


def asked(
    client: WebhookClient, headers: dict[str, str], code: str = "first", integration: str = "commercetools"
) -> requests.Response:
    client.password = "first second"
    url = f"http://127.0.0.1:{client.port}/v1/webhooks/{integration}?code={code}"
    return requests.options(url, headers=headers, timeout=30)


def granted(answer: requests.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("webhook-") or name == "allow"}


@pytest.mark.parametrize(
    "headers",
    [
        ASKED,
        {"WebHook-Request-Origin": ORIGIN},
        {**ASKED, "WebHook-Request-Callback": "http://127.0.0.1:9/confirm?id=1"},
    ],
    ids=["with a rate", "without a rate", "with a callback"],
)
def test_who_asks_is_permitted_by_the_headers_and_nothing_is_stored(
    client: WebhookClient, store: Store, headers: dict[str, str]
) -> None:
    """Anybody can ask: a row for each would be a stranger's to fill, and a visit of the callback a stranger's to send."""
    client.extra = GRID
    answer = asked(client, headers, code="second")

    assert (answer.status_code, answer.content) == (200, b"")
    assert granted(answer) == {name.lower(): value for name, value in GRANTED.items()}
    assert query(store, "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM refused_webhook)") == [(0,)]


@pytest.mark.parametrize(
    ("changed", "headers", "code", "status"),
    [
        ({}, {}, "first", 405),
        ({"scheme": "token"}, ASKED, "first", 405),
        ({}, ASKED, "guess", 401),
        ({}, {"WebHook-Request-Origin": "a b"}, "first", 401),
    ],
    ids=["nothing asked", "another scheme", "another token", "no origin"],
)
def test_all_others_are_permitted_nothing(
    client: WebhookClient, changed: dict[str, str], headers: dict[str, str], code: str, status: int
) -> None:
    client.extra = {**GRID, **changed}
    answer = asked(client, headers, code)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(granted(answer)) <= {"allow"}


def test_an_integration_without_webhooks_has_no_such_method(client: WebhookClient) -> None:
    answer = asked(client, ASKED, integration="another")

    assert answer.status_code == 405


def test_a_connection_without_a_token_in_its_url_permits_who_has_no_secret(client: WebhookClient) -> None:
    """Event Grid does not say that its question has the headers of its deliveries."""
    client.extra = {name: value for name, value in GRID.items() if name != "token_parameter"}

    assert asked(client, ASKED).status_code == 200


EVENT = {"specversion": "1.0", "id": "d-1", "source": "/shop", "type": "Shop.Changed", "data": {"sku": "CHAIR"}}


@pytest.mark.parametrize("body", [EVENT, [EVENT]], ids=["structured", "batch"])
def test_the_cloudevents_that_follow_are_taken_by_their_type(client: WebhookClient, store: Store, body: Any) -> None:
    records = [{"types": ["Shop.Changed"], "dataset": "inventory", "key_path": "data.sku"}]
    client.extra = {"scheme": "azure_event_grid", "token_parameter": "code", "records": records}
    assert asked(client, ASKED).status_code == 200
    kind = "application/cloudevents-batch+json" if isinstance(body, list) else "application/cloudevents+json"

    answer = client.post(json.dumps(body).encode(), [("Content-Type", kind)], query="code=first")

    assert answer.json()["taken"] == 1
    assert query(store, "SELECT partition_key FROM event") == [("commercetools.inventory/CHAIR",)]
