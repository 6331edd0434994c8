"""Tokens: without one, every request is refused."""

import time

import pytest

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient


def test_right_credentials_give_a_token(client: RetailerClient) -> None:
    """The response has OAuth's fields."""
    answer = client.log_in(scope="view_products:demo view_orders:demo").json
    assert answer["token_type"] == "Bearer"
    assert answer["scope"] == "view_products:demo view_orders:demo"
    assert answer["expires_in"] == 172_800


def test_wrong_secret_is_refused(client: RetailerClient) -> None:
    """The body has OAuth's and the API's fields, as with the vendor's authorisation server."""
    answer = client.log_in(secret="guess")
    assert answer.status == answer.json["statusCode"] == 401
    assert answer.json["errors"][0]["code"] == answer.json["error"] == "invalid_client"
    assert answer.json["error_description"]


@pytest.mark.parametrize(
    ("form", "code"),
    [({"grant_type": "password"}, "unsupported_grant_type"), ({"scope": "manage_project:other"}, "invalid_scope")],
)
def test_wrong_form_is_refused(client: RetailerClient, form: dict[str, str], code: str) -> None:
    """A scope for another project is the usual mistake."""
    answer = client.log_in(**form)
    assert (answer.status, answer.json["error"]) == (400, code)


@pytest.mark.parametrize("path", ["/demo", "/demo/inventory", "/demo/orders/x", "/other/inventory"])
@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Basic c2FuZGJveDpzYW5kYm94"])
def test_a_request_without_a_valid_token_is_refused(client: RetailerClient, path: str, header: str) -> None:
    """Every path of every project needs one."""
    answer = client.call("GET", path, headers={"Authorization": header})
    assert (answer.status, answer.json["errors"][0]["code"]) == (401, "invalid_token")
    assert "WWW-Authenticate" in answer.headers


def test_another_project_is_out_of_scope(client: RetailerClient) -> None:
    """A valid token is for one project."""
    assert client.get("/other/inventory").status == 403


def test_a_token_expires(client: RetailerClient, shop: FakeRetailer) -> None:
    """Clients must renew it; a short validity makes a test see that."""
    client.log_in()
    assert client.get("inventory").status == 200
    shop.tokens.life_s = 0.05
    client.log_in()
    time.sleep(0.06)
    assert client.get("inventory").status == 401


def test_tokens_can_be_revoked_and_shortened_by_control(client: RetailerClient) -> None:
    """A client learns of a revoked token only by the 401."""
    assert client.call("PUT", "/_sandbox/tokens", body={"life_s": 60}).json == {"alive": 1, "life_s": 60}
    assert client.call("DELETE", "/_sandbox/tokens").json == {"revoked": 1}
    assert client.get("inventory").status == 401
    assert client.log_in().json["expires_in"] == 60
    assert client.get("inventory").status == 200


@pytest.mark.parametrize(
    ("scope", "inventory", "orders"),
    [
        ("view_products:demo view_orders:demo", 403, 403),
        ("manage_products:demo view_orders:demo", 200, 403),
        ("manage_orders:demo", 403, 200),
        ("manage_project:demo", 200, 200),
    ],
)
def test_a_token_for_reading_cannot_write(client: RetailerClient, scope: str, inventory: int, orders: int) -> None:
    """A connection whose scope is that of the syncs would otherwise work here, and fail at the vendor."""
    client.log_in(scope=scope)
    for path, status in (("inventory", inventory), ("orders", orders)):
        row = client.get(path, ("limit", 1)).json["results"][0]
        answer = client.update(f"{path}/{row['id']}", row["version"])
        assert answer.status == status
        assert status == 200 or answer.json["error"] == "insufficient_scope"
