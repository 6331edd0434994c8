"""Webhooks in: proved or refused, stored before the answer, once each, and in the hub within half a second."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from crossdock.api import problems, webhooks
from crossdock.api.dependencies import open_store
from crossdock.api.middleware import RequestMiddleware
from crossdock.app.fetch_records import Puller
from crossdock.app.integrations import on_resumed
from crossdock.app.streams import SYNCS
from crossdock.app.subscribers import SUBSCRIBERS
from crossdock.core.errors import BadRequest, HubError, NotFound
from crossdock.db.database import Store
from crossdock.events.webhooks_in.service import LARGEST_BYTES, Receiver, _event, receiver_from
from crossdock.events.webhooks_in.signatures import WebhookRefused, WebhookRules, proved_id
from crossdock.integrations import service
from crossdock.integrations.registered import refuse_stopped
from crossdock.sandbox.server import Sandbox
from crossdock.sync import Sync, Systems
from crossdock.sync.landing import Landing
from fastapi import APIRouter, FastAPI

from tests.events.worlds import delivery, eventually, publish, stock
from tests.shop import connect, free_port, in_hub, query

KEY = "whsec_" + base64.b64encode(b"a key that nobody else has").decode()
OLD_KEY = "whsec_" + base64.b64encode(b"the key before it, still valid").decode()
RULES = {"scheme": "standard", "entity": "inventory", "key_path": "data.sku"}
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
    found = proved_id(rules(), [VECTOR_KEY], VECTOR_HEADERS, VECTOR_BODY, now_s=1614265330)

    assert found == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_each_of_several_keys_and_each_of_several_signatures_is_good() -> None:
    """While a key is rotated, some deliveries are signed with the old one and some with both."""
    body = b"{}"
    (_, _, (_, old)) = standard(body, key=OLD_KEY)
    (first, second, (name, new)) = standard(body)

    for offered in (old, new, f"{old} {new}", f"v1a,{'A' * 20} {new}"):
        assert proved_id(rules(), [KEY, OLD_KEY], [first, second, (name, offered)], body, now_s=NOW) == "msg_1"


@pytest.mark.parametrize("wrong_s", [-301, 301])
def test_old_and_future_deliveries_are_refused(wrong_s: int) -> None:
    with pytest.raises(WebhookRefused, match=r"too old|future"):
        proved_id(rules(), [KEY], standard(b"{}", at=NOW + wrong_s), b"{}", now_s=NOW)
    assert proved_id(rules(), [KEY], standard(b"{}", at=NOW + wrong_s * 0.99), b"{}", now_s=NOW)


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
def test_what_is_not_proved_is_refused(headers: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        proved_id(rules(), [KEY], headers, body, now_s=NOW)


def test_a_stranger_chooses_no_word_of_why_it_is_refused() -> None:
    """Refusals are counted by why: with a thousand of them an hour, the table would be the stranger's to fill."""

    def why(headers: list[tuple[str, str]]) -> str:
        with pytest.raises(WebhookRefused) as refused:
            proved_id(rules(), [KEY], headers, b"{}", now_s=NOW)
        return str(refused.value)

    assert len({why([("webhook-id", "x")] * number) for number in range(2, 40)}) == 1


def test_a_body_that_is_nothing_but_brackets_is_refused_in_words() -> None:
    """Its sender is known, and its body is nested deeper than any reader goes."""
    receiver = receiver_from("shop", KEY, RULES, SYNCS)
    with pytest.raises(BadRequest, match="no JSON"):
        _event(receiver, "msg_1", b"[" * 200_000, datetime.now(UTC))


def test_stripes_scheme() -> None:
    body = b'{"id": "evt_1"}'
    good, bad = mac(b"whsec_stripe", f"{NOW}.".encode() + body).hex(), "0" * 64
    header = f"t={NOW},v1={bad},v1={good},v0={bad}"

    assert (
        proved_id(rules(scheme="stripe"), ["whsec_stripe"], [("Stripe-Signature", header)], body, now_s=NOW) == "evt_1"
    )
    for broken in (f"t={NOW},v1={bad}", f"v1={good}", f"t={NOW},t={NOW},v1={good}", f"t={NOW},v0={good}"):
        with pytest.raises(WebhookRefused):
            proved_id(rules(scheme="stripe"), ["whsec_stripe"], [("stripe-signature", broken)], body, now_s=NOW)
    with pytest.raises(WebhookRefused, match="future"):
        proved_id(rules(scheme="stripe"), ["whsec_stripe"], [("stripe-signature", header)], body, now_s=NOW - 400)


def test_plain_hmac_in_each_of_its_spellings() -> None:
    body, plain = b"{}", rules(scheme="hmac")
    digest = mac(b"secret", f"{NOW}.".encode() + body)
    for text in (digest.hex(), f"sha256={digest.hex()}", base64.b64encode(digest).decode()):
        headers = [("X-Signature", text), ("X-Timestamp", str(NOW)), ("X-Delivery-Id", "d1")]
        assert proved_id(plain, ["secret"], headers, body, now_s=NOW) == "d1"
        with pytest.raises(WebhookRefused):
            proved_id(plain, ["secret"], headers[:1], body, now_s=NOW)
    bare = rules(scheme="hmac", timestamp_header="")
    headers = [("x-signature", mac(b"secret", body).hex()), ("x-delivery-id", "d2")]
    assert proved_id(bare, ["secret"], headers, body, now_s=NOW) == "d2"


def test_a_receiver_without_a_key_proves_nothing() -> None:
    """An empty password must not become the empty key, with which anybody can sign."""
    receiver = receiver_from("shop", "", RULES, SYNCS)
    with pytest.raises(WebhookRefused, match="no key"):
        proved_id(receiver.rules, receiver.keys, standard(b"{}", key="whsec_"), b"{}", now_s=NOW)


@pytest.mark.parametrize(
    "extra", [{}, {**RULES, "entity": "nothing"}, {**RULES, "scheme": "none"}, {**RULES, "typo": 1}]
)
def test_rules_that_say_nothing_are_no_receiver(extra: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        receiver_from("shop", KEY, extra, SYNCS)


def test_a_receiver_shows_no_key() -> None:
    assert KEY not in repr(receiver_from("shop", KEY, RULES, SYNCS))


class Door:
    """The real router over a real socket, with the keys that a connection would hold."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.port = dsn, free_port()
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
        if integration != "shop":
            raise NotFound("no such")
        return receiver_from("shop", f"{OLD_KEY} {KEY}", RULES, SYNCS)

    def post(self, body: bytes, headers: list[tuple[str, str]], integration: str = "shop") -> requests.Response:
        url = f"http://127.0.0.1:{self.port}/v1/webhooks/{integration}"
        return requests.post(url, data=body, headers=dict(headers), timeout=30)


@pytest.fixture
def door(hub_dsn: str) -> Iterator[Door]:
    opened = Door(hub_dsn)
    thread = threading.Thread(target=opened.server.run)
    thread.start()
    while not opened.server.started:
        time.sleep(0.01)
    yield opened
    opened.server.should_exit = True
    thread.join(10)


def told(sku: str) -> bytes:
    return json.dumps({"type": "inventory.changed", "data": {"sku": sku}}).encode()


def stored(store: Store) -> list[tuple[str, str]]:
    return query(
        store, "SELECT event_id, partition_key FROM event WHERE type = 'crossdock.webhook.received' ORDER BY 1"
    )


def now() -> float:
    return datetime.now(UTC).timestamp()


def test_a_delivery_is_stored_before_it_is_answered(door: Door, store: Store) -> None:
    answer = door.post(told("CHAIR"), standard(told("CHAIR"), at=now()))

    assert (answer.status_code, answer.json()) == (202, {"delivery_id": "msg_1"})
    assert stored(store) == [("msg_1", "inventory/CHAIR")]


def test_the_same_delivery_fifty_times_at_once_is_one_event(door: Door, store: Store) -> None:
    """Senders that see no answer send again, and some send twice at once."""
    body = told("CHAIR")
    headers = standard(body, at=now())
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: door.post(body, headers), range(50)))

    assert {(answer.status_code, answer.text) for answer in answers} == {(202, '{"delivery_id":"msg_1"}')}
    assert len(stored(store)) == 1


def test_deliveries_are_told_apart_by_their_id_never_by_their_body(door: Door, store: Store) -> None:
    """Two changes of one record look the same; the second must not be taken for the first."""
    for delivery_id in ("msg_1", "msg_2"):
        door.post(told("CHAIR"), standard(told("CHAIR"), at=now(), delivery_id=delivery_id))

    assert [delivery_id for delivery_id, _ in stored(store)] == ["msg_1", "msg_2"]


def test_a_refused_delivery_is_counted_and_leaves_nothing_else(door: Door, store: Store) -> None:
    """Anybody can send a million of them, and the chain of the audit trail is never shortened."""
    forged = "whsec_" + base64.b64encode(b"a key of the forger").decode()
    for _ in range(3):
        answer = door.post(told("CHAIR"), standard(told("CHAIR"), key=forged, at=now()))

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Signature"
    assert query(store, "SELECT count(*) FROM event") == [(0,)]
    assert query(store, "SELECT integration, why, sum(times), sum(bytes) FROM refused_webhook GROUP BY 1, 2") == [
        ("shop", "no signature of it is made with a key of ours", 3, 3 * len(told("CHAIR")))
    ]
    assert query(store, "SELECT count(*) FROM audit_entry") == [(0,)]


def test_what_is_too_large_is_refused_unread(door: Door, store: Store) -> None:
    body = told("C" * LARGEST_BYTES)

    assert door.post(body, standard(body, at=now())).status_code == 413
    assert query(store, "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM audit_entry)") == [(0,)]


def test_an_integration_without_webhooks_is_not_found(door: Door) -> None:
    assert door.post(told("CHAIR"), standard(told("CHAIR"), at=now()), integration="other").status_code == 404


@pytest.mark.parametrize(
    "body", [b"no json", b"{}", b'{"data": {"sku": 5}}', b'{"data": {"sku": "a\\u0000"}}', b"\xff"]
)
def test_a_proved_delivery_without_a_key_is_a_bad_request(door: Door, store: Store, body: bytes) -> None:
    assert door.post(body, standard(body, at=now())).status_code == 400
    assert stored(store) == []


def test_a_told_change_is_in_the_hub_within_half_a_second(
    door: Door, store: Store, hub_dsn: str, shop: Sandbox, tmp_path: Path
) -> None:
    """Without a DAG run: post, store, deliver, read one record from the shop, check, load. 95 of 100."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.world.shelf("inventory").rows()][:42]
    waits = []
    with delivery(hub_dsn, SUBSCRIBERS, puller=Puller(lambda _: nullcontext(systems))):
        for number, row in enumerate(rows):
            body = told(row["sku"])
            began = time.monotonic()
            assert door.post(body, standard(body, at=now(), delivery_id=f"msg_{number}")).status_code == 202
            eventually(lambda row=row: row["id"] in in_hub(store), within_s=20)  # type: ignore[misc]
            waits.append(time.monotonic() - began)
    systems.store.close()
    # The first two load Great Expectations and open connections, which a worker has done before its first webhook.
    taken = sorted(waits[2:])
    assert taken[int(len(taken) * 0.95)] < 0.5, f"median {statistics.median(taken):.3f} s of {taken}"


def test_a_webhook_whose_source_is_down_waits_and_then_succeeds(
    door: Door, store: Store, hub_dsn: str, shop: Sandbox, tmp_path: Path
) -> None:
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    (row, *_) = [row.document for row in shop.world.shelf("inventory").rows()]
    refused: list[str] = []

    class Down:
        def pull(self, entity: str, keys: Any) -> None:
            if len(refused) < 2:
                refused.append(entity)
                raise ConnectionError("the shop is closed")
            Puller(lambda _: nullcontext(systems)).pull(entity, keys)

    body = told(row["sku"])
    with delivery(hub_dsn, SUBSCRIBERS, puller=Down()):
        door.post(body, standard(body, at=now()))
        publish(store, stock("OTHER", 1, 1))
        eventually(lambda: query(store, "SELECT available FROM sku_availability WHERE sku = 'OTHER'"), [(1,)])
        eventually(lambda: row["id"] in in_hub(store), within_s=20)
    systems.store.close()

    assert query(store, "SELECT state, attempts FROM failed_delivery") == [("recovered", 3)]


def test_webhooks_of_a_shop_that_is_down_ask_it_rarely_and_all_come_in_afterwards(
    door: Door, store: Store, hub_dsn: str, shop: Sandbox, tmp_path: Path
) -> None:
    """64 of them. Tried each by itself, they kept the shop from getting up, and were dead letters after a minute."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.world.shelf("inventory").rows()][:64]
    pulls: list[int] = []

    class Counted(Puller):
        def pull(self, entity: str, keys: Sequence[str]) -> None:
            pulls.append(len(keys))
            super().pull(entity, keys)

    shop.faults.put("inventory", [{"status": 503}], repeat=True)
    with delivery(hub_dsn, SUBSCRIBERS, puller=Counted(lambda _: nullcontext(systems))):
        for number, row in enumerate(rows):
            door.post(told(row["sku"]), standard(told(row["sku"]), at=now(), delivery_id=f"msg_{number}"))
        eventually(lambda: query(store, "SELECT count(*) FROM failed_delivery"), [(64,)])
        time.sleep(4)
        during = len(pulls)
        assert during <= 12, pulls
        states = "SELECT DISTINCT state, cause FROM failed_delivery WHERE state <> 'waiting'"
        assert query(store, states) == [("retrying", "SystemUnavailable")]
        shop.faults.clear()
        eventually(lambda: {row["id"] for row in rows} <= set(in_hub(store)), within_s=20)
        eventually(lambda: query(store, states), [("recovered", "SystemUnavailable")])
        # Each pull had one of sixteen leases; whose alert would be closed by the next good pull was chance.
        assert query(store, "SELECT kind, subject FROM alert WHERE kind = 'run_failed'") == []
    systems.store.close()

    assert len(pulls) - during <= 12, f"{during} during the outage, of {pulls}"


def test_webhooks_of_a_paused_integration_wait_until_it_is_resumed(
    door: Door, store: Store, hub_dsn: str, shop: Sandbox, tmp_path: Path
) -> None:
    """A pause may be for days. It is nobody's mistake, so it makes no dead letters and uses up no tries."""
    systems = Systems(source=connect(shop), store=Store(hub_dsn), landing=Landing(str(tmp_path / "landing")))
    rows = [row.document for row in shop.world.shelf("inventory").rows()][:20]
    asked: list[str] = []

    @contextmanager
    def registered_systems(sync: Sync) -> Iterator[Systems]:
        asked.append(sync.entity)
        with Store(hub_dsn) as registry:
            refuse_stopped(registry, sync.integration)
        yield systems

    def waiting() -> list[Any]:
        return query(store, "SELECT state, attempts, cause, count(*) FROM failed_delivery GROUP BY 1, 2, 3")

    document = {"connection_id": "commercetools", "conn_type": "commercetools", "host": shop.url}
    service.register(store, [document], actor="test")
    service.pause(store, "commercetools", actor="otto")
    with delivery(hub_dsn, SUBSCRIBERS, puller=Puller(registered_systems)):
        for number, row in enumerate(rows):
            door.post(told(row["sku"]), standard(told(row["sku"]), at=now(), delivery_id=f"msg_{number}"))
        eventually(waiting, [("retrying", 0, "IntegrationPaused", len(rows))])
        known = len(asked)
        query(store, "UPDATE event_outage SET next_probe_at = now() RETURNING 1")
        # The right to ask is taken in a transaction of its own, a moment before anybody asks.
        eventually(lambda: len(asked) > known)
        eventually(lambda: query(store, "SELECT probes, next_probe_at > now() FROM event_outage"), [(1, True)])
        eventually(waiting, [("retrying", 0, "IntegrationPaused", len(rows))])
        assert len(asked) == known + 1, "one of them asks whether it is still paused, not each"

        service.resume(store, "commercetools", on_resumed=on_resumed, actor="otto")
        eventually(lambda: {row["id"] for row in rows} <= set(in_hub(store)), within_s=20)
    systems.store.close()

    assert query(store, "SELECT DISTINCT state FROM failed_delivery") == [("recovered",)]


def test_pulls_in_a_row_open_their_systems_once_and_an_error_closes_them(
    store: Store, shop: Sandbox, tmp_path: Path
) -> None:
    """To open them costs more than a pull; but what failed may have failed for what is kept open."""
    told_of: list[str] = []
    skus = [row.document["sku"] for row in shop.world.shelf("inventory").rows()][:3]

    @contextmanager
    def opened(_: Sync) -> Iterator[Systems]:
        told_of.append("opened")
        yield Systems(source=connect(shop), store=store, landing=Landing(str(tmp_path / "landing")))
        told_of.append("closed")

    with Puller(opened) as puller:
        for sku in skus:
            puller.pull("inventory", [sku])
        assert told_of == ["opened"]
        rename(store, "inventory", "away")
        with pytest.raises(HubError):
            puller.pull("inventory", skus)
        assert told_of == ["opened", "closed"]
        rename(store, "away", "inventory")
        puller.pull("inventory", skus)
    assert told_of == ["opened", "closed", "opened", "closed"]


def rename(store: Store, table: str, name: str) -> None:
    with store.transaction() as work:
        work.execute(f"ALTER TABLE {table} RENAME TO {name}".encode())
