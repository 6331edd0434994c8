"""Events over HTTP as a consumer elsewhere reads them: by ID, in each mode of CloudEvents, and page after page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
import requests

from crossdock.db.database import Store
from crossdock.events import cloudevents_pb2, cloudevents_protobuf
from crossdock.events import partitions as event_partitions
from crossdock.events import store as event_store
from crossdock.events.cloudevents import BATCH_MEDIA_TYPE, MEDIA_TYPE
from crossdock.events.model import WEBHOOK_RECEIVED, NewEvent
from tests.api.conftest import Hub
from tests.events.cloudevents_form import checked
from tests.events.worlds import publish, stock
from tests.shop import query


@pytest.fixture
def store(hub: Hub) -> Iterator[Store]:
    with hub.store() as opened:
        query(opened, "DELETE FROM event RETURNING 1")
        query(opened, "DELETE FROM event_dropped RETURNING 1")
        yield opened
        query(opened, "DELETE FROM event RETURNING 1")
        query(opened, "DELETE FROM event_dropped RETURNING 1")


def from_outside(sender_id: str) -> NewEvent:
    return NewEvent(
        source="/integrations/commercetools",
        type=WEBHOOK_RECEIVED,
        subject=None,
        time=datetime(2026, 11, 1, tzinfo=UTC),
        partition_key="commercetools.inventory/CHAIR",
        data=json.dumps({"integration": "commercetools", "dataset": "inventory", "key": "CHAIR", "body": "{}"}),
        event_id=sender_id,
    )


def get(hub: Hub, path: str, accept: str = "*/*") -> requests.Response:
    answer = hub.call("GET", path, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


def listed(hub: Hub, **parameters: Any) -> dict[str, Any]:
    answer = hub.call("GET", "/v1/events", params=parameters)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize("sender_id", ["msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "a/b?c=d e", "1-1"])
def test_the_id_that_the_list_shows_is_the_id_that_is_answered(hub: Hub, store: Store, sender_id: str) -> None:
    """Whatever the sender called it, even what could be an ID of ours."""
    publish(store, stock("CHAIR", 1, 5))
    with store.transaction() as work:
        event_store.receive(work, from_outside(sender_id))
    for event in listed(hub)["events"]:
        assert get(hub, f"/v1/events/{event['id']}").json()["id"] == event["id"]
    assert [event.get("senderid") for event in listed(hub)["events"]] == [None, sender_id]


def test_an_event_says_the_same_structured_in_binary_mode_in_a_batch_and_in_protocol_buffers(
    hub: Hub, store: Store
) -> None:
    publish(store, stock('Stühle 50 % "neu"', 1, 5))
    (event,) = listed(hub)["events"]
    path = f"/v1/events/{event['id']}"

    structured = get(hub, path, MEDIA_TYPE)
    binary = get(hub, f"{path}?mode=binary")
    batch = get(hub, "/v1/events", BATCH_MEDIA_TYPE)
    protobuf = get(hub, "/v1/events", cloudevents_protobuf.BATCH_MEDIA_TYPE)

    assert structured.headers["content-type"] == MEDIA_TYPE
    assert checked(structured.json()) == event
    assert binary.headers["content-type"] == event["datacontenttype"] == "application/json"
    in_headers = {name[3:]: unquote(value) for name, value in binary.headers.items() if name.startswith("ce-")}
    assert {**in_headers, "datacontenttype": "application/json", "data": binary.json()} == event
    assert (batch.headers["content-type"], batch.json()) == (BATCH_MEDIA_TYPE, [event])
    (message,) = cloudevents_pb2.CloudEventBatch.FromString(protobuf.content).events
    assert (message.id, message.attributes["dataschema"].ce_uri) == (event["id"], event["dataschema"])


def test_the_schema_that_an_event_names_is_found_at_its_address_and_holds(hub: Hub, store: Store) -> None:
    at = "2026-11-01T00:00:00Z"
    publish(store, stock("CHAIR", 1, 5, quantity_on_stock=5, created_at=at, last_modified_at=at))
    (event,) = listed(hub)["events"]
    assert event["dataschema"].startswith(f"{hub.url}/hub/v1/event-types/")

    found = requests.get(event["dataschema"], headers={"Authorization": f"Bearer {hub.token('vera')}"}, timeout=60)

    assert found.status_code == 200
    jsonschema.validate(event["data"], found.json())


@pytest.mark.parametrize("accept", ["application/json", BATCH_MEDIA_TYPE, cloudevents_protobuf.BATCH_MEDIA_TYPE])
def test_a_reader_pages_by_the_link_while_events_arrive_and_meets_each_once(
    hub: Hub, store: Store, accept: str
) -> None:
    """A batch has no place for a cursor, so the next page is in a header."""
    publish(store, *(stock(f"S{n}", 1, n) for n in range(5)))
    found, path = [], "/v1/events?limit=2&latest=false"
    for turn in range(5):
        page = get(hub, path, accept)
        found += _subjects(page, accept)
        path = page.links["next"]["url"].removeprefix("/hub")
        publish(store, stock(f"S{5 + turn}", 1, turn))

    assert found == [f"inventory/id-S{n}" for n in range(9)]


def _subjects(page: requests.Response, accept: str) -> list[str]:
    if accept == cloudevents_protobuf.BATCH_MEDIA_TYPE:
        events = cloudevents_pb2.CloudEventBatch.FromString(page.content).events
        return [event.attributes["subject"].ce_string for event in events]
    document = page.json()
    return [event["subject"] for event in (document if accept == BATCH_MEDIA_TYPE else document["events"])]


def test_a_cursor_before_events_that_were_deleted_is_gone_and_one_behind_them_goes_on(hub: Hub, store: Store) -> None:
    """Going on would leave out what was deleted, and nobody would know. Also for one who asked when there was nothing."""
    at_nothing = listed(hub, latest=True)["next_cursor"]
    publish(store, stock("CHAIR", 1, 5), stock("TABLE", 1, 6))
    behind = listed(hub, limit=1)["next_cursor"]
    assert listed(hub, cursor=at_nothing, limit=1)["next_cursor"] == behind
    rare = listed(hub, type="crossdock.order.changed")["next_cursor"]
    drop_all(store)
    publish(store, stock("LAMP", 1, 7))

    for cursor in (behind, at_nothing):
        gone = hub.call("GET", "/v1/events", params={"cursor": cursor})
        assert gone.status_code == 410
    assert (gone.status_code, gone.json()["type"]) == (410, "urn:crossdock:problem:gone")
    assert gone.json()["hint"]["request"] == "GET /hub/v1/events"
    again = listed(hub)
    assert [event["partitionkey"] for event in again["events"]] == ["LAMP"]
    assert listed(hub, cursor=again["next_cursor"])["events"] == []
    assert listed(hub, cursor=rare, type="crossdock.order.changed")["events"] == [], "it had read to the end"


def drop_all(store: Store) -> None:
    """As the retention does, much later; the partitions of later months are made first."""
    much_later = datetime.now(UTC) + timedelta(days=100)
    with store.transaction() as work:
        event_partitions.create_ahead(work, much_later)
        assert event_partitions.drop_past(work, much_later)
        event_partitions.create_ahead(work, datetime.now(UTC))


@pytest.mark.parametrize("cursor", ["1.2", "1.2.x", "-1.2.3", "MS4yLjM", "1.2.3.4", "a"])
def test_a_cursor_that_is_none_of_ours_is_a_bad_request(hub: Hub, cursor: str) -> None:
    answer = hub.call("GET", "/v1/events", params={"cursor": cursor})
    assert answer.status_code == 400, answer.text


def test_a_replay_by_rest_counts_what_it_will_deliver_and_no_more(hub: Hub, store: Store) -> None:
    publish(store, stock("CHAIR", 1, 5), stock("TABLE", 1, 6))
    answer = hub.call("POST", "/v1/event-replays", json={"subscriber": "availability"})
    assert (answer.status_code, answer.json()["total"]) == (202, 2), answer.text

    stopped = hub.call("POST", f"/v1/replays/{answer.json()['replay_id']}/stop")
    assert stopped.json()["state"] == "stopped"
