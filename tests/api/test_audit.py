"""The audit trail is read: who changed what, from what to what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.db.database import Store
from crossdock.observability import audit
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.shop import query

CANARY = "k4n4ry-of-the-audit-trail"


@pytest.fixture(scope="module")
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=3, inventory=5, products=5, orders=5, customers=2, flaws=0, client_secret=CANARY) as opened:
        yield opened


@pytest.fixture
def trail(hub: Hub) -> Iterator[Store]:
    with hub.store() as store:
        yield store


def add(store: Store, *entries: tuple[str, str, str]) -> None:
    for actor, act, subject in entries:
        with store.transaction() as work:
            audit.add(work, actor=actor, act=act, subject=subject, detail={"reason": f"{actor} knows Ada"})


def entries(hub: Hub, name: str = "otto", **wanted: Any) -> list[dict[str, Any]]:
    answer = hub.call("GET", "/v1/audit", name, params=wanted)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_it_is_filtered_by_who_what_which_and_when(hub: Hub, trail: Store) -> None:
    add(
        trail,
        ("airflow:ann", "test.filter", "test/1"),
        ("airflow:ben", "test.filter", "test/2"),
        ("airflow:ann", "tests.no", "test/1"),
    )
    ((middle,),) = query(
        trail, "SELECT at::text FROM audit_entry WHERE actor = 'airflow:ben' ORDER BY entry_id DESC LIMIT 1"
    )

    assert [entry["act"] for entry in entries(hub, actor="airflow:ann", subject="test/1")] == [
        "tests.no",
        "test.filter",
    ]
    assert {entry["act"] for entry in entries(hub, act="test")} == {"test.filter"}
    assert {entry["actor"] for entry in entries(hub, act="test.filter")} == {"airflow:ann", "airflow:ben"}
    at = middle.replace(" ", "T")
    at = at if ":" in at[-3:] else f"{at}:00"
    assert [entry["act"] for entry in entries(hub, actor="airflow:ann", since=at)] == ["tests.no"]
    assert [entry["act"] for entry in entries(hub, actor="airflow:ann", until=at)] == ["test.filter"]


def test_pages_neither_repeat_nor_leave_out(hub: Hub, trail: Store) -> None:
    add(trail, *(("airflow:pia", "test.page", f"test/{number}") for number in range(5)))
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = hub.call("GET", "/v1/audit", "otto", params={"act": "test.page", "limit": 2, **cursor}).json()
        found += [entry["subject"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert found == [f"test/{number}" for number in reversed(range(5))]


def test_a_reason_in_a_person_s_words_is_for_operators(hub: Hub, trail: Store) -> None:
    add(trail, ("airflow:ann", "test.reason", "test/1"))

    assert entries(hub, "otto", act="test.reason")[0]["detail"] == {"reason": "airflow:ann knows Ada"}
    for name in ("vera", "uma", "dora"):
        assert entries(hub, name, act="test.reason")[0]["detail"] == {"reason": "***"}


def test_a_change_says_from_what_to_what_and_never_a_secret(hub: Hub, retailer: FakeRetailer) -> None:
    """A list of the changed fields does not say what to change back."""
    settings = {
        "base_url": retailer.url,
        "project": retailer.project,
        "scope": f"view_products:{retailer.project} view_orders:{retailer.project}",
        "allowed_networks": ["127.0.0.0/8"],
    }
    credentials = {"client_id": retailer.client_id, "client_secret": CANARY}
    path, body = "/v1/integrations/traced", {"id": "traced", "kind": "commercetools", "settings": settings}
    hub.call("POST", "/v1/integrations", "otto", json={**body, "credentials": credentials}).raise_for_status()
    changed = {"name": "Traced", "settings": {**settings, "token_path": "/oauth/token"}}
    hub.call("PATCH", path, "otto", json=changed, headers={"If-Match": "*"}).raise_for_status()
    hub.call("POST", f"{path}/pause", "otto").raise_for_status()
    hub.call(
        "POST", f"{path}/rotate", "otto", json={"credentials": credentials}, headers={"If-Match": "*"}
    ).raise_for_status()
    hub.call("DELETE", path, "otto", headers={"If-Match": "*"}).raise_for_status()

    removed, rotated, paused, change, added = entries(hub, subject="integration/traced")
    assert change["detail"]["changed"] == {
        "name": {"from": "traced", "to": "Traced"},
        "settings.token_path": {"from": None, "to": "/oauth/token"},
    }
    assert paused["detail"]["changed"] == {"state": {"from": "active", "to": "paused"}}
    assert added["detail"]["kind"] == "commercetools"
    assert added["detail"]["changed"]["settings.project"] == {"from": None, "to": retailer.project}
    assert removed["detail"]["changed"]["settings.project"] == {"from": retailer.project, "to": None}
    assert rotated["act"] == "integration.rotate"
    assert CANARY not in json.dumps([removed, rotated, paused, change, added])
