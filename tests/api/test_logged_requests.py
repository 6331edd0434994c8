"""No card number and no key of a request line reaches the access log, which is kept elsewhere and read by others."""

from __future__ import annotations

from typing import Any

import pytest

from crossdock.api.logged_requests import hide_in_log
from tests.api.conftest import Hub
from tests.events.worlds import eventually

CARD = "4111111111111111"
#: Of no provider: put together here, so that nobody's scanner takes it for one.
KEY = "Ab3_" + "dEf9" * 8


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (f"number={CARD}", "number=%2A%2A%2A%2A" + "%2A" * 12),
        ("card=4111+1111+1111+1111&limit=5", "card=" + "+".join(["%2A%2A%2A%2A"] * 4) + "&limit=5"),
        (CARD, "%2A" * 16 + "="),
        ("note=paid%204111-1111-1111-1111", "note=paid+" + "-".join(["%2A%2A%2A%2A"] * 4)),
        ("cvc=123", "cvc=%2A%2A%2A"),
        (f"after={KEY}", "after=%2A%2A%2A"),
        (f"x=1&{KEY}", "x=1&%2A%2A%2A="),
    ],
)
def test_what_looks_like_a_card_number_or_a_key_is_hidden(query: str, shown: str) -> None:
    assert logged(query=query)["query_string"].decode() == shown


@pytest.mark.parametrize(
    "query",
    [
        "",
        "limit=5&after=1-4711",
        "sku=4006381333931&stream=commercetools.inventory",
        "since=2026-11-29T17:43:05.123456%2B00:00",
        "id=0193a7c1-5b1e-7c3a-9f10-4111111111aa",
        "%zz&&=&a=%ff",
    ],
)
def test_any_other_query_is_logged_as_it_came(query: str) -> None:
    """Whoever looks for a fault reads there what was asked."""
    assert logged(query=query)["query_string"].decode() == query


def test_a_customers_address_in_a_path_is_hidden() -> None:
    scope: dict[str, Any] = {"path": "/v1/journeys/customer/ada@example.com", "query_string": b""}
    hide_in_log(scope)

    assert scope["path"] == "/v1/journeys/customer/***"


def test_a_card_number_in_a_path_is_hidden_whatever_separates_its_groups() -> None:
    assert logged(path=f"/hub/v1/payments/{CARD}")["path"] == f"/hub/v*/payments/{'*' * 16}"
    assert "4111" not in logged(path="/hub/v1/4111/1111/1111/1111")["path"]
    assert logged(path="/hub/v1/availability/4006381333931")["path"] == "/hub/v1/availability/4006381333931"


@pytest.mark.parametrize(
    "path", [f"/v1/runs?note={CARD}&x={KEY}", f"/v1/payments/{CARD}?x={KEY}", f"/v1/no-such-route/{CARD}?x={KEY}"]
)
def test_the_log_of_a_real_api_server_shows_neither(hub: Hub, path: str) -> None:
    hub.token("vera")  # a request of its own
    begin = len(hub.log.read_text())
    answer = hub.call("GET", path, "vera", headers={"X-Request-Id": "looked-for"})

    assert answer.status_code < 500
    eventually(lambda: "request finished" in hub.log.read_text()[begin:])
    written = hub.log.read_text()[begin:]
    assert CARD not in written
    assert KEY not in written


def logged(path: str = "/hub/v1/runs", query: str = "") -> dict[str, Any]:
    scope = {"type": "http", "path": path, "query_string": query.encode()}
    hide_in_log(scope)
    return scope
