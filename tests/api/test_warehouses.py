"""Warehouses over REST: listed for all, declared by operators."""

from __future__ import annotations

import json

import pytest
import requests

from crossdock.db.database import Store
from crossdock.integrations import service as integrations
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem

ANY = {"If-Match": "*"}


def test_a_warehouse_that_is_declared_is_shown_and_audited(hub: Hub) -> None:
    extra = json.dumps({"project": "acme"})
    shop = {"connection_id": "shop_stock", "conn_type": "commercetools", "host": "http://127.0.0.1:9", "extra": extra}
    with Store(hub.dsn) as store:
        integrations.register(store, [shop], actor="cli:up")
    warehouse_id = "shop_stock:berlin"
    path = f"/v1/warehouses/{warehouse_id}"
    declared = {
        "name": "Berlin",
        "priority": 5,
        "country": "DE",
        "parcel_cost_minor": 490,
        "reserved_by": "platform",
        "same_as": None,
    }

    assert hub.call("PUT", path, "uma", json=declared, headers=ANY).status_code == 403
    answer = hub.call("PUT", path, "otto", json=declared, headers=ANY)
    assert answer.json() == {"warehouse_id": warehouse_id, **declared, "version": 1}
    assert hub.call("GET", path, "vera").json()["reserved_by"] == "platform"
    assert warehouse_id in [
        found["warehouse_id"] for found in hub.call("GET", "/v1/warehouses", "vera").json()["warehouses"]
    ]
    acts = [entry["act"] for entry in hub.call("GET", "/v1/audit?limit=20", "otto").json()["entries"]]
    assert "warehouse.declare" in acts


def test_a_declaration_needs_the_version_that_was_seen(hub: Hub) -> None:
    """Else of two people who declare a warehouse at once, the first never learns that it was undone."""
    shop = {
        "connection_id": "shop_versions",
        "conn_type": "commercetools",
        "host": "http://127.0.0.1:9",
        "extra": json.dumps({"project": "acme"}),
    }
    with Store(hub.dsn) as store:
        integrations.register(store, [shop], actor="cli:up")
    path = "/v1/warehouses/shop_versions:berlin"

    def declared(priority: int, tag: str) -> requests.Response:
        return hub.call("PUT", path, "otto", json={"priority": priority}, headers={"If-Match": tag})

    assert_problem(hub.call("PUT", path, "otto", json={}), 428, "precondition-required")
    first = declared(1, '"0"')
    assert (first.status_code, first.headers["ETag"]) == (200, '"1"')
    assert_problem(declared(2, '"0"'), 412, "version-changed")
    assert declared(3, hub.call("GET", path, "vera").headers["ETag"]).headers["ETag"] == '"2"'
    assert_problem(declared(4, first.headers["ETag"]), 412, "version-changed")
    assert hub.call("GET", path, "vera").json()["priority"] == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [({"priority": -1}, 400), ({"country": "de"}, 400), ({"reserved_by": "nobody"}, 400), ({"colour": "red"}, 400)],
)
def test_what_can_be_no_warehouse_is_refused(hub: Hub, body: dict[str, object], status: int) -> None:
    assert hub.call("PUT", "/v1/warehouses/shop_eu:berlin", "otto", json=body, headers=ANY).status_code == status


def test_a_warehouse_of_no_integration_is_not_there(hub: Hub) -> None:
    assert hub.call("PUT", "/v1/warehouses/nobody:berlin", "otto", json={}, headers=ANY).status_code == 404
    assert hub.call("GET", "/v1/warehouses/nobody:berlin", "vera").status_code == 404
