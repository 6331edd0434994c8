"""One rule on all routes: personal data is masked in lists, and shown record by record to those who may, on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from crossdock.api import dead_letters
from crossdock.app import personal_data
from crossdock.app.event_types import event_types
from crossdock.commerce.customers.schema import Customer
from crossdock.db.database import Store
from crossdock.events import cloudevents_protobuf
from crossdock.events import store as event_store
from crossdock.events.dead_letters.repository import CauseCount
from crossdock.events.model import ORDER_CHANGED, STOCK_CHANGED, WEBHOOK_RECEIVED, NewEvent
from crossdock.sync.dataset import Record
from tests.api.conftest import Hub
from tests.api.matrix import ROLES
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry

EMAIL = "ada.lovelace@example.test"
CUSTOMER_CHANGED = Customer.schema.event_type
STREET = "St James's Square 12"
#: A record as a source sends it; the same as the hub's columns have it.
RAW = {
    "id": "o-1",
    "version": 1,
    "orderNumber": "4711",
    "customerEmail": EMAIL,
    "shippingAddress": {"streetName": STREET},
}
ROW = {
    "id": "o-1",
    "version": 1,
    "order_number": "4711",
    "customer_email": EMAIL,
    "shipping_address": {"streetName": STREET},
}
MASKED_FOR = ("vera", "uma", "dora")
SHOWN_TO = ("otto", "admin")


@pytest.fixture
def with_ada(hub: Hub) -> Iterator[dict[str, str]]:
    """Ada's order as an event, a dead letter, an item in quarantine and a record; name → path of each."""
    with hub.store() as store:
        try:
            yield _add_ada(store)
        finally:
            for table in ("dead_letter", "quarantine_item", "sales_order"):
                query(store, f"DELETE FROM {table} RETURNING 1")


def _add_ada(store: Store) -> dict[str, str]:
    with store.transaction() as work:
        event_store.append(work, [_event(ORDER_CHANGED, "order/o-1", json.dumps(ROW))])
    edited = {**ROW, "customer_email": "edited@example.test"}
    ((position, dead_letter),) = query(store, _DEAD_LETTER, json.dumps(edited))
    ((item,),) = query(store, _ITEM, json.dumps(RAW).encode(), json.dumps(RAW).encode())
    query(store, _RECORD, EMAIL, json.dumps({"streetName": STREET}))
    return {
        "event": f"/v1/events/{position}",
        "dead letter": f"/v1/dead-letters/{dead_letter}",
        "item": f"/v1/quarantine/{item}",
        "record": "/v1/records/commercetools.orders?key=4711",
    }


_DEAD_LETTER = """
INSERT INTO dead_letter (subscriber, state, attempts, next_attempt_at, cause, reason, edited_data, epoch, xid, position, event_id,
                         source, type, subject, time, partition_key, partition, correlation_id, schema_version, data)
SELECT 'mail', 'dead', 1, now(), 'Refused', 'no mailbox ada.lovelace@example.test', %s::json, epoch, xid, position, event_id,
       source, type, subject, time, partition_key, 0, correlation_id, schema_version, data
  FROM event WHERE type = 'crossdock.order.changed' ORDER BY position DESC LIMIT 1
RETURNING epoch || '-' || position, dead_letter_id
"""
_ITEM = """
INSERT INTO quarantine_item (integration, dataset, record_id, record_key, version, cause, failures, raw, edited, first_run_id, last_run_id)
VALUES ('commercetools', 'orders', 'o-1', '4711', 1, 'email_is_valid',
        '[{"rule": "email_is_valid", "column": "customer_email", "message": "an address", "value": "ada.lovelace@example.test"}]',
        %s, %s, 'run-1', 'run-1') RETURNING item_id
"""
_RECORD = """
INSERT INTO sales_order (integration, id, version, order_number, order_state, customer_email, currency, total_minor, line_count,
                         lines, shipping_address, placed_at, last_modified_at, batch_id)
VALUES ('commercetools', 'o-1', 1, '4711', 'Open', %s, 'EUR', 1, 0, '[]', %s, now(), now(), 1) RETURNING 1
"""


def _event(event_type: str, subject: str, data: str) -> NewEvent:
    return NewEvent(
        source="/integrations/commercetools",
        type=event_type,
        subject=subject,
        time=datetime.now(UTC),
        partition_key="4711",
        data=data,
    )


def reveals(store: Store) -> list[tuple[Any, ...]]:
    return query(
        store, "SELECT actor, subject, detail FROM audit_entry WHERE act = 'personal_data.reveal' ORDER BY entry_id"
    )


@pytest.mark.parametrize("name", MASKED_FOR)
def test_one_record_is_masked_for_those_who_do_not_operate(hub: Hub, with_ada: dict[str, str], name: str) -> None:
    with hub.store() as store:
        before = reveals(store)
        for what, path in with_ada.items():
            answer = hub.call("GET", path, name)
            assert answer.status_code == 200, (what, answer.text)
            assert personal_data.MASK in answer.text, what
            for text in (EMAIL, STREET, "edited@example.test"):
                assert text not in answer.text, what
        assert reveals(store) == before


@pytest.mark.parametrize("name", SHOWN_TO)
def test_one_record_is_shown_to_operators_and_each_time_is_on_record(
    hub: Hub, with_ada: dict[str, str], name: str
) -> None:
    """Who looked at whose data is the first question after a leak."""
    with hub.store() as store:
        before = len(reveals(store))
        for what, path in with_ada.items():
            assert EMAIL in hub.call("GET", path, name).text, what
        found = reveals(store)[before:]

    assert {actor for actor, _, _ in found} == {f"airflow:{name}"}
    assert [subject.split("/")[0] for _, subject, _ in found] == ["events", "dead-letters", "quarantine", "records"]
    assert found[0][2] == {"fields": ["customer_email", "shipping_address"]}
    assert found[2][2] == {"fields": ["customerEmail", "orderNumber", "shippingAddress"]}
    assert EMAIL not in json.dumps([detail for _, _, detail in found])


LISTS = (
    *(
        "/v1/events?latest=true",
        "/v1/events?type=crossdock.order.changed",
        "/v1/dead-letters",
        "/v1/dead-letter-causes",
    ),
    *("/v1/quarantine", "/v1/quarantine-causes"),
)


@pytest.mark.usefixtures("with_ada")
@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_masked_for_everybody(hub: Hub, path: str) -> None:
    """A page of five hundred is a leak that no audit entry could describe."""
    for name in [name for name, role in ROLES.items() if role]:
        answer = hub.call("GET", path, name)
        assert answer.status_code == 200, answer.text
        assert "example.test" not in answer.text, name
        assert STREET not in answer.text, name


@pytest.mark.usefixtures("with_ada")
def test_the_latest_reason_of_a_cause_can_be_read(hub: Hub) -> None:
    """Only the values of the person are masked in it: whoever decides about dead letters has to know why they failed."""
    for name in ("vera", "admin"):
        (cause, *_) = hub.call("GET", "/v1/dead-letter-causes", name).json()["causes"]
        assert cause["reason"] == "no mailbox ***"
        assert hub.call("GET", f"/v1/dead-letters/{cause['newest_id']}", name).json()["cause"] == cause["cause"]


def test_only_the_events_of_reasons_that_may_quote_a_person_are_read() -> None:
    """Each of up to 1 MiB, for each cause."""
    at = datetime.now(UTC)
    groups = [
        CauseCount(
            subscriber="s",
            type=kind,
            cause="c",
            dead_letters=1,
            reason="r",
            newest_id=number,
            oldest_at=at,
            newest_at=at,
        )
        for number, kind in enumerate((STOCK_CHANGED, ORDER_CHANGED, "somebody.elses"))
    ]

    assert dead_letters._with_personal_data(groups) == [1, 2]


def test_an_address_that_a_system_wrote_in_its_own_way_is_masked_in_a_reason() -> None:
    fields = personal_data.fields_of_event(ORDER_CHANGED)
    reason = personal_data.masked_reason("no mailbox ADA.Lovelace@example.test", fields, [json.dumps(ROW)])

    assert reason == "no mailbox ***@example.test"
    assert personal_data.masked_reason("no mailbox", fields) == "***"


@pytest.mark.usefixtures("with_ada")
def test_protocol_buffers_have_no_other_rule(hub: Hub) -> None:
    answer = hub.call(
        "GET", "/v1/events?latest=true", "admin", headers={"Accept": cloudevents_protobuf.BATCH_MEDIA_TYPE}
    )

    assert answer.headers["Content-Type"] == cloudevents_protobuf.BATCH_MEDIA_TYPE
    assert b"4711" in answer.content
    assert EMAIL.encode() not in answer.content


def test_the_answer_to_a_change_is_masked_too(hub: Hub, with_ada: dict[str, str]) -> None:
    """It is kept for a day with the key of the request."""
    fixed = hub.call("PATCH", with_ada["dead letter"], "otto", json={"changes": {"country": "GB"}})
    closed = hub.call("POST", f"{with_ada['item']}/discard", "otto", json={"reason": "a test"})

    assert (fixed.status_code, closed.status_code) == (200, 200), fixed.text + closed.text
    assert EMAIL not in fixed.text + closed.text
    assert fixed.json()["edited_data"]["country"] == "GB"


def test_a_webhook_s_body_is_masked_whatever_is_in_it(hub: Hub) -> None:
    """It is as another system sent it, and nobody has said which of its fields are personal."""
    with hub.store() as store, store.transaction() as work:
        data = json.dumps({"dataset": "orders", "key": "4711", "body": json.dumps({"mail": EMAIL})})
        event_store.append(work, [_event(WEBHOOK_RECEIVED, "order/4711", data)])
    (event, *_) = hub.call("GET", "/v1/events?latest=true&limit=1", "admin").json()["events"]

    assert event["data"] == {"dataset": "orders", "key": "4711", "body": personal_data.MASK}


def test_stock_has_no_personal_data_and_is_shown_whole() -> None:
    record = {"id": "a", "sku": "CHAIR", "quantityOnStock": 5}

    assert personal_data.masked(record, personal_data.fields_of("inventory")) == record


def test_of_records_that_nobody_declared_all_is_masked() -> None:
    """A system declared in YAML may have customers: what is not known to be harmless is not shown."""
    record = {"id": "c-1", "version": 3, "mail": EMAIL, "tags": ["vip", 7], "is_active": True, "note": None}

    assert personal_data.masked(record, personal_data.fields_of("crm_customers")) == {
        "id": "c-1",
        "version": 3,
        "mail": "***",
        "tags": ["***", "***"],
        "is_active": True,
        "note": None,
    }


def test_every_event_type_says_what_is_personal() -> None:
    """A new type without an answer would be masked as a whole, which is safe and useless. Of declared fields nobody knows."""
    unknown = {name for name in event_types().names if personal_data.fields_of_event(name) is None}

    assert unknown == {Record.schema.event_type}


@pytest.fixture
def ada(hub: Hub) -> Iterator[dict[str, str]]:
    """Ada as a customer, whose key is her e-mail address: an event, a webhook, an item, a run and a record; name → path."""
    customer = {"id": "c-1", "version": 1, "email": EMAIL, "last_name": "Lovelace", "addresses": [{"street": STREET}]}
    webhook = {"dataset": "customers", "key": EMAIL, "body": "{}"}
    with hub.store() as store:
        with store.transaction() as work:
            for event_type, subject, data in (
                (CUSTOMER_CHANGED, "customers/c-1", customer),
                (WEBHOOK_RECEIVED, f"customers/{EMAIL}", webhook),
            ):
                event = _event(event_type, subject, json.dumps(data))
                event_store.append(work, [msgspec.structs.replace(event, partition_key=EMAIL)])
        events = query(store, "SELECT epoch || '-' || position FROM event ORDER BY position DESC LIMIT 2")
        ((item,),) = query(store, _CUSTOMER_ITEM, EMAIL, json.dumps(customer).encode())
        query(store, _CUSTOMER_RUN, json.dumps({"keys": [EMAIL]}))
        query(store, _CUSTOMER, EMAIL, json.dumps([{"street": STREET}]))
        try:
            yield {
                "webhook": f"/v1/events/{events[0][0]}",
                "event": f"/v1/events/{events[1][0]}",
                "item": f"/v1/quarantine/{item}",
            }
        finally:
            for table in ("quarantine_item", "sync_run", "customers"):
                query(store, f"DELETE FROM {table} RETURNING 1")


_CUSTOMER_ITEM = """
INSERT INTO quarantine_item (integration, dataset, record_id, record_key, version, cause, failures, raw, first_run_id, last_run_id)
VALUES ('commercetools', 'customers', 'c-1', %s, 1, 'country_is_known',
        '[{"rule": "country_is_known", "column": "countries_unknown", "message": "a country", "value": "XX"}]',
        %s, 'run-1', 'run-1') RETURNING item_id
"""
_CUSTOMER_RUN = """
INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, state, moves_watermark, finished_at)
VALUES ('customers-1', 'commercetools', 'customers', 'all', 'keys', %s, 'done', false, clock_timestamp()) RETURNING 1
"""
_CUSTOMER = """
INSERT INTO customers (integration, id, version, email, addresses, created_at, last_modified_at, batch_id)
VALUES ('commercetools', 'c-1', 1, %s, %s, now(), now(), 1) RETURNING 1
"""


def test_masked_keys_of_a_run_are_as_many_as_it_was_asked_for() -> None:
    """All of them look alike, so a run that found one of two looked as if it had found all."""
    two = [EMAIL, "bob@example.com", EMAIL]

    assert personal_data.masked_keys(two, "customers") == [personal_data.MASK] * 2
    assert personal_data.masked_keys(two, "inventory") == [EMAIL, "bob@example.com"]


def test_a_key_that_is_personal_is_masked_wherever_it_stands(hub: Hub, ada: dict[str, str]) -> None:
    """A customer's key is the e-mail address: it is the key of events and of items, and runs are asked for it."""
    lists = ("/v1/events?latest=true", "/v1/quarantine", "/v1/quarantine-causes", "/v1/runs", "/v1/runs/customers-1")
    for path in (*ada.values(), *lists):
        answer = hub.call("GET", path, "vera")
        assert answer.status_code == 200, answer.text
        assert EMAIL not in answer.text, path
    event = hub.call("GET", ada["event"], "vera").json()
    webhook = hub.call("GET", ada["webhook"], "vera").json()
    item = hub.call("GET", ada["item"], "vera").json()

    assert (event["subject"], event["partitionkey"], event["data"]["email"]) == ("customers/c-1", "***", "***")
    assert (webhook["subject"], webhook["partitionkey"], webhook["data"]["key"]) == ("***", "***", "***")
    assert (item["record_id"], item["record_key"]) == ("c-1", "***")


@pytest.mark.parametrize(
    ("record_id", "dataset", "shown"),
    [
        (EMAIL, "customers", "***"),
        ("c-1", "customers", "c-1"),
        ("c-1", "records", "***"),
        ("0b6c1a52-6f9e-4a55-9d0e-3f1b2c4d5e6f", "records", "0b6c1a52-6f9e-4a55-9d0e-3f1b2c4d5e6f"),
        (EMAIL, "inventory", EMAIL),
    ],
)
def test_an_example_of_a_warning_is_masked_unless_it_can_be_no_personal_key(
    record_id: str, dataset: str, shown: str
) -> None:
    assert personal_data.masked_unknown_id(record_id, dataset) == shown


def test_the_subject_of_an_event_is_masked_where_the_id_is_the_address(hub: Hub, ada: dict[str, str]) -> None:
    """A file of customers may have no other ID."""
    with hub.store() as store:
        query(
            store,
            f"UPDATE event SET subject = 'customers/{EMAIL}', data = jsonb_set(data::jsonb, '{{id}}', '\"{EMAIL}\"')"
            " WHERE subject = 'customers/c-1' RETURNING 1",
        )
    event = hub.call("GET", ada["event"], "vera").json()
    listed = hub.call("GET", "/v1/events?latest=true", "otto").text

    assert (event["subject"], event["data"]["id"]) == ("***", "***")
    assert EMAIL not in listed
    assert hub.call("GET", ada["event"], "otto").json()["subject"] == f"customers/{EMAIL}"


def test_an_item_that_is_known_by_a_personal_key_is_masked_in_the_list_and_shown_to_an_operator(
    hub: Hub, ada: dict[str, str]
) -> None:
    """A file of customers may have no other ID than the address."""
    number = ada["item"].rpartition("/")[2]
    with hub.store() as store:
        query(store, f"UPDATE quarantine_item SET record_id = record_key WHERE item_id = {number} RETURNING 1")

    listed = hub.call("GET", "/v1/quarantine?limit=500", "otto").text
    assert EMAIL not in listed
    assert EMAIL not in hub.call("GET", ada["item"], "vera").text
    assert hub.call("GET", ada["item"], "otto").json()["record_id"] == EMAIL


def test_an_operator_sees_a_personal_key_and_the_trail_does_not_have_it(hub: Hub, ada: dict[str, str]) -> None:
    """The trail is kept for ever, and viewers may read it."""
    for path in ada.values():
        assert EMAIL in hub.call("GET", path, "otto").text, path
    record = hub.call("GET", "/v1/records/commercetools.customers", "otto", params={"key": EMAIL}).json()
    masked = hub.call("GET", "/v1/records/commercetools.customers", "vera", params={"key": EMAIL}).json()
    trail = hub.call("GET", "/v1/audit?act=personal_data.reveal&limit=1", "admin").json()["entries"]

    assert record["records"][0]["email"] == EMAIL
    assert masked["records"][0]["email"] == personal_data.MASK
    assert trail[0]["subject"] == "records/commercetools.customers/c-1"
    assert EMAIL not in json.dumps(hub.call("GET", "/v1/audit?limit=20", "admin").json())


def test_a_record_as_its_source_sent_it_is_masked_as_a_whole(hub: Hub) -> None:
    """Sources have names of their own, and send more than a dataset takes: here a stock level names who counted it."""
    with hub.store() as store:
        Triage(store).sync(entry(id="a", quantityOnStock=-3, countedBy={"id": EMAIL}))
        ((item_id,),) = query(store, "SELECT item_id FROM quarantine_item WHERE record_id = 'a'")
        seen = {name: hub.call("GET", f"/v1/quarantine/{item_id}", name) for name in ("vera", "dora", "otto")}
        page = hub.call("GET", f"/pages/quarantine/{item_id}", "vera")
        # What failed is a field that nothing declares.
        Triage(store).sync(entry(id="b", countedBy=f"{EMAIL}\u0000"))
        lists = [hub.call("GET", path, "vera").text for path in ("/v1/quarantine", "/v1/quarantine-causes")]
        query(store, "DELETE FROM quarantine_item RETURNING 1")

    assert [EMAIL in answer.text for answer in seen.values()] == [False, False, True]
    assert seen["vera"].json()["failures"][0]["value"] == "-3, 9"
    assert EMAIL not in page.text
    assert all("countedBy" in text or "text_is_storable" in text for text in lists)
    assert EMAIL not in "".join(lists)
