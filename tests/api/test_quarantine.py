"""Triage of rejected records over HTTP: one record from rejection to the hub, and who did what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from crossdock.app.replays import EXECUTORS
from crossdock.db.database import Store
from crossdock.events.replay import service as replay_service
from tests.api.conftest import Hub
from tests.events.worlds import SUBSCRIBERS
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry


@pytest.fixture
def in_triage(hub: Hub) -> Iterator[Store]:
    with hub.store() as store:
        yield store
        query(store, "DELETE FROM quarantine_item RETURNING 1")


def rejected(store: Store, *ids: str) -> None:
    Triage(store).sync(*(entry(id=record_id, quantityOnStock=-3) for record_id in ids))


def items(hub: Hub, **wanted: Any) -> list[dict[str, Any]]:
    answer = hub.call("GET", "/v1/quarantine", "vera", params=wanted)
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_a_record_is_found_fixed_and_replayed(hub: Hub, in_triage: Store) -> None:
    ((before,),) = query(in_triage, "SELECT coalesce(max(entry_id), 0) FROM audit_entry")
    rejected(in_triage, "a", "b")
    (cause,) = hub.call("GET", "/v1/quarantine-causes", "vera").json()["causes"]
    first, second = items(hub, cause=cause["cause"])
    assert (cause["items"], first["is_edited"]) == (2, False)
    assert "record" not in first, "a list is for every viewer, and a record may name a person"
    path = f"/v1/quarantine/{first['item_id']}"
    assert hub.call("GET", path, "otto").json()["record"]["quantityOnStock"] == -3

    again = hub.call("PATCH", path, "otto", json={"changes": {"quantityOnStock": -1}}).json()
    edited = hub.call("PATCH", path, "otto", json={"changes": {"quantityOnStock": 5, "availableQuantity": 5}}).json()
    assert (again["passes"], edited["passes"], edited["failures"]) == (False, True, [])
    requested = hub.call("POST", "/v1/quarantine-replays", "otto", json={"all": True})
    assert requested.status_code == 202
    assert (
        replay_service.run_replay(
            in_triage, requested.json()["replay_id"], subscribers=SUBSCRIBERS, executors=EXECUTORS
        )
        is not None
    )

    replay = hub.call("GET", f"/v1/replays/{requested.json()['replay_id']}", "vera").json()
    assert (replay["state"], replay["done"], replay["failed"]) == ("done", 1, 1)
    done = hub.call("GET", path, "vera").json()
    assert [(step["act"], step["actor"]) for step in done["history"]] == [
        ("fixed", "airflow:otto"),
        ("fixed", "airflow:otto"),
        ("replayed", "airflow:otto"),
    ]
    assert done["history"][0]["detail"]["changed"] == {"quantityOnStock": {"from": -3, "to": -1}}
    assert (done["history"][2]["replay_id"], done["history"][2]["replay_state"]) == (replay["replay_id"], "done")
    assert done["sources"]["quantity_on_stock"] == ["quantityOnStock"]
    assert "availableQuantity" in done["fields"]
    assert [item["item_id"] for item in items(hub)] == [second["item_id"]]
    assert query(in_triage, "SELECT quantity_on_stock FROM inventory WHERE id = 'a'") == [(5,)]
    acts = query(in_triage, "SELECT DISTINCT actor, act FROM audit_entry WHERE entry_id > %s ORDER BY act", before)
    assert [act for _, act in acts] == [
        "personal_data.reveal",
        "quarantine.fix",
        "quarantine.replay: failed again",
        "quarantine.replay: replayed",
        "replay.quarantine",
    ]
    assert {actor.rpartition(":")[2] for actor, _ in acts} == {"otto"}


def test_a_discarded_item_is_closed_permanently(hub: Hub, in_triage: Store) -> None:
    rejected(in_triage, "c")
    (item,) = items(hub)
    path = f"/v1/quarantine/{item['item_id']}"

    assert hub.call("POST", f"{path}/discard", "otto", json={"reason": "a test article"}).json()["state"] == "discarded"
    assert items(hub) == []
    assert hub.call("POST", f"{path}/discard", "otto", json={"reason": "again"}).status_code == 409
    assert hub.call("POST", "/v1/quarantine-replays", "otto", json={"item_ids": [item["item_id"]]}).status_code == 409


def test_many_are_discarded_by_one_request_and_counted_before(hub: Hub, in_triage: Store) -> None:
    """A thousand records with one cause are one decision, over HTTP too."""
    rejected(in_triage, "p", "q", "r")
    (cause,) = hub.call("GET", "/v1/quarantine-causes", "vera").json()["causes"]
    numbers = [item["item_id"] for item in items(hub)]
    body = {"cause": cause["cause"], "reason": "no longer sold"}

    counted = hub.call("POST", "/v1/quarantine-discards", "otto", json={**body, "dry_run": True})
    done = hub.call("POST", "/v1/quarantine-discards", "otto", json=body)
    again = hub.call("POST", "/v1/quarantine-discards", "otto", json=body)
    closed = hub.call("POST", "/v1/quarantine-discards", "otto", json={"item_ids": numbers, "reason": "again"})

    assert counted.json() == {"chosen": 3, "closed": []}
    assert done.json() == {"chosen": 3, "closed": numbers}
    assert (again.status_code, closed.status_code, items(hub)) == (404, 409, [])
    assert again.json()["hint"]["request"] == "GET /hub/v1/quarantine"
    assert "./hub" not in again.json()["detail"]
    unclear = hub.call("POST", "/v1/quarantine-discards", "otto", json={"reason": "x"})
    assert unclear.status_code == 400
    assert (
        "/item_ids: is missing or /cause: is missing or /like: is missing or /all: is missing"
        in unclear.json()["detail"]
    )
    assert [each["pointer"] for each in unclear.json()["errors"]] == ["/item_ids", "/cause", "/like", "/all"]


def test_pages_neither_repeat_nor_leave_out(hub: Hub, in_triage: Store) -> None:
    rejected(in_triage, *"defgh")
    found, cursor = [], None
    while True:
        page = hub.call("GET", "/v1/quarantine", "vera", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        found += [item["record_id"] for item in page.json()["items"]]
        if not (cursor := page.json()["next_cursor"]):
            break

    assert found == list("defgh")


@pytest.mark.parametrize("body", [{}, {"all": True, "cause": "x"}, {"all": False}])
def test_a_replay_says_which_one_way_only(hub: Hub, body: dict[str, Any]) -> None:
    assert hub.call("POST", "/v1/quarantine-replays", "otto", json=body).status_code == 400


class TestOneChangeForAllLikeOne:
    BETTER: ClassVar = {"quantityOnStock": 12, "availableQuantity": 3}

    def like(self, hub: Hub) -> int:
        return int(items(hub)[0]["item_id"])

    def test_a_preview_says_what_would_happen_and_saves_nothing(self, hub: Hub, in_triage: Store) -> None:
        rejected(in_triage, "l", "m", "n")
        body = {"like": self.like(hub)}

        without = hub.call("POST", "/v1/quarantine-previews", "otto", json=body).json()
        with_it = hub.call("POST", "/v1/quarantine-previews", "otto", json={**body, "changes": self.BETTER}).json()

        assert (without["chosen"], without["would_load"]) == (3, 0)
        assert [each["items"] for each in without["still_bad"]] == [3]
        assert with_it == {"chosen": 3, "checked": 3, "would_load": 3, "still_bad": []}
        assert query(in_triage, "SELECT DISTINCT edited FROM quarantine_item") == [(None,)]

    def test_each_record_gets_it_once_and_another_stream_does_not(self, hub: Hub, in_triage: Store) -> None:
        rejected(in_triage, "l", "m", "n")
        query(in_triage, "UPDATE quarantine_item SET integration = 'shop_eu' WHERE record_id = 'n' RETURNING 1")
        body = {"like": self.like(hub), "changes": self.BETTER}

        fixed = hub.call("POST", "/v1/quarantine-fixes", "otto", json=body).json()

        assert (fixed["chosen"], len(fixed["edited"])) == (2, 2)
        edited = query(in_triage, "SELECT record_id FROM quarantine_item WHERE edited IS NOT NULL ORDER BY 1")
        assert edited == [("l",), ("m",)]
        replay = hub.call("POST", "/v1/quarantine-replays", "otto", json={"like": body["like"]}).json()
        assert replay["total"] == 2

    @pytest.mark.parametrize("path", ["/v1/quarantine-previews", "/v1/quarantine-fixes"])
    def test_a_field_that_no_record_has_is_refused_with_the_nearest(
        self, hub: Hub, in_triage: Store, path: str
    ) -> None:
        """A preview that finds fault with nothing would promise what the fix refuses."""
        rejected(in_triage, "l")
        answer = hub.call("POST", path, "otto", json={"like": self.like(hub), "changes": {"quantityOnStok": 1}})

        assert answer.status_code == 400
        assert "quantityOnStock" in answer.json()["detail"]

    def test_like_an_item_that_does_not_exist_selects_nothing(self, hub: Hub) -> None:
        assert hub.call("POST", "/v1/quarantine-previews", "otto", json={"like": 4711}).status_code == 404
