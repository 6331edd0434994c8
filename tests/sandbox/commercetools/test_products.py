"""Products as the vendor shows them: what is published, what is staged, and what the sandbox does not know."""

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient


@pytest.fixture
def hidden(shop: FakeRetailer) -> str:
    """A product that is not published."""
    row = shop.state.collection("product-projections").rows()[0]
    shop.state.change("product-projections", row.id, lambda product: product.update(published=False))
    return row.id


def ids(client: RetailerClient, path: str, *query: tuple[str, str]) -> set[str]:
    return {row["id"] for row in client.get(path, ("limit", 500), *query).json["results"]}


def test_projections_hide_what_is_not_published_unless_asked(client: RetailerClient, hidden: str) -> None:
    """The vendor does, and a reader that does not ask never learns of it."""
    assert hidden not in ids(client, "product-projections")
    assert hidden not in ids(client, "product-projections", ("staged", "false"))
    assert hidden in ids(client, "product-projections", ("staged", "true"))
    assert hidden in ids(client, "products")
    assert client.get(f"product-projections/{hidden}").status == 404
    assert client.get(f"product-projections/{hidden}", ("staged", "true")).status == 200


def test_the_total_of_projections_counts_what_is_shown(client: RetailerClient, shop: FakeRetailer, hidden: str) -> None:
    total = client.get("product-projections", ("limit", 1)).json["total"]
    published = client.get("products", ("where", "masterData(published = true)"), ("limit", 1)).json["total"]
    assert total == published < len(shop.state.collection("product-projections"))
    assert hidden


def test_staged_changes_are_in_the_staged_projection_only(client: RetailerClient, shop: FakeRetailer) -> None:
    staged = next(row for row in shop.state.collection("product-projections").rows() if "masterData" in row.document)

    def first_price(answer: dict[str, object]) -> int:
        found: int = answer["masterVariant"]["prices"][0]["value"]["centAmount"]  # type: ignore[index]
        return found

    shop.state.change("product-projections", staged.id, lambda product: product["masterData"].update(published=True))
    path = f"product-projections/{staged.id}"
    current, changed = client.get(path).json, client.get(path, ("staged", "true")).json
    assert first_price(changed) == first_price(current) + 1
    catalogue = client.get(f"products/{staged.id}").json["masterData"]
    assert first_price(catalogue["current"]) == first_price(current)
    assert catalogue["hasStagedChanges"] is current["hasStagedChanges"] is True


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("inventory", "expand"),
        ("product-projections", "priceCurrency"),
        ("product-projections", "localeProjection"),
        ("product-projections", "storeProjection"),
        ("products", "priceCountry"),
        ("products", "staged"),
        ("orders", "colour"),
    ],
)
def test_a_parameter_without_an_effect_is_refused(client: RetailerClient, path: str, parameter: str) -> None:
    """Ignored, it would make an answer that the vendor would not give."""
    row = client.get(path, ("limit", 1)).json["results"][0]
    for answer in (client.get(path, (parameter, "x")), client.get(f"{path}/{row['id']}", (parameter, "x"))):
        assert answer.status == 400
        assert parameter in answer.json["message"]


def test_head_says_whether_something_exists(client: RetailerClient) -> None:
    """By the status alone: a body would be read as the next answer of the connection."""
    row = client.get("inventory", ("limit", 1)).json["results"][0]
    for path, query, status in (
        ("inventory", [("where", f'sku = "{row["sku"]}"')], 200),
        ("inventory", [("where", 'sku = "none"')], 404),
        ("inventory", [("sort", "id asc")], 400),
        (f"inventory/{row['id']}", [], 200),
        ("inventory/none", [], 404),
    ):
        answer = client.call("HEAD", path, query)
        assert (answer.status, answer.body) == (status, b"")
        assert answer.headers["Content-Length"] == "0"


def test_standalone_prices_are_listed_and_changed(client: RetailerClient) -> None:
    row = client.get("standalone-prices", ("limit", 1), ("where", "key is defined")).json["results"][0]
    assert client.get(f"standalone-prices/key={row['key']}").json == row
    value = {"currencyCode": "JPY", "centAmount": 900}
    actions = [{"action": "changeValue", "value": value}, {"action": "changeActive", "active": not row["active"]}]
    changed = client.update(f"standalone-prices/{row['id']}", row["version"], *actions).json
    assert changed["value"] == {"type": "centPrecision", **value, "fractionDigits": 0}
    assert changed["active"] is not row["active"]
