"""A declaration is previewed before it is in use: what the system sends, what the mapping makes of it, what the rules say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.connectors.declarative.worlds import serving
from tests.shop import query

DECLARATION = """
title: Stock of the ERP
base_url: {url}
auth: {{kind: oauth2, scope: view_products:{project}}}
read: {{path: "/{project}/inventory", records: results}}
identity: {{id: id, version: version, changed_at: lastModifiedAt, key: sku}}
target: inventory
mapping:
  sku: {{path: sku}}
  quantity_on_stock: {{path: {quantity}, type: integer}}
  available_quantity: {{path: availableQuantity, type: integer}}
  created_at: {{path: createdAt, type: instant}}
expectations:
  - name: much_stock
    type: expect_column_values_to_be_between
    arguments: {{column: quantity_on_stock, min_value: {least}}}
    message: fewer than we ever have
"""


@pytest.fixture(scope="module")
def system() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=3, inventory=20, products=2, orders=2, customers=2, flaws=0) as opened:
        yield opened


def body_of(system: FakeRetailer, *, quantity: str = "quantityOnStock", least: int = 0, **more: Any) -> dict[str, Any]:
    text = DECLARATION.format(url=system.url, project=system.project, quantity=quantity, least=least)
    return {
        "name": "erp_stock",
        "declaration": text,
        "settings": {"allowed_networks": ["127.0.0.0/8"]},
        "credentials": {"user": system.client_id, "secret": system.client_secret},
        **more,
    }


def rows_of_all_tables(hub: Hub) -> dict[str, int]:
    """Every table but the audit trail and what is counted of calls."""
    with hub.store() as store:
        names = [
            name
            for (name,) in query(
                store, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            if not name.startswith(("audit", "call", "shared", "breaker"))
        ]
        return {name: query(store, f'SELECT count(*) FROM "{name}"')[0][0] for name in names}


def test_it_shows_each_record_as_received_and_as_mapped_and_stores_nothing(hub: Hub, system: FakeRetailer) -> None:
    before = rows_of_all_tables(hub)

    answer = hub.call("POST", "/v1/declarations/preview", json=body_of(system, records=3))

    assert answer.status_code == 200, answer.text
    records = answer.json()["records"]
    assert len(records) == 3
    for record in records:
        assert record["failures"] == record["warnings"] == []
        assert record["mapped"]["sku"] == record["received"]["sku"]
        assert record["mapped"]["quantity_on_stock"] == record["received"]["quantityOnStock"]
        assert record["mapped"]["created_at"][:19] == record["received"]["createdAt"][:19]
    assert rows_of_all_tables(hub) == before


def test_it_says_what_the_rules_say(hub: Hub, system: FakeRetailer) -> None:
    answer = hub.call("POST", "/v1/declarations/preview", json=body_of(system, least=10**9, records=1))

    (record,) = answer.json()["records"]
    (failure,) = record["failures"]
    assert (failure["rule"], failure["message"]) == ("much_stock", "fewer than we ever have")
    assert failure["value"] == str(record["received"]["quantityOnStock"])


def test_a_value_of_another_type_is_named_with_its_path(hub: Hub, system: FakeRetailer) -> None:
    answer = hub.call("POST", "/v1/declarations/preview", json=body_of(system, quantity="sku", records=1))

    (record,) = answer.json()["records"]
    assert record["failures"][0]["column"] == "quantity_on_stock"
    assert record["received"]["sku"] in record["failures"][0]["value"]


def test_a_mistake_is_named_with_its_line(hub: Hub, system: FakeRetailer) -> None:
    wrong = body_of(system)
    wrong["declaration"] = wrong["declaration"].replace("target: inventory", "target: stock")

    answer = hub.call("POST", "/v1/declarations/preview", json=wrong)

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(
        "erp_stock.yaml is not valid:\n  line 7: /target: must be one of record, "
    )


def test_what_keeps_the_hub_from_reading_is_said_in_words(hub: Hub, system: FakeRetailer) -> None:
    """The two most likely mistakes of a newcomer: a wrong secret, and a private address that nobody has allowed."""
    credentials = {"user": system.client_id, "secret": "wrong"}
    wrong_secret = hub.call("POST", "/v1/declarations/preview", json=body_of(system, credentials=credentials))
    not_allowed = hub.call("POST", "/v1/declarations/preview", json=body_of(system, settings={}))

    assert [answer.status_code for answer in (wrong_secret, not_allowed)] == [422, 422]
    assert "HTTP 401" in wrong_secret.json()["detail"]
    assert "allowed_networks" in not_allowed.json()["detail"]


def test_stored_credentials_are_sent_only_where_they_were_given_for(hub: Hub, system: FakeRetailer) -> None:
    """The text of a file that somebody sends along must not be a way to another server."""
    body = body_of(system, name="erp_kept")
    path = hub.declarations / "erp_kept.yaml"
    path.write_text(body["declaration"])
    try:
        added = hub.call(
            "POST",
            "/v1/integrations",
            json={
                "id": "erp_kept",
                "kind": "declared",
                "settings": body["settings"],
                "credentials": body["credentials"],
            },
        )
        assert added.status_code == 201, added.text
        own = {"name": "erp_kept", "declaration": body["declaration"], "records": 1}
        same = hub.call("POST", "/v1/declarations/preview", json=own)
        other = hub.call(
            "POST",
            "/v1/declarations/preview",
            json=own | {"declaration": own["declaration"].replace("127.0.0.1", "127.0.0.2")},
        )
    finally:
        path.unlink()

    assert same.status_code == 200, same.text
    assert other.status_code == 400
    assert "the credentials were given for" in other.json()["detail"]


@pytest.mark.parametrize("odd", [b'"Caf\xe9"', rb'"\ud83d"', b"NaN", b"1E+400", b"1" + b"0" * 5_000])
def test_a_record_that_json_cannot_express_is_shown_beside_the_others(hub: Hub, odd: bytes) -> None:
    """A sync puts it into quarantine alone; an error would hide what the system sends."""

    def page(_asked: Any, _request: Any) -> bytes:
        good = b'{"id": "b", "version": 1, "changed": "2026-11-01T00:00:00Z", "n": 1}'
        return (
            b'{"results": [{"id": "a", "version": 1, "changed": "2026-11-01T00:00:00Z", "n": '
            + odd
            + b"}, "
            + good
            + b"]}"
        )

    with serving(page) as url:
        text = f"""
title: Odd
base_url: {url}
auth: {{kind: none}}
read: {{path: /list, records: results}}
identity: {{id: id, version: version, changed_at: changed}}
target: record
mapping: {{n: {{path: n, type: integer}}}}
"""
        body = {"name": "odd", "declaration": text, "settings": {"allowed_networks": ["127.0.0.0/8"]}}
        answer = hub.call("POST", "/v1/declarations/preview", json=body)

    assert answer.status_code == 200, answer.text
    first, second = answer.json()["records"]
    assert first["failures"]
    assert (second["failures"], second["mapped"]["data"]) == ([], '{"n":1}')
