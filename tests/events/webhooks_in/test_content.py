"""What senders write: numbers, lists, forms, several types, and what means nothing; each message is accounted for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossdock.app.fetch_records import SyncRecordFetcher
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.events.webhooks_in.content import MOST_RECORDS
from crossdock.events.webhooks_in.meaning import understand
from crossdock.events.webhooks_in.schemes.model import Message, Signed
from crossdock.events.webhooks_in.service import LARGEST_BYTES, receiver_from
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems
from crossdock.sync.landing import Landing
from tests.events.webhooks_in.test_webhooks import KEY, WebhookClient, client, fetching_by, now, standard
from tests.events.worlds import delivery, eventually
from tests.shop import connect, in_hub, query
from tests.streams import stream_of

__all__ = ["client"]

BY_KEY = {"scheme": "standard", "dataset": "inventory", "key_path": "sku"}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def send(client: WebhookClient, document: Any, *, delivery_id: str = "msg_1", kind: str = JSON) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.post(body, [*standard(body, at=now(), delivery_id=delivery_id), ("Content-Type", kind)])


def kept(store: Store) -> list[tuple[str, str, Any]]:
    found = query(store, "SELECT type, event_id, data FROM event ORDER BY position")
    return [(event_type.removeprefix("crossdock.webhook."), event_id, data) for event_type, event_id, data in found]


def keys(store: Store) -> list[str]:
    return [data["key"] for kind, _, data in kept(store) if kind == "received"]


@pytest.mark.parametrize(
    "number", ["250", "0", "-5", "9007199254740993", "18446744073709551617", "123456789012345678901234567890"]
)
def test_a_key_that_is_a_number_is_its_digits(client: WebhookClient, store: Store, number: str) -> None:
    """Shopify's and BigCommerce's IDs are numbers. As a float, 9007199254740993 would be another record's."""
    client.extra = BY_KEY | {"by_id": True}
    assert send(client, f'{{"sku": {number}}}'.encode()).status_code == 202

    ((_, _, data),) = kept(store)
    assert (data["key"], data["by_id"], json.loads(data["body"])["sku"]) == (number, True, int(number))


@pytest.mark.parametrize("number", ["250.0", "1e3", "true", "NaN", "1" * 5_000, "1" * 257])
def test_other_numbers_have_several_spellings_and_are_refused(client: WebhookClient, store: Store, number: str) -> None:
    client.extra = BY_KEY
    assert send(client, f'{{"sku": {number}}}'.encode()).status_code == 400
    assert kept(store) == []


class TestLists:
    """One delivery, many records."""

    def test_each_item_of_a_body_that_is_a_list_is_a_message(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        answer = send(client, [{"sku": "A", "n": 2**60 + 1}, {"sku": "B"}, {"type": "ping"}])

        assert answer.json() == {"delivery_id": "msg_1", "taken": 2, "ignored": 1, "faults": []}
        assert [(kind, event_id, data["body"]) for kind, event_id, data in kept(store)] == [
            ("received", "msg_1", '{"sku": "A", "n": 1152921504606846977}'),
            ("received", "msg_1/2", '{"sku": "B"}'),
            ("ignored", "msg_1/3", '{"type": "ping"}'),
        ]
        assert send(client, [{"sku": "A"}, {"sku": "B"}, {"type": "ping"}]).json() == answer.json()
        assert len(kept(store)) == 3

    def test_a_list_inside_the_body_is_named(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY | {"items_path": "data.events", "key_path": "record.id"}
        document = {"sent": 1, "data": {"events": [{"record": {"id": 1}}, {"record": {"id": 2}}]}}

        assert send(client, document).json()["taken"] == 2
        assert keys(store) == ["1", "2"]

    def test_a_path_goes_through_lists(self, client: WebhookClient, store: Store) -> None:
        """A message about an order names the records of its lines. The body is kept once, and no record is named twice."""
        client.extra = BY_KEY | {"key_path": "lines.sku"}
        document = {"lines": [{"sku": "A"}, {"sku": "B"}, {"sku": "A"}, {"note": "no sku"}]}

        assert send(client, document).json()["taken"] == 2
        assert keys(store) == ["A", "B"]
        assert [bool(data["body"]) for _, _, data in kept(store)] == [True, False]

    def test_records_of_the_items_of_a_list_are_all_kept(self, client: WebhookClient, store: Store) -> None:
        """The second record of the first item and the first one of the second item are two events."""
        client.extra = BY_KEY | {"key_path": "lines.sku"}
        document = [{"lines": [{"sku": "A"}, {"sku": "B"}]}, {"lines": [{"sku": "C"}, {"sku": "D"}]}]

        assert send(client, document).json()["taken"] == 4
        assert keys(store) == ["A", "B", "C", "D"]

    @pytest.mark.parametrize("body", [b'[{"sku": "A", "n": NaN}]', b'[{"sku": "A", "n": Infinity}, {"sku": "B"}]'])
    def test_what_is_no_json_is_refused_and_not_taken_for_one_message(
        self, client: WebhookClient, store: Store, body: bytes
    ) -> None:
        client.extra = BY_KEY
        assert send(client, body).status_code == 400
        assert kept(store) == []

    def test_a_list_behind_a_byte_order_mark_is_taken_apart(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        assert send(client, b'\xef\xbb\xbf[{"sku": "A"}, {"sku": "B"}]').json()["taken"] == 2
        assert keys(store) == ["A", "B"]

    def test_json_under_the_type_of_a_form_is_json(self, client: WebhookClient, store: Store) -> None:
        """As `curl -d` sends it by default."""
        client.extra = BY_KEY
        assert send(client, {"sku": "A", "note": "a=b&c"}, kind=FORM).json()["taken"] == 1
        assert keys(store) == ["A"]

    def test_the_good_ones_are_taken_and_the_others_kept_with_their_reason(
        self, client: WebhookClient, store: Store
    ) -> None:
        """Refused as a whole, it would come again until the sender gives up, and the good ones would be lost."""
        client.extra = BY_KEY
        answer = send(client, [{"sku": "A"}, {"sku": {}}, {"sku": ""}])

        reason = "The body has no key of 1 to 256 printable characters, or whole number, at 'sku'"
        assert answer.json() == {"delivery_id": "msg_1", "taken": 1, "ignored": 0, "faults": [reason] * 2}
        assert [(kind, data.get("reason")) for kind, _, data in kept(store)] == [
            ("received", None),
            ("ignored", reason),
            ("ignored", reason),
        ]

    def test_where_all_lack_something_the_sender_is_told(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        answer = send(client, [{"sku": {}}, {"sku": ""}])

        assert answer.status_code == 400
        assert kept(store) == []

    def test_an_empty_list_is_a_message_without_a_key(self, client: WebhookClient) -> None:
        client.extra = BY_KEY
        assert send(client, []).json()["ignored"] == 1

    @pytest.mark.parametrize("path", ["sku", "lines.sku"])
    def test_a_delivery_of_many_records_is_taken_at_once_up_to_a_bound(
        self, client: WebhookClient, store: Store, path: str
    ) -> None:
        client.extra = BY_KEY | {"key_path": path}

        def of(number: int) -> Any:
            records = [{"sku": f"S-{each}"} for each in range(number)]
            return records if path == "sku" else {"lines": records}

        assert send(client, of(MOST_RECORDS)).json()["taken"] == MOST_RECORDS
        assert send(client, of(MOST_RECORDS)).json()["taken"] == MOST_RECORDS
        assert query(store, "SELECT count(*), count(DISTINCT partition_key) FROM event") == [
            (MOST_RECORDS, MOST_RECORDS)
        ]
        answer = send(client, of(MOST_RECORDS + 1), delivery_id="msg_2")
        assert (answer.status_code, "At most 2,000" in answer.json()["detail"]) == (400, True)

    def test_card_data_in_one_item_refuses_all(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        answer = send(client, [{"sku": "A"}, {"sku": "B", "note": "4111 1111 1111 1111"}])

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/1/note")
        assert kept(store) == []


class TestForms:
    def test_a_form_has_fields(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        assert send(client, b"sku=Gr%C3%BC%C3%9Fe+1&other=", kind=f"{FORM}; charset=UTF-8").json()["taken"] == 1
        assert keys(store) == ["Grüße 1"]

    def test_a_field_that_comes_again_is_a_list(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        assert send(client, b"sku=A&sku=B", kind=FORM).json()["taken"] == 2
        assert keys(store) == ["A", "B"]

    def test_the_one_field_payload_is_json(self, client: WebhookClient, store: Store) -> None:
        """So GitHub and Slack send it."""
        client.extra = BY_KEY
        assert send(client, b"payload=%7B%22sku%22%3A+5%7D", kind=FORM).json()["taken"] == 1
        assert keys(store) == ["5"]

    @pytest.mark.parametrize("body", [b"sku", b"sku=%ff", b"sku=\xff", b"payload=%7B", b"a=&" * 6_000])
    def test_what_is_no_form_is_a_bad_request(self, client: WebhookClient, store: Store, body: bytes) -> None:
        client.extra = BY_KEY
        assert send(client, body, kind=FORM).status_code == 400
        assert kept(store) == []

    def test_card_data_in_a_form_is_refused(self, client: WebhookClient, store: Store) -> None:
        client.extra = BY_KEY
        assert send(client, b"sku=A&note=4111+1111+1111+1111", kind=FORM).status_code == 400
        assert kept(store) == []


@pytest.mark.parametrize(
    "kind",
    ["", "application/json; charset=utf-8", "text/plain; charset=UTF-8", "application/cloudevents+json", "text/xml"],
)
def test_json_is_read_whatever_the_sender_calls_it(client: WebhookClient, kind: str) -> None:
    """SNS says text/plain, and some say nothing."""
    client.extra = BY_KEY
    assert send(client, {"sku": "A"}, kind=kind).json()["taken"] == 1


class TestTypes:
    """Several datasets in one integration."""

    EXTRA = {  # noqa: RUF012  read only
        "scheme": "standard",
        "records": [
            {"types": ["stock", "stock.moved"], "dataset": "inventory", "key_path": "data.sku"},
            {"types": ["order"], "dataset": "orders", "key_path": "data.id", "by_id": True},
        ],
    }

    def test_the_type_says_the_dataset(self, client: WebhookClient, store: Store) -> None:
        client.extra = self.EXTRA
        for number, document in enumerate(
            (
                {"type": "stock.moved", "data": {"sku": "A"}},
                {"type": "order", "data": {"id": 7}},
                {"type": "customer", "data": {"id": 7}},
            )
        ):
            assert send(client, document, delivery_id=f"msg_{number}").status_code == 202

        found = [
            (kind, data.get("dataset"), data.get("key"), data.get("message_type")) for kind, _, data in kept(store)
        ]
        assert found == [
            ("received", "inventory", "A", None),
            ("received", "orders", "7", None),
            ("ignored", None, None, "customer"),
        ]

    def test_a_named_type_without_a_key_is_a_mistake(self, client: WebhookClient) -> None:
        client.extra = self.EXTRA
        answer = send(client, {"type": "order", "data": {"id": None}})

        assert (answer.status_code, answer.json()["detail"]) == (400, "The body has no key at 'data.id'")

    def test_the_type_may_be_that_of_the_envelope_or_in_a_header(self, client: WebhookClient, store: Store) -> None:
        client.extra = self.EXTRA | {
            "items_path": "data",
            "records": [{"types": ["stock"], "dataset": "inventory", "key_path": "sku"}],
        }
        assert send(client, {"type": "stock", "data": [{"sku": "A"}, {"sku": "B"}]}).json()["taken"] == 2
        client.extra = dict(client.extra) | {"type_header": "X-Topic"}
        body = b'{"sku": "C"}'
        answer = client.post(body, [*standard(body, at=now(), delivery_id="msg_2"), ("x-topic", "stock")])
        assert answer.json()["taken"] == 1
        assert keys(store) == ["A", "B", "C"]

    def test_a_dataset_that_the_integration_does_not_have_is_not_found(self, client: WebhookClient) -> None:
        client.extra = self.EXTRA | {"records": [{"dataset": "nothing", "key_path": "id"}]}
        assert send(client, {"id": 1}).status_code == 404


@pytest.mark.parametrize("document", [{"type": "ping"}, {}, {"sku": None}, [], "text", 5, None, {"data": [1]}])
def test_a_message_without_our_key_is_accepted_and_counted(client: WebhookClient, store: Store, document: Any) -> None:
    """Senders try an address with a ping, and end a subscription whose address keeps refusing."""
    client.extra = BY_KEY
    answer = send(client, document)

    assert (answer.status_code, answer.json()["ignored"]) == (202, 1)
    ((kind, _, data),) = kept(store)
    assert kind == "ignored"
    assert data["message_type"] == (document.get("type", "") if isinstance(document, dict) else "")


@pytest.mark.parametrize(
    ("text", "ignored"),
    [(b"ALARM: too hot", 1), ("Grüße".encode(), 1), (b"", 1), (b"a\0b", None), (b"\xff", None), (b'{"sku": "A"}', 0)],
)
def test_a_text_that_a_sender_may_send_is_ignored(text: bytes, ignored: int | None) -> None:
    """SNS sends whatever somebody publishes. Refused, it would come again for three weeks."""
    receiver = receiver_from("commercetools", KEY, BY_KEY, {"inventory"})
    signed = Signed("m-1", (Message("m-1", text, may_be_text=True),))
    try:
        found = understand(
            "commercetools", receiver.webhook, receiver.rules, signed, headers={}, at=datetime.now(UTC), settings={}
        )
    except BadRequest:
        assert ignored is None
    else:
        assert found.ignored == ignored
        assert json.loads(found.events[0].data)["body"] == text.decode()


@pytest.mark.parametrize("name", ["\0" + "0", "a\nb", "x" * 10_000, "\ud800"])
def test_a_type_is_shown_only_where_it_can_be(client: WebhookClient, store: Store, name: str) -> None:
    client.extra = BY_KEY
    assert send(client, {"type": name, "other": 1}).status_code == 202

    ((kind, _, data),) = kept(store)
    assert (kind, data["message_type"]) == ("ignored", name[:256] if name.isprintable() else "")


def test_many_records_of_one_delivery_are_read_in_one_call(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    client.extra = BY_KEY
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.state.collection("inventory").rows()][:40]
    calls: list[int] = []

    class Counted(SyncRecordFetcher):
        def fetch(self, stream_id: str, keys: Sequence[str], *, by_id: bool = False) -> None:
            calls.append(len(keys))
            super().fetch(stream_id, keys, by_id=by_id)

    assert send(client, [{"sku": row["sku"]} for row in rows]).json()["taken"] == len(rows)
    with delivery(hub_dsn, fetching_by(Counted(lambda _: nullcontext(systems), stream_of=stream_of))):
        eventually(lambda: {row["id"] for row in rows} <= set(in_hub(store)))
    systems.store.close()

    # One for each key partition that the events of a delivery are in, and none for each key.
    assert sum(calls) == len(rows)
    assert len(calls) <= 8, calls


def test_a_body_of_one_list_does_not_fill_the_store(client: WebhookClient, store: Store) -> None:
    """Each event kept the whole body: a delivery of 1 MiB that named 2,000 records was 2 GiB."""
    client.extra = BY_KEY | {"key_path": "lines.sku"}
    document = {"lines": [{"sku": f"S-{number}"} for number in range(500)], "note": "x" * (LARGEST_BYTES // 2)}

    assert send(client, document).json()["taken"] == 500
    ((kept_bytes,),) = query(store, "SELECT sum(length(data::text)) FROM event")
    assert kept_bytes < 2 * LARGEST_BYTES


def test_a_delivery_that_is_older_than_what_the_hub_has_changes_nothing(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    """A sender that was down sends what it could not send for days: the record is read as it is now, not as it was."""
    client.extra = BY_KEY
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    row = shop.state.collection("inventory").rows()[0].document
    inbox = "SELECT count(*) FROM event_inbox WHERE subscriber = 'changed_record'"
    published = "SELECT count(*) FROM event WHERE type = 'crossdock.stock.changed'"
    with delivery(hub_dsn, fetching_by(SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of))):
        send(client, {"sku": row["sku"], "quantityOnStock": row["quantityOnStock"], "version": row["version"]})
        eventually(lambda: query(store, inbox), [(1,)])
        known = query(store, "SELECT * FROM inventory ORDER BY id")
        assert query(store, published) == [(len(known),)]
        for number in range(3):
            old = {"sku": row["sku"], "quantityOnStock": 1, "version": 1, "lastModifiedAt": "2020-01-01T00:00:00Z"}
            send(client, old, delivery_id=f"old_{number}")
        eventually(lambda: query(store, inbox), [(4,)])
    systems.store.close()

    assert query(store, published) == [(len(known),)]
    assert query(store, "SELECT * FROM inventory ORDER BY id") == known
