"""Tokens: who has none gets nothing."""

import time

import pytest
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient


def test_right_credentials_give_a_token(client: RetailerClient) -> None:
    """In OAuth's shape."""
    answer = client.log_in(scope="view_products:demo view_orders:demo").json
    assert answer["token_type"] == "Bearer"
    assert answer["scope"] == "view_products:demo view_orders:demo"
    assert answer["expires_in"] == 172_800


def test_wrong_secret_is_refused(client: RetailerClient) -> None:
    """In both dialects at once, as the vendor's authorisation server does."""
    answer = client.log_in(secret="guess")
    assert answer.status == answer.json["statusCode"] == 401
    assert answer.json["errors"][0]["code"] == answer.json["error"] == "invalid_client"
    assert answer.json["error_description"]


@pytest.mark.parametrize(
    ("form", "code"),
    [({"grant_type": "password"}, "unsupported_grant_type"), ({"scope": "manage_project:other"}, "invalid_scope")],
)
def test_wrong_form_is_refused(client: RetailerClient, form: dict[str, str], code: str) -> None:
    """A scope for another project is the usual slip."""
    answer = client.log_in(**form)
    assert (answer.status, answer.json["error"]) == (400, code)


@pytest.mark.parametrize("path", ["/demo", "/demo/inventory", "/demo/orders/x", "/other/inventory"])
@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Basic c2FuZGJveDpzYW5kYm94"])
def test_no_live_token_no_answer(client: RetailerClient, path: str, header: str) -> None:
    """Every path of every project."""
    answer = client.call("GET", path, headers={"Authorization": header})
    assert (answer.status, answer.json["errors"][0]["code"]) == (401, "invalid_token")
    assert "WWW-Authenticate" in answer.headers


def test_other_project_is_out_of_scope(client: RetailerClient) -> None:
    """A live token opens one project."""
    assert client.get("/other/inventory").status == 403


def test_token_ends(client: RetailerClient, shop: FakeRetailer) -> None:
    """Clients have to renew; a short life makes them show it."""
    shop.tokens.life_s = 0.5
    client.log_in()
    assert client.get("inventory").status == 200
    time.sleep(0.55)
    assert client.get("inventory").status == 401


def test_tokens_can_be_revoked_and_shortened_by_control(client: RetailerClient) -> None:
    """Revoking is how a token dies before its time, which only the 401 tells."""
    assert client.call("PUT", "/_sandbox/tokens", body={"life_s": 60}).json == {"alive": 1, "life_s": 60}
    assert client.call("DELETE", "/_sandbox/tokens").json == {"revoked": 1}
    assert client.get("inventory").status == 401
    assert client.log_in().json["expires_in"] == 60
    assert client.get("inventory").status == 200
