"""Webhooks in: proved or refused, stored before the answer, once each, and in the hub without a DAG run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import requests
import uvicorn
from fastapi import APIRouter, FastAPI

from crossdock.api import airflow_lookups, problems, slow_requests, webhooks
from crossdock.api.dependencies import open_store
from crossdock.api.middleware import RequestMiddleware
from crossdock.app.fetch_records import FetchTally, SyncRecordFetcher
from crossdock.app.integrations import on_changed, on_resumed
from crossdock.app.on_webhook_received import webhook_of
from crossdock.app.services import RecordFetcher, services
from crossdock.app.subscribers import subscribers
from crossdock.connectors.commercetools import Commercetools
from crossdock.core.errors import BadRequest, HubError, IntegrationUnusable, NotFound
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.events.subscriber import Subscriber
from crossdock.events.webhooks_in.meaning import understand
from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes.model import Message, Signed
from crossdock.events.webhooks_in.service import LARGEST_BYTES, Receiver, receiver_from
from crossdock.events.webhooks_in.signatures import verify
from crossdock.integrations import service as integration_service
from crossdock.integrations.registered import find_active
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Stream, Systems
from crossdock.sync.landing import Landing
from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import connect, free_port, in_hub, query
from tests.streams import define_shop, stream_of

KEY = "whsec_" + base64.b64encode(b"a key that nobody else has").decode()
OLD_KEY = "whsec_" + base64.b64encode(b"the key before it, still valid").decode()
RULES = {"scheme": "standard", "dataset": "inventory", "key_path": "data.sku"}
#: What the sender's integration has streams of.
DATASETS = frozenset({"inventory", "products", "orders"})
NOW = 1_800_000_000

#: The vector that the Standard Webhooks libraries share.
VECTOR_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_HEADERS = [
    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
    ("webhook-timestamp", "1614265330"),
    ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
]
VECTOR_BODY = b'{"test": 2432232314}'


def rules(**changes: Any) -> WebhookRules:
    return WebhookRules(**{**RULES, **changes})


def mac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def standard(body: bytes, *, key: str = KEY, at: float = NOW, delivery_id: str = "msg_1") -> list[tuple[str, str]]:
    signature = mac(base64.b64decode(key.removeprefix("whsec_")), f"{delivery_id}.{at:.0f}.".encode() + body)
    return [
        ("webhook-id", delivery_id),
        ("webhook-timestamp", f"{at:.0f}"),
        ("webhook-signature", "v1," + base64.b64encode(signature).decode()),
    ]


def test_the_vector_of_standard_webhooks_is_proved() -> None:
    found = verify(rules(), [VECTOR_KEY], VECTOR_HEADERS, VECTOR_BODY, now_s=1614265330)

    assert found.id == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_each_of_several_keys_and_each_of_several_signatures_is_good() -> None:
    """While a key is rotated, some deliveries are signed with the old one and some with both."""
    body = b"{}"
    (_, _, (_, old)) = standard(body, key=OLD_KEY)
    (first, second, (name, new)) = standard(body)

    for offered in (old, new, f"{old} {new}", f"v1a,{'A' * 20} {new}"):
        assert verify(rules(), [KEY, OLD_KEY], [first, second, (name, offered)], body, now_s=NOW).id == "msg_1"


@pytest.mark.parametrize("wrong_s", [-301, 301])
def test_old_and_future_deliveries_are_refused(wrong_s: int) -> None:
    with pytest.raises(WebhookRefused, match=r"too old|future"):
        verify(rules(), [KEY], standard(b"{}", at=NOW + wrong_s), b"{}", now_s=NOW)
    assert verify(rules(), [KEY], standard(b"{}", at=NOW + wrong_s * 0.99), b"{}", now_s=NOW)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([], b"{}"),
        (standard(b"{}")[:2], b"{}"),
        (standard(b"{}"), b"{ }"),
        (standard(b"{}", key=OLD_KEY), b"{}"),
        ([*standard(b"{}"), ("webhook-id", "msg_1")], b"{}"),
        ([("webhook-id", "other"), *standard(b"{}")[1:]], b"{}"),
        ([*standard(b"{}")[:2], ("webhook-signature", "v1,")], b"{}"),
        ([*standard(b"{}")[:2], ("webhook-signature", "v2," + standard(b"{}")[2][1][3:])], b"{}"),
        ([standard(b"{}")[0], ("webhook-timestamp", "1e9"), standard(b"{}")[2]], b"{}"),
    ],
    ids=["nothing", "unsigned", "other body", "other key", "id twice", "other id", "empty", "other version", "no time"],
)
def test_a_body_without_a_valid_signature_is_refused(headers: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        verify(rules(), [KEY], headers, body, now_s=NOW)


def test_a_stranger_chooses_no_word_of_why_it_is_refused() -> None:
    """Refusals are counted by why: with a thousand of them an hour, the table would be the stranger's to fill."""

    def why(headers: list[tuple[str, str]]) -> str:
        with pytest.raises(WebhookRefused) as refused:
            verify(rules(), [KEY], headers, b"{}", now_s=NOW)
        return str(refused.value)

    assert len({why([("webhook-id", "x")] * number) for number in range(2, 40)}) == 1


def test_a_body_that_is_nothing_but_brackets_is_refused_in_words() -> None:
    """Its sender is known, and its body is nested deeper than any reader goes."""
    receiver = receiver_from("commercetools", KEY, RULES, DATASETS)
    signed = Signed("msg_1", (Message("msg_1", b"[" * 200_000),))
    with pytest.raises(BadRequest, match="not JSON"):
        understand(
            "commercetools", receiver.webhook, receiver.rules, signed, headers={}, at=datetime.now(UTC), settings={}
        )


def test_stripes_scheme() -> None:
    body = b'{"id": "evt_1"}'
    good, bad = mac(b"whsec_stripe", f"{NOW}.".encode() + body).hex(), "0" * 64
    header = f"t={NOW},v1={bad},v1={good},v0={bad}"

    assert (
        verify(rules(scheme="stripe"), ["whsec_stripe"], [("Stripe-Signature", header)], body, now_s=NOW).id == "evt_1"
    )
    for broken in (f"t={NOW},v1={bad}", f"v1={good}", f"t={NOW},t={NOW},v1={good}", f"t={NOW},v0={good}"):
        with pytest.raises(WebhookRefused):
            verify(rules(scheme="stripe"), ["whsec_stripe"], [("stripe-signature", broken)], body, now_s=NOW)
    with pytest.raises(WebhookRefused, match="future"):
        verify(rules(scheme="stripe"), ["whsec_stripe"], [("stripe-signature", header)], body, now_s=NOW - 400)


def test_plain_hmac_in_each_of_its_spellings() -> None:
    body, plain = b"{}", rules(scheme="hmac")
    digest = mac(b"secret", f"{NOW}.".encode() + body)
    for text in (digest.hex(), f"sha256={digest.hex()}", base64.b64encode(digest).decode()):
        headers = [("X-Signature", text), ("X-Timestamp", str(NOW)), ("X-Delivery-Id", "d1")]
        assert verify(plain, ["secret"], headers, body, now_s=NOW).id == "d1"
        with pytest.raises(WebhookRefused):
            verify(plain, ["secret"], headers[:1], body, now_s=NOW)
    bare = rules(scheme="hmac", timestamp_header="")
    headers = [("x-signature", mac(b"secret", body).hex()), ("x-delivery-id", "d2")]
    assert verify(bare, ["secret"], headers, body, now_s=NOW).id == "d2"


@pytest.mark.parametrize(
    ("delivery_id", "is_good"), [("m", True), ("m" * 256, True), ("", False), ("m" * 257, False), ("a\tb", False)]
)
def test_a_delivery_id_is_one_to_256_printable_characters(delivery_id: str, *, is_good: bool) -> None:
    """It is the identity of an event: it stands in an index, which holds no longer one, and in lists."""
    headers = standard(b"{}", delivery_id=delivery_id)
    if is_good:
        assert verify(rules(), [KEY], headers, b"{}", now_s=NOW).id == delivery_id
    else:
        with pytest.raises(WebhookRefused, match="empty, too long, or not printable"):
            verify(rules(), [KEY], headers, b"{}", now_s=NOW)


@pytest.mark.parametrize("at", [NOW - 300, NOW + 300])
def test_a_delivery_is_good_for_five_minutes_to_the_second(at: int) -> None:
    assert verify(rules(), [KEY], standard(b"{}", at=at), b"{}", now_s=NOW).id == "msg_1"


@pytest.mark.parametrize("body", [b"{}", b'{"id": null}', b'{"id": true}', b'["id"]', b"no json"])
def test_a_signed_body_of_stripe_without_an_id_is_refused_in_words(body: bytes) -> None:
    """An error of ours would be 500, and the sender would send it again for days."""
    header = f"t={NOW},v1={mac(b'whsec_stripe', f'{NOW}.'.encode() + body).hex()}"

    with pytest.raises(WebhookRefused, match="the body"):
        verify(rules(scheme="stripe"), ["whsec_stripe"], [("stripe-signature", header)], body, now_s=NOW)


def test_one_signature_has_one_spelling() -> None:
    """What stands between the letters of base64 is not skipped: whoever compares signatures later compares texts."""
    (first, second, (name, signature)) = standard(b"{}")

    with pytest.raises(WebhookRefused, match="no signature matches"):
        verify(rules(), [KEY], [first, second, (name, f"{signature[:9]}*{signature[9:]}")], b"{}", now_s=NOW)


def test_a_receiver_without_a_key_proves_nothing() -> None:
    """An empty password must not become the empty key, with which anybody can sign."""
    receiver = receiver_from("commercetools", "", RULES, DATASETS)
    with pytest.raises(WebhookRefused, match="no key"):
        verify(receiver.rules, receiver.keys, standard(b"{}", key="whsec_"), b"{}", now_s=NOW)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {**RULES, "dataset": "nothing"},
        {**RULES, "scheme": "none"},
        {**RULES, "typo": 1},
        {"dataset": "inventory"},
        {"key_path": "data.sku"},
    ],
)
def test_rules_that_say_nothing_are_no_receiver(extra: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        receiver_from("commercetools", KEY, extra, DATASETS)


def test_a_receiver_shows_no_key() -> None:
    assert KEY not in repr(receiver_from("commercetools", KEY, RULES, DATASETS))


class WebhookClient:
    """The real router over a real socket, with the keys that a connection would hold."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.port = dsn, free_port()
        self.extra: Mapping[str, Any] = RULES
        self.password = f"{OLD_KEY} {KEY}"
        app = FastAPI(openapi_url=None)
        v1 = APIRouter(prefix="/v1")
        v1.include_router(webhooks.router)
        app.include_router(v1)
        app.add_middleware(RequestMiddleware)
        problems.install(app)
        app.dependency_overrides[open_store] = self._open_store
        app.dependency_overrides[webhooks.receivers] = lambda: webhooks.Receivers(self._find)
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="warning"))

    def _open_store(self) -> Iterator[Store]:
        with Store(self.dsn) as store:
            yield store

    def _find(self, integration: str) -> Receiver:
        if integration != "commercetools":
            raise NotFound("no such")
        return receiver_from("commercetools", self.password, self.extra, DATASETS, webhook_of("commercetools"))

    def post(
        self, body: bytes, headers: list[tuple[str, str]], integration: str = "commercetools", query: str = ""
    ) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}/v1/webhooks/{integration}?{query}"
        return requests.post(url, data=body, headers=dict(headers), timeout=30)


Client = TypeVar("Client", bound=WebhookClient)


@contextmanager
def served(opened: Client) -> Iterator[Client]:
    """Run the server of *opened* until the block ends."""
    thread = threading.Thread(target=opened.server.run)
    thread.start()
    while not opened.server.started:
        time.sleep(0.01)
    yield opened
    opened.server.should_exit = True
    thread.join(10)


@pytest.fixture
def client(hub_dsn: str) -> Iterator[WebhookClient]:
    with served(WebhookClient(hub_dsn)) as opened:
        yield opened


def webhook_body(sku: str) -> bytes:
    return json.dumps({"type": "inventory.changed", "data": {"sku": sku}}).encode()


def stored(store: Store) -> list[tuple[str, str]]:
    return query(
        store, "SELECT event_id, partition_key FROM event WHERE type = 'crossdock.webhook.received' ORDER BY 1"
    )


def delivered(delivery_id: str, *, taken: int = 1, ignored: int = 0) -> dict[str, Any]:
    """The answer to a delivery."""
    return {"delivery_id": delivery_id, "taken": taken, "ignored": ignored, "faults": []}


def now() -> float:
    return datetime.now(UTC).timestamp()


def test_a_delivery_is_stored_before_it_is_answered(client: WebhookClient, store: Store) -> None:
    answer = client.post(webhook_body("CHAIR"), standard(webhook_body("CHAIR"), at=now()))

    assert (answer.status_code, answer.json()) == (202, delivered("msg_1"))
    assert stored(store) == [("msg_1", "commercetools.inventory/CHAIR")]


def test_the_same_delivery_fifty_times_at_once_is_one_event(client: WebhookClient, store: Store) -> None:
    """Senders that see no answer send again, and some send twice at once."""
    body = webhook_body("CHAIR")
    headers = standard(body, at=now())
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: client.post(body, headers), range(50)))

    assert {(answer.status_code, answer.text) for answer in answers} == {
        (202, json.dumps(delivered("msg_1"), separators=(",", ":")))
    }
    assert len(stored(store)) == 1


def test_deliveries_are_distinguished_by_their_id_never_by_their_body(client: WebhookClient, store: Store) -> None:
    """Two changes of one record look the same; the second must not be taken for the first."""
    for delivery_id in ("msg_1", "msg_2"):
        client.post(webhook_body("CHAIR"), standard(webhook_body("CHAIR"), at=now(), delivery_id=delivery_id))

    assert [delivery_id for delivery_id, _ in stored(store)] == ["msg_1", "msg_2"]


def test_a_refused_delivery_is_counted_and_leaves_nothing_else(client: WebhookClient, store: Store) -> None:
    """Anybody can send a million of them, and the chain of the audit trail is never shortened."""
    forged = "whsec_" + base64.b64encode(b"a key of the forger").decode()
    for _ in range(3):
        answer = client.post(webhook_body("CHAIR"), standard(webhook_body("CHAIR"), key=forged, at=now()))

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Signature"
    assert query(store, "SELECT count(*) FROM event") == [(0,)]
    assert query(store, "SELECT integration, reason, sum(times), sum(bytes) FROM refused_webhook GROUP BY 1, 2") == [
        ("commercetools", "no signature matches a configured key", 3, 3 * len(webhook_body("CHAIR")))
    ]
    assert query(store, "SELECT count(*) FROM audit_entry") == [(0,)]


def test_a_body_that_is_too_large_is_refused_unread(client: WebhookClient, store: Store) -> None:
    body = webhook_body("C" * LARGEST_BYTES)

    assert client.post(body, standard(body, at=now())).status_code == 413
    assert query(store, "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM audit_entry)") == [(0,)]


HEAD = "POST /v1/webhooks/commercetools HTTP/1.1\r\nHost: hub\r\nContent-Length: 90\r\n"


@pytest.fixture
def half_sent(client: WebhookClient) -> Iterator[Callable[[str], socket.socket]]:
    """Send the beginning of a request, without a signature, and keep its connection."""
    slow_requests.bound_requests()
    with ExitStack() as opened:

        def send(text: str) -> socket.socket:
            sender = opened.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=20))
            sender.sendall(text.encode())
            return sender

        yield send


def answered(sender: socket.socket) -> str:
    """Read the first line of the answer, until the connection ends; empty if there was none."""
    found = b""
    while came := sender.recv(65_536):
        found += came
    return found.partition(b"\r\n")[0].decode()


def is_open(sender: socket.socket) -> bool:
    return not select.select([sender], [], [], 0)[0]


@pytest.mark.parametrize(
    "text", ["", HEAD, HEAD + "\r\n", HEAD + '\r\n{"data":'], ids=["nothing", "head", "body", "half"]
)
def test_a_request_that_does_not_arrive_ends(
    half_sent: Callable[[str], socket.socket], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Each held a connection for as long as its sender liked."""
    monkeypatch.setattr(slow_requests, "HEAD_S", 0.3)
    monkeypatch.setattr(slow_requests, "BODY_S", 0.3)

    assert answered(half_sent(text)) == ("HTTP/1.1 408 Request Timeout" if "\r\n\r\n" in text else "")


def test_a_body_ends_on_routes_that_bound_none_themselves(
    half_sent: Callable[[str], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's login takes no token either, and held each connection for as long as its sender liked."""
    monkeypatch.setattr(slow_requests, "ANY_BODY_S", 0.3)

    assert answered(half_sent(f"{HEAD}\r\n{{")) == ""


def test_a_request_that_comes_byte_by_byte_ends_too(
    half_sent: Callable[[str], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline that each byte moves is none."""
    monkeypatch.setattr(slow_requests, "HEAD_S", 0.3)
    monkeypatch.setattr(slow_requests, "BODY_S", 0.3)
    head, body = half_sent(HEAD), half_sent(f"{HEAD}\r\n")

    def ended(sender: socket.socket) -> bool:
        with suppress(OSError):
            sender.send(b"x")
        return not is_open(sender)

    eventually(lambda: ended(head) and ended(body), within_s=20)


@pytest.mark.parametrize("text", [HEAD, HEAD + "\r\n"], ids=["head", "body"])
def test_good_webhooks_are_accepted_while_the_same_peer_sends_halves(
    client: WebhookClient,
    store: Store,
    half_sent: Callable[[str], socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    """The oldest half makes room: behind a proxy, all senders are one peer."""
    monkeypatch.setattr(slow_requests, "MOST_OF_A_PEER", 20)
    senders = [half_sent(text) for _ in range(100)]
    body = webhook_body("CHAIR")

    answer = client.post(body, standard(body, at=now()))

    assert answer.status_code == 202
    assert len(stored(store)) == 1
    # The good one took the place of one more, for a moment.
    eventually(lambda: sum(map(is_open, senders)) in {19, 20}, within_s=20)


def test_a_sender_that_goes_away_leaves_no_stack_trace(
    client: WebhookClient,
    half_sent: Callable[[str], socket.socket],
    store: Store,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Anybody could fill the log: one was written for each body that ended early."""
    half_sent(f"{HEAD}\r\n").close()
    body = webhook_body("CHAIR")

    assert client.post(body, standard(body, at=now())).status_code == 202
    assert len(stored(store)) == 1
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_a_connection_serves_several_requests_and_rests_between_them(
    client: WebhookClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is that of a request: a proxy keeps its connections."""
    slow_requests.bound_requests()
    monkeypatch.setattr(slow_requests, "HEAD_S", 0.3)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    for number in range(3):
        body = webhook_body(f"CHAIR-{number}")
        headers = dict(standard(body, at=now(), delivery_id=f"msg_{number}"))
        connection.request("POST", "/v1/webhooks/commercetools", body, headers)
        opened = connection.sock
        assert json.loads(connection.getresponse().read()) == delivered(f"msg_{number}")
        time.sleep(0.5)
        assert connection.sock is opened

    assert len(stored(store)) == 3


def test_a_body_that_does_not_say_how_large_it_is_has_the_same_bound(client: WebhookClient, store: Store) -> None:
    """Sent in chunks, it has no Content-Length; a stranger could fill the memory, and then the store."""
    body = webhook_body("C" * LARGEST_BYTES)
    url = f"http://127.0.0.1:{client.port}/v1/webhooks/commercetools"
    chunks = (body[begin : begin + 65_536] for begin in range(0, len(body), 65_536))
    answer = requests.post(url, data=chunks, headers=dict(standard(body, at=now())), timeout=30)

    assert answer.request.headers.get("Content-Length") is None
    assert answer.status_code == 413
    assert query(store, "SELECT count(*) FROM event") == [(0,)]


def test_a_key_that_was_taken_out_of_its_connection_is_good_for_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person who revokes a leaked key relies on it; and not every delivery may cost a request to Airflow."""
    clock, found = [1_000.0], []
    monkeypatch.setattr(airflow_lookups, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    receiver = receiver_from("commercetools", KEY, RULES, DATASETS, webhook_of("commercetools"))
    known = webhooks.Receivers(lambda name: (found.append(name), receiver)[1])

    for at in (1_000.0, 1_014.0, 1_016.0):
        clock[0] = at
        assert asyncio.run(known.of("commercetools")) is receiver

    assert len(found) == 2


def test_an_integration_without_webhooks_is_not_found(client: WebhookClient) -> None:
    assert (
        client.post(webhook_body("CHAIR"), standard(webhook_body("CHAIR"), at=now()), integration="other").status_code
        == 404
    )


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b'{"data": {"sku": ""}}',
        b'{"data": {"sku": true}}',
        b'{"data": {"sku": 5.0}}',
        b'{"data": {"sku": {}}}',
        b'{"data": {"sku": "a\\u0000"}}',
        b"\xff",
    ],
)
def test_a_proved_delivery_with_a_key_that_is_none_is_a_bad_request(
    client: WebhookClient, store: Store, body: bytes
) -> None:
    answer = client.post(body, standard(body, at=now()))

    assert answer.status_code == 400
    assert answer.json()["detail"] in {
        "The body is not JSON in UTF-8",
        "The body has no key of 1 to 256 printable characters, or whole number, at 'data.sku'",
    }
    assert stored(store) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"data": {"sku": "CHAIR", "note": "4111 1111 1111 1111"}}', "/data/note"),
        (b'{"data": {"sku": "CHAIR", "note": "4111 1111 1111 1111", "note": ""}}', "/data/note/0"),
    ],
    ids=["as it is read", "dropped by a reader"],
)
def test_a_delivery_with_card_data_is_refused_and_nothing_of_it_is_stored(
    client: WebhookClient, store: Store, body: bytes, pointer: str
) -> None:
    """The sender's signature says who sent it, not that it may be kept. The answer names the place, never the value."""
    answer = client.post(body, standard(body, at=now()))

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:crossdock:problem:card-data-refused")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert "1111" not in answer.text
    assert stored(store) == []
    assert query(store, "SELECT reason, sum(times) FROM refused_webhook GROUP BY 1") == [("card data", 1)]


def fetching_by(records: RecordFetcher) -> Mapping[str, Subscriber]:
    """The subscribers of the hub, one of them closed over what fetches records here."""
    return subscribers(replace(services(), records=records))


def test_every_announced_change_is_in_the_hub_without_a_dag_run(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    """Post, store, deliver, read one record from the shop, check, load. `./hub demo` shows the time beside its goal."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.state.collection("inventory").rows()][:12]
    with delivery(hub_dsn, fetching_by(SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of))):
        for number, row in enumerate(rows):
            body = webhook_body(row["sku"])
            assert client.post(body, standard(body, at=now(), delivery_id=f"msg_{number}")).status_code == 202
            eventually(lambda row=row: row["id"] in in_hub(store))  # type: ignore[misc]
        had = "SELECT count(*) FROM event_inbox WHERE subscriber = 'changed_record'"
        eventually(lambda: query(store, had), [(len(rows),)])
    systems.store.close()


def test_webhooks_of_a_shop_that_refuses_the_credentials_wait_until_they_are_changed(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    """No token, so no call: each webhook was a dead letter. `on_changed` is what a rotation calls."""
    shop_with = partial(
        Systems, store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")), overlap=timedelta(minutes=5)
    )
    revoked = Commercetools.signed_in(
        shop.url, shop.project, client_id=shop.client_id, secret="revoked", scope=f"view_products:{shop.project}"
    )
    sources = [revoked]
    rows = [row.document for row in shop.state.collection("inventory").rows()][:12]
    fetcher = SyncRecordFetcher(lambda _: nullcontext(shop_with(source=sources[-1])), stream_of=stream_of)

    with delivery(hub_dsn, fetching_by(fetcher)):
        for number, row in enumerate(rows):
            body = webhook_body(row["sku"])
            client.post(body, standard(body, at=now(), delivery_id=f"msg_{number}"))
        eventually(lambda: query(store, "SELECT sum(attempts), count(*) FROM dead_letter"), [(0, 12)])
        assert query(store, "SELECT DISTINCT cause FROM source_outage") == [("AccessRefused",)]
        sources.append(connect(shop))
        with store.transaction() as work:
            on_changed(work, "commercetools")
        eventually(lambda: {row["id"] for row in rows} <= in_hub(store).keys())

    assert query(store, "SELECT count(*) FROM dead_letter WHERE state = 'dead'") == [(0,)]


def test_a_connection_that_lacks_a_value_makes_its_events_wait() -> None:
    """The same for each of them, and none is to blame."""

    def incomplete(_: Stream) -> AbstractContextManager[Systems]:
        raise BadRequest("The connection has no host")

    with (
        SyncRecordFetcher(incomplete, stream_of=stream_of) as fetcher,
        pytest.raises(IntegrationUnusable, match="has no host"),
    ):
        fetcher.fetch("commercetools.inventory", ["sku"])


def test_a_webhook_whose_source_is_down_waits_and_then_succeeds(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    (row, *_) = [row.document for row in shop.state.collection("inventory").rows()]
    refused: list[str] = []

    class Down(SyncRecordFetcher):
        def fetch(self, stream_id: str, keys: Sequence[str], *, by_id: bool = False) -> None:
            if len(refused) < 2:
                refused.append(stream_id)
                raise ConnectionError("the shop is closed")
            super().fetch(stream_id, keys, by_id=by_id)

    body = webhook_body(row["sku"])
    with delivery(hub_dsn, fetching_by(Down(lambda _: nullcontext(systems), stream_of=stream_of))):
        client.post(body, standard(body, at=now()))
        publish(store, stock("OTHER", 1, 1))
        eventually(lambda: query(store, "SELECT available FROM sku_availability WHERE sku = 'OTHER'"), [(1,)])
        eventually(lambda: row["id"] in in_hub(store))
    systems.store.close()

    assert query(store, "SELECT state, attempts FROM dead_letter") == [("recovered", 3)]


def test_webhooks_of_a_shop_that_is_down_ask_it_rarely_and_all_come_in_afterwards(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    """64 events, each retried alone, kept the shop from recovering, and were dead letters after a minute."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.state.collection("inventory").rows()][:64]
    pulls: list[int] = []

    class Counted(SyncRecordFetcher):
        def fetch(self, stream_id: str, keys: Sequence[str], *, by_id: bool = False) -> None:
            pulls.append(len(keys))
            super().fetch(stream_id, keys, by_id=by_id)

    shop.faults.put("inventory", [{"status": 503}], repeat=True)
    with delivery(hub_dsn, fetching_by(Counted(lambda _: nullcontext(systems), stream_of=stream_of))):
        for number, row in enumerate(rows):
            client.post(
                webhook_body(row["sku"]), standard(webhook_body(row["sku"]), at=now(), delivery_id=f"msg_{number}")
            )
        eventually(lambda: query(store, "SELECT count(*) FROM dead_letter"), [(64,)])
        time.sleep(4)
        during = len(pulls)
        assert during <= 12, pulls
        states = "SELECT DISTINCT state, cause FROM dead_letter WHERE state <> 'waiting'"
        assert query(store, states) == [("retrying", "SystemUnavailable")]
        shop.faults.clear()
        eventually(lambda: {row["id"] for row in rows} <= set(in_hub(store)))
        eventually(lambda: query(store, states), [("recovered", "SystemUnavailable")])
        # Each fetch had one of sixteen leases; whose alert would be closed by the next good fetch was chance.
        assert query(store, "SELECT kind, subject FROM alert WHERE kind = 'run_failed'") == []
    systems.store.close()

    assert len(pulls) - during <= 12, f"{during} during the outage, of {pulls}"


def test_webhooks_of_a_paused_integration_wait_until_it_is_resumed(
    client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    """A pause may last for days. It is not an error, so it makes no dead letters and uses up no attempts."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.state.collection("inventory").rows()][:20]
    requested: list[str] = []

    @contextmanager
    def registered_systems(sync: Stream) -> Iterator[Systems]:
        requested.append(sync.id)
        with Store(hub_dsn) as registry:
            find_active(registry, sync.integration)
        yield systems

    def waiting() -> list[Any]:
        return query(store, "SELECT state, attempts, cause, count(*) FROM dead_letter GROUP BY 1, 2, 3")

    document = {"connection_id": "commercetools", "conn_type": "commercetools", "host": shop.url}
    integration_service.register(store, [document], actor="test")
    integration_service.pause(store, "commercetools", actor="otto")
    with delivery(hub_dsn, fetching_by(SyncRecordFetcher(registered_systems, stream_of=stream_of))):
        for number, row in enumerate(rows):
            client.post(
                webhook_body(row["sku"]), standard(webhook_body(row["sku"]), at=now(), delivery_id=f"msg_{number}")
            )
        eventually(waiting, [("retrying", 0, "IntegrationPaused", len(rows))])
        known = len(requested)
        query(store, "UPDATE source_outage SET next_probe_at = now() RETURNING 1")
        # The probe is claimed in a transaction of its own, a moment before the call.
        eventually(lambda: len(requested) > known)
        eventually(lambda: query(store, "SELECT probes, next_probe_at > now() FROM source_outage"), [(1, True)])
        eventually(waiting, [("retrying", 0, "IntegrationPaused", len(rows))])
        assert len(requested) == known + 1, "one of them asks whether it is still paused, not each"

        integration_service.resume(store, "commercetools", on_resumed=on_resumed, actor="otto")
        eventually(lambda: {row["id"] for row in rows} <= set(in_hub(store)))
    systems.store.close()

    assert query(store, "SELECT DISTINCT state FROM dead_letter") == [("recovered",)]


@pytest.fixture
def vendor_client(client: WebhookClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WebhookClient:
    """The same, where the connection says how deliveries are signed and the connector's manifest what they mean."""
    monkeypatch.setattr(settings(), "definitions_url", define_shop(tmp_path / "definitions"))
    client.extra = {"scheme": "standard"}
    return client


def message(message_type: str, resource_type: str, resource_id: str, **fields: Any) -> bytes:
    """Write a message as a subscription of the platform sends it."""
    document = {
        "notificationType": "Message",
        "projectKey": "shop",
        "id": f"id-of-{message_type}",
        "version": 1,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "resource": {"typeId": resource_type, "id": resource_id},
        "type": message_type,
        **fields,
    }
    return json.dumps(document).encode()


def events_of(store: Store) -> list[tuple[str, str, str, Any]]:
    return query(store, "SELECT type, source, event_id, data FROM event ORDER BY position")


def test_a_message_that_names_a_record_has_it_fetched_by_its_id(
    vendor_client: WebhookClient, store: Store, hub_dsn: str, shop: FakeRetailer, tmp_path: Path
) -> None:
    """No message has each resource's business key; a customer's never has the e-mail address."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    row = shop.state.collection("inventory").rows()[0].document
    body = message("InventoryEntryQuantitySet", "inventory-entry", row["id"])
    with delivery(hub_dsn, fetching_by(SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of))):
        assert vendor_client.post(body, standard(body, at=now())).status_code == 202
        eventually(lambda: row["id"] in in_hub(store))
    systems.store.close()

    assert set(in_hub(store)) == {row["id"]}


def test_a_message_that_is_an_event_is_one_event_however_often_it_comes(
    vendor_client: WebhookClient, store: Store
) -> None:
    """What forwards the platform's messages may number each delivery anew; the message's own id is the event's."""
    body = message("InventoryEntryOutOfStock", "inventory-entry", "i-1", sku="CHAIR")
    for delivery_id in ("msg_1", "msg_2"):
        answer = vendor_client.post(body, standard(body, at=now(), delivery_id=delivery_id))
        assert (answer.status_code, answer.json()) == (202, delivered(delivery_id))

    (event,) = events_of(store)
    assert event[:3] == ("crossdock.stock.ran_out", "/integrations/commercetools", "id-of-InventoryEntryOutOfStock")
    assert event[3] == {"sku": "CHAIR", "supply_channel": None}
    assert query(store, "SELECT subject, partition_key, time FROM event") == [
        ("inventory/i-1", "CHAIR", datetime(2026, 1, 1, tzinfo=UTC))
    ]


def test_a_message_of_an_unknown_type_is_accepted_and_can_be_seen(vendor_client: WebhookClient, store: Store) -> None:
    """A subscription sends every type of a resource. Refused, it would send again; dropped, nobody would know."""
    for number in range(2):
        body = message("ProductSelectionCreated", "product-selection", "s-1", id=f"m-{number}")
        assert vendor_client.post(body, standard(body, at=now(), delivery_id=f"msg_{number}")).status_code == 202

    found = events_of(store)
    assert [event[:3] for event in found] == [
        ("crossdock.webhook.ignored", "/webhooks/commercetools", f"m-{number}") for number in range(2)
    ]
    assert [event[3]["message_type"] for event in found] == ["ProductSelectionCreated"] * 2
    assert query(store, "SELECT count(*) FROM refused_webhook") == [(0,)]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"type": "OrderCreated"}',
        message("InventoryEntryOutOfStock", "inventory-entry", "i-1"),
        message("InventoryEntryOutOfStock", "inventory-entry", "i-1", sku="A" * 257),
        message("OrderCreated", "order", ""),
        message("OrderCreated", "order", "o-1", id="a\u0000"),
        message("InventoryEntryOutOfStock", "inventory-entry", "i\u0000", sku="CHAIR"),
        message("InventoryEntryOutOfStock", "inventory-entry", "i-1", sku="CHAIR", supplyChannel={"id": "\ud800"}),
    ],
    ids=["no message", "no resource", "no sku", "long key", "no key", "odd id", "odd subject", "half a character"],
)
def test_a_message_that_lacks_what_its_type_has_is_a_bad_request(
    vendor_client: WebhookClient, store: Store, body: bytes
) -> None:
    assert vendor_client.post(body, standard(body, at=now())).status_code == 400
    assert events_of(store) == []


def test_a_connection_that_says_where_the_key_is_has_the_last_word(vendor_client: WebhookClient, store: Store) -> None:
    """Something between the platform and the hub may send a body of its own."""
    vendor_client.extra = RULES
    vendor_client.post(webhook_body("CHAIR"), standard(webhook_body("CHAIR"), at=now()))

    assert stored(store) == [("msg_1", "commercetools.inventory/CHAIR")]


def test_pulls_in_a_row_open_their_systems_once_and_an_error_closes_them(
    store: Store, shop: FakeRetailer, tmp_path: Path
) -> None:
    """Opening them costs more than a fetch; but what failed may have failed for what is kept open."""
    deliver_published: list[str] = []
    skus = [row.document["sku"] for row in shop.state.collection("inventory").rows()][:3]

    @contextmanager
    def opened(_: Stream) -> Iterator[Systems]:
        deliver_published.append("opened")
        yield Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path / "landing")))
        deliver_published.append("closed")

    # However slow the machine is: nothing expires between two fetches.
    with SyncRecordFetcher(opened, stream_of=stream_of, open_s=3_600) as fetcher:
        for sku in skus:
            fetcher.fetch("commercetools.inventory", [sku])
        assert deliver_published == ["opened"]
        rename(store, "inventory", "away")
        with pytest.raises(HubError):
            fetcher.fetch("commercetools.inventory", skus)
        assert deliver_published == ["opened", "closed"]
        rename(store, "away", "inventory")
        fetcher.fetch("commercetools.inventory", skus)
    assert deliver_published == ["opened", "closed", "opened", "closed"]


def test_a_fetch_leaves_no_file_no_page_and_no_line_of_its_own(
    store: Store, shop: FakeRetailer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Five a second left 1.8 million inodes and 560 MB of logs a day. Its counts, and what it rejects, are in the database."""
    landing = tmp_path / "landing"
    systems = Systems(source=connect(shop), store=store, landing=Landing(str(landing)))
    skus = [row.document["sku"] for row in shop.state.collection("inventory").rows()][:5]

    with (
        caplog.at_level("INFO", "crossdock"),
        SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of) as fetcher,
    ):
        fetcher._tally = FetchTally(every_s=3_600)  # However slow the machine is.
        for sku in skus:
            fetcher.fetch("commercetools.inventory", [sku])

    assert not landing.exists()
    assert query(store, "SELECT count(*) FROM sync_range") == [(0,)]
    assert query(store, "SELECT count(*) FROM landed_page") == [(0,)]
    stored = query(store, "SELECT count(*), sum(read), sum(inserted) FROM sync_run WHERE state = 'done'")
    assert stored == [(5, len(in_hub(store)), len(in_hub(store)))]
    said = [record.getMessage() for record in caplog.records if record.name.startswith("crossdock")]
    assert [line.partition(":")[0] for line in said] == [
        "5 fetches of commercetools.inventory, done in the last minute"
    ]


def test_a_fetch_that_failed_leaves_no_page_and_cannot_be_reopened(
    store: Store, shop: FakeRetailer, tmp_path: Path
) -> None:
    systems = Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path / "landing")))
    (row, *_) = shop.state.collection("inventory").rows()
    rename(store, "inventory", "away")
    with SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of) as fetcher, pytest.raises(HubError):
        fetcher.fetch("commercetools.inventory", [row.document["sku"]])

    assert query(store, "SELECT state, landing_cleared_at IS NULL FROM sync_run") == [("failed", False)]
    assert query(store, "SELECT count(*) FROM sync_range") == [(0,)]


def test_a_fetch_of_several_keys_is_one_call(store: Store, shop: FakeRetailer, tmp_path: Path) -> None:
    """Ten webhooks that wait are one read; and nothing asks the shop for its size, which no window needs here."""
    systems = Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path / "landing")))
    skus = [row.document["sku"] for row in shop.state.collection("inventory").rows()][:10]
    asked = []
    page, describe = systems.source.page, systems.source.describe
    systems.source.page = lambda *given, **named: asked.append("page") or page(*given, **named)  # type: ignore[method-assign]  # counted
    systems.source.describe = lambda *given: asked.append("describe") or describe(*given)  # type: ignore[method-assign]  # counted
    with SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of) as fetcher:
        fetcher.fetch("commercetools.inventory", skus)

    assert asked == ["page"]
    (found,) = query(store, "SELECT count(DISTINCT sku) FROM inventory")
    assert found == (10,)


def test_a_fetcher_that_was_closed_opens_its_systems_again(store: Store, shop: FakeRetailer, tmp_path: Path) -> None:
    """It is a service of the process: the task that delivers closes it, and the next one has the same."""
    seen: list[str] = []

    @contextmanager
    def opened(_: Stream) -> Iterator[Systems]:
        seen.append("opened")
        yield Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path / "landing")))
        seen.append("closed")

    provided = replace(services(), records=SyncRecordFetcher(opened, stream_of=stream_of))
    for row in shop.state.collection("inventory").rows()[:2]:
        with closing(provided):
            provided.records.fetch("commercetools.inventory", [row.document["sku"]])

    assert seen == ["opened", "closed", "opened", "closed"]


def rename(store: Store, table: str, name: str) -> None:
    with store.transaction() as work:
        work.execute(f"ALTER TABLE {table} RENAME TO {name}".encode())
