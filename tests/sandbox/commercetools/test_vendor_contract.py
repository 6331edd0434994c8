"""The sandbox's responses match the vendor's own contract."""

from typing import Any

import pytest
from referencing import Registry

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient
from tests.vendor_contract import faults_in


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("inventory", "InventoryEntry"),
        ("product-projections", "ProductProjection"),
        ("products", "Product"),
        ("standalone-prices", "StandalonePrice"),
        ("orders", "Order"),
        ("customers", "Customer"),
    ],
)
def test_good_rows_keep_the_contract(
    contract: Registry[Any], reader: RetailerClient, still_shop: FakeRetailer, path: str, name: str
) -> None:
    """Flawed rows are excluded: they break it on purpose."""
    entity = "product-projections" if path == "products" else path
    flawed = still_shop.state.flawed_ids(entity)
    page = reader.get(path, ("limit", 60)).json
    for row in page["results"]:
        assert row["id"] in flawed or faults_in(contract, name, row) == []
    page["results"] = []
    envelope = name.removesuffix("Entry") + "PagedQueryResponse"
    assert faults_in(contract, envelope, page) == []


def plainly(row: dict[str, Any]) -> dict[str, Any]:
    """Turn custom fields into text: the contract's schema allows nothing else, although the vendor does."""
    if "custom" not in row:
        return row
    return row | {"custom": row["custom"] | {"fields": {name: str(v) for name, v in row["custom"]["fields"].items()}}}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("inventory", "InventoryEntry"),
        ("product-projections", "ProductProjection"),
        ("products", "Product"),
        ("orders", "Order"),
        ("customers", "Customer"),
    ],
)
def test_rows_of_a_dataset_keep_the_contract(
    contract: Registry[Any], real: RetailerClient, path: str, name: str
) -> None:
    """The only exception is a line without a description: the vendor's lines have a name."""
    rows = real.get(path, ("limit", 60)).json["results"]
    assert rows
    for row in rows:
        found = faults_in(contract, name, plainly(row))
        nameless = [n for n, item in enumerate(row.get("lineItems", ())) if "name" not in item]
        # If a part is wrong, the validator also calls the whole unevaluated.
        assert [fault for fault in found if not fault.startswith("$: Unevaluated")] == [
            f"$.lineItems[{n}]: 'name' is a required property" for n in nameless
        ]
        assert not found or nameless


def test_contract_finds_what_is_wrong(contract: Registry[Any], reader: RetailerClient) -> None:
    """A validator that accepts everything would pass all other tests here."""
    order = reader.get("orders", ("limit", 1)).json["results"][0]
    assert faults_in(contract, "Order", order | {"orderState": "Lost"})
    assert faults_in(contract, "Order", order | {"colour": "red"})
    assert faults_in(contract, "Order", order | {"totalPrice": {"type": "centPrecision", "currencyCode": "EUR"}})
    assert faults_in(contract, "Order", order | {"createdAt": "2026-02-30T00:00:00.000Z"})
    assert faults_in(
        contract, "ErrorResponse", {"statusCode": 400, "message": "m", "errors": [{"code": "DuplicateField"}]}
    )


def test_project_keeps_the_contract(contract: Registry[Any], reader: RetailerClient) -> None:
    """A connection test reads it."""
    assert faults_in(contract, "Project", reader.get("/demo").json) == []


def test_refusals_keep_the_contract(contract: Registry[Any], client: RetailerClient) -> None:
    """Clients decide by these bodies."""
    row = client.get("inventory", ("limit", 1)).json["results"][0]
    path, twin = f"inventory/{row['id']}", {name: row[name] for name in ("sku", "supplyChannel", "quantityOnStock")}
    answers = [
        client.get("inventory/none"),
        client.get("inventory", ("limit", 501)),
        client.update(path, row["version"] + 1),
        client.call("POST", path, body="{"),
        client.update(path, row["version"], {"action": "none"}),
        client.call("POST", "inventory", body=twin),
    ]
    assert [answer.status for answer in answers] == [404, 400, 409, 400, 400, 400]
    for status in (400, 401, 403, 404, 409, 429, 500, 502, 503, 504):
        client.script("inventory", {"status": status})
        answers.append(client.get("inventory"))
    for answer in answers:
        body = {name: value for name, value in answer.json.items() if name not in ("error", "error_description")}
        assert faults_in(contract, "ErrorResponse", body) == []


def test_refused_tokens_keep_the_contract(contract: Registry[Any], client: RetailerClient) -> None:
    """The authorisation server has its own kind of body."""
    assert faults_in(contract, "AuthErrorResponse", client.log_in(secret="guess").json) == []
    client.token = "nonsense"
    assert faults_in(contract, "AuthErrorResponse", client.get("inventory").json) == []
