"""Writes: versions guard them, refusals change nothing."""

from typing import Any

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient


def first(client: RetailerClient, entity: str) -> dict[str, Any]:
    row: dict[str, Any] = client.get(entity, ("limit", 1)).json["results"][0]
    return row


@pytest.mark.parametrize(
    ("entity", "action", "field", "value"),
    [
        ("inventory", {"action": "setRestockableInDays", "restockableInDays": 99}, "restockableInDays", 99),
        (
            "inventory",
            {"action": "setExpectedDelivery", "expectedDelivery": "2027-01-01T01:00:00+01:00"},
            "expectedDelivery",
            "2027-01-01T00:00:00.000Z",
        ),
        ("inventory", {"action": "setKey", "key": "other"}, "key", "other"),
        ("orders", {"action": "changeOrderState", "orderState": "Complete"}, "orderState", "Complete"),
        ("orders", {"action": "changePaymentState", "paymentState": "Failed"}, "paymentState", "Failed"),
        ("orders", {"action": "changeShipmentState", "shipmentState": "Partial"}, "shipmentState", "Partial"),
        ("orders", {"action": "setOrderNumber", "orderNumber": "X-1"}, "orderNumber", "X-1"),
        ("customers", {"action": "changeEmail", "email": "new@mail.example"}, "email", "new@mail.example"),
        ("customers", {"action": "setFirstName", "firstName": "Zoë"}, "firstName", "Zoë"),
        ("customers", {"action": "setLastName", "lastName": "Zhou"}, "lastName", "Zhou"),
    ],
)
def test_action_changes_its_field(
    client: RetailerClient, entity: str, action: dict[str, Any], field: str, value: Any
) -> None:
    """The resource is one version higher, modified later than before, and readable at once."""
    row = first(client, entity)
    changed = client.update(f"{entity}/{row['id']}", row["version"], action).json
    assert changed[field] == value
    assert changed["version"] == row["version"] + (row.get(field) != value)
    assert changed["lastModifiedAt"] >= row["lastModifiedAt"]
    assert client.get(f"{entity}/{row['id']}").json == changed


def test_quantities_move_together(client: RetailerClient) -> None:
    """The reserved quantity stays, whichever action changes the stock."""
    row = first(client, "inventory")
    on_stock, reserved = row["quantityOnStock"], row["quantityOnStock"] - row["availableQuantity"]
    added = client.update(f"inventory/key={row['key']}", row["version"], {"action": "addQuantity", "quantity": 5}).json
    assert (added["quantityOnStock"], added["availableQuantity"]) == (on_stock + 5, on_stock + 5 - reserved)
    both = [{"action": "removeQuantity", "quantity": 3}, {"action": "changeQuantity", "quantity": 700}]
    changed = client.update(f"inventory/{row['id']}", added["version"], *both).json
    assert (changed["quantityOnStock"], changed["availableQuantity"]) == (700, 700 - reserved)
    assert changed["version"] == row["version"] + 2


def test_product_changes_show_in_its_projection(client: RetailerClient) -> None:
    """Products are written under one path and read under another."""
    product = first(client, "products")
    price = product["masterData"]["current"]["masterVariant"]["prices"][0]
    draft = {"value": {"currencyCode": "EUR", "centAmount": 4242}}
    changed = client.update(
        f"products/{product['id']}",
        product["version"],
        {"action": "changeName", "name": {"en": "New"}},
        {"action": "setDescription", "description": {"en": "Newer"}},
        {"action": "changePrice", "priceId": price["id"], "price": draft},
        {"action": "unpublish"},
    )
    assert changed.json["version"] == product["version"] + 1
    assert client.get(f"product-projections/{product['id']}").status == 404
    projection = client.get(f"product-projections/{product['id']}", ("staged", "true")).json
    assert projection["name"] == {"en": "New"}
    assert projection["masterVariant"]["prices"][0]["value"]["centAmount"] == 4242
    assert projection["published"] is False


def test_projection_cannot_be_written(client: RetailerClient) -> None:
    """It is a view."""
    row = first(client, "product-projections")
    assert client.update(f"product-projections/{row['id']}", row["version"], {"action": "publish"}).status == 405


def test_an_update_without_a_change_keeps_the_version(client: RetailerClient) -> None:
    """The vendor does so; a reader would otherwise see changes that did not happen."""
    row = first(client, "inventory")
    same = {"action": "changeQuantity", "quantity": row["quantityOnStock"]}
    assert client.update(f"inventory/{row['id']}", row["version"], same).json == row


def test_update_of_an_older_version_conflicts(client: RetailerClient) -> None:
    """Optimistic concurrency: the response has the current version, and nothing has changed."""
    row = first(client, "inventory")
    path, action = f"inventory/{row['id']}", {"action": "addQuantity", "quantity": 1}
    client.update(path, row["version"], action)
    answer = client.update(path, row["version"], action)
    version = row["version"] + 1
    assert answer.status == answer.json["statusCode"] == 409
    message = f"Object {row['id']} has a different version than expected. Expected: {version - 1} - Actual: {version}."
    assert answer.json["errors"] == [{"code": "ConcurrentModification", "message": message, "currentVersion": version}]
    assert client.get(path).json["version"] == version


def test_delete_of_another_version_conflicts(client: RetailerClient) -> None:
    """A delete is guarded like an update; with the right version it succeeds once."""
    row = first(client, "orders")
    path = f"orders/{row['id']}"
    wrong = client.call("DELETE", path, [("version", row["version"] + 1)])
    assert (wrong.status, wrong.json["errors"][0]["currentVersion"]) == (409, row["version"])
    assert client.call("DELETE", path, [("version", row["version"])]).json == row
    assert client.call("DELETE", path, [("version", row["version"])]).status == 404
    assert client.call("DELETE", f"orders/{first(client, 'orders')['id']}").status == 400


def test_created_entry_is_listed(client: RetailerClient, shop: FakeRetailer) -> None:
    """The response is 201, and the entry has version 1 and the current time."""
    newest = client.get("inventory", ("sort", "lastModifiedAt desc"), ("limit", 1)).json["results"][0]
    channel = {"typeId": "channel", "id": shop.state.references.channels[0][1]}
    answer = client.call("POST", "inventory", body={"sku": "NEW", "quantityOnStock": 4, "supplyChannel": channel})
    assert (answer.status, answer.json["version"], answer.json["availableQuantity"]) == (201, 1, 4)
    assert answer.json["lastModifiedAt"] > newest["lastModifiedAt"]
    assert client.get("inventory", ("where", 'sku = "NEW"')).json["results"] == [answer.json]


def test_a_second_entry_for_a_sku_and_channel_is_refused(client: RetailerClient) -> None:
    """The pair is the natural key, and an update must not duplicate it either."""
    row = first(client, "inventory")
    twin = {"sku": row["sku"], "quantityOnStock": 1, "supplyChannel": row["supplyChannel"]}
    refused = client.call("POST", "inventory", body=twin)
    assert (refused.status, refused.json["errors"][0]["code"]) == (400, "DuplicateField")
    alone = client.call("POST", "inventory", body={"sku": row["sku"], "quantityOnStock": 1})
    assert alone.status == 201
    move = {"action": "setSupplyChannel", "supplyChannel": row["supplyChannel"]}
    answer = client.update(f"inventory/{alone.json['id']}", 1, move)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "DuplicateField")


def test_a_channel_is_named_by_its_key_too(client: RetailerClient, shop: FakeRetailer) -> None:
    """A client that knows the warehouse's key need not look up its ID; what is stored and sent is the ID."""
    name, channel_id = shop.state.references.channels[1]
    draft = {
        "sku": "NEW",
        "quantityOnStock": 4,
        "supplyChannel": {"typeId": "channel", "key": name},
        "minCartQuantity": 2,
    }
    created = client.call("POST", "inventory", body=draft).json
    assert (created["supplyChannel"], created["minCartQuantity"]) == ({"typeId": "channel", "id": channel_id}, 2)
    other = {"typeId": "channel", "key": shop.state.references.channels[2][0]}
    moved = client.update(f"inventory/{created['id']}", 1, {"action": "setSupplyChannel", "supplyChannel": other}).json
    assert moved["supplyChannel"]["id"] == shop.state.references.channels[2][1]
    unknown = client.call("POST", "inventory", body={**draft, "supplyChannel": {"typeId": "channel", "key": "moon"}})
    assert (unknown.status, unknown.json["errors"][0]["code"]) == (400, "ReferencedResourceNotFound")


@pytest.mark.parametrize("field", ["custom", "stockLevels", "colour"])
def test_a_field_of_a_draft_without_an_effect_is_refused(client: RetailerClient, field: str) -> None:
    """It would be missing in the answer, and a test against the sandbox would prove nothing."""
    answer = client.call("POST", "inventory", body={"sku": "NEW", "quantityOnStock": 4, field: {}})
    assert answer.status == 400
    assert f"'{field}'" in answer.json["message"]


def test_a_price_is_changed_in_the_digits_of_its_currency(client: RetailerClient, shop: FakeRetailer) -> None:
    row = shop.state.collection("product-projections").rows()[0]
    price = shop.state.get("product-projections", row.id).document["masterVariant"]["prices"][0]
    action = {
        "action": "changePrice",
        "priceId": price["id"],
        "price": {"value": {"currencyCode": "CLF", "centAmount": 5}},
        "staged": False,
    }
    current = client.update(f"products/{row.id}", row.version, action).json["masterData"]["current"]
    assert current["masterVariant"]["prices"][0]["value"]["fractionDigits"] == 4
    discounted = {**action, "price": {**action["price"], "discounted": {}}}
    assert client.update(f"products/{row.id}", row.version + 1, discounted).status == 400


def test_a_staged_change_is_not_shown_until_it_is_published(client: RetailerClient) -> None:
    """The vendor stages what does not say otherwise: a client that forgets `staged` changes nothing for customers."""
    product = first(client, "product-projections")
    path, price = f"products/{product['id']}", product["masterVariant"]["prices"][0]
    draft = {**price, "value": {"currencyCode": "EUR", "centAmount": 4242}}
    action = {"action": "changePrice", "priceId": draft.pop("id"), "price": draft}

    def shown() -> tuple[int, bool]:
        row = client.get(f"product-projections/{product['id']}").json
        return row["masterVariant"]["prices"][0]["value"]["centAmount"], row["hasStagedChanges"]

    changed = client.update(path, product["version"], action).json
    assert changed["masterData"]["staged"]["masterVariant"]["prices"][0]["value"]["centAmount"] == 4242
    assert shown() == (price["value"]["centAmount"], True)
    assert client.update(path, changed["version"], action).json["version"] == changed["version"]

    client.update(path, changed["version"], {"action": "publish"})
    assert shown() == (4242, False)
    assert client.update(path, changed["version"] + 1, {**action, "staged": "no"}).status == 400


def test_the_draft_of_a_price_replaces_it_as_a_whole(client: RetailerClient) -> None:
    """As with the vendor: a client that sends the value alone makes the price of one country that of all."""
    product = first(client, "product-projections")
    price = next(price for price in product["masterVariant"]["prices"] if "country" in price)
    action = {"action": "changePrice", "priceId": price["id"], "price": {"value": price["value"]}, "staged": False}
    changed = client.update(f"products/{product['id']}", product["version"], action).json
    found = {each["id"]: each for each in changed["masterData"]["current"]["masterVariant"]["prices"]}
    assert found[price["id"]] == {"id": price["id"], "value": price["value"]}
    draft = {
        "value": price["value"],
        "country": price["country"],
        "tiers": [{"minimumQuantity": 5, "value": price["value"]}],
    }
    back = client.update(f"products/{product['id']}", changed["version"], {**action, "price": draft}).json
    assert (
        back["masterData"]["staged"]["masterVariant"]["prices"]
        == back["masterData"]["current"]["masterVariant"]["prices"]
    )
    assert {**draft, "id": price["id"]} in back["masterData"]["current"]["masterVariant"]["prices"]


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        '{"quantityOnStock": NaN, "sku": "A"}',
        {"version": "1", "actions": []},
        {"version": 1, "actions": {}},
        {"version": 1, "actions": [{"action": "paintItRed"}]},
        {"version": 1, "actions": [{"action": "addQuantity", "quantity": "5"}]},
        {"version": 1, "actions": [{"action": "setExpectedDelivery", "expectedDelivery": "2026-02-30T00:00:00Z"}]},
        {"version": 1, "actions": [{"action": "addQuantity", "quantity": 5}, {"action": "setKey", "key": 5}]},
    ],
)
def test_wrong_update_is_refused_whole(client: RetailerClient, shop: FakeRetailer, body: Any) -> None:
    """If the second action is refused, the first has no effect."""
    row = next(row for row in shop.state.collection("inventory").rows() if row.version == 1)
    answer = client.call("POST", f"inventory/{row.id}", body=body)
    assert answer.status == 400
    assert answer.json["errors"][0]["code"] in ("InvalidInput", "InvalidJsonInput")
    assert client.get(f"inventory/{row.id}").body == row.raw


def test_writes_have_distinct_timestamps(client: RetailerClient, shop: FakeRetailer) -> None:
    """Two changes within a millisecond still have an order."""
    for row in shop.state.collection("inventory").rows():
        shop.state.change("inventory", row.id, lambda entry: entry.update(custom={}))
    instants = [row["lastModifiedAt"] for row in client.get("inventory", ("limit", 500)).json["results"]]
    assert len(set(instants)) == len(instants)
