"""Copies at once, a secret that is rotated under load, and what nobody would send."""

from __future__ import annotations

import http.client
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossdock.api import airflow_lookups, webhooks
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.webhooks_in.declared_records import webhook_of_rules
from crossdock.events.webhooks_in.meaning import Understood, understand
from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes.model import Message, Signed
from crossdock.events.webhooks_in.signatures import verify
from tests.events.webhooks_in.senders import SENDERS, Sender
from tests.events.webhooks_in.test_webhooks import KEY, OLD_KEY, WebhookClient, client, now, served, standard
from tests.shop import query

__all__ = ["client"]

NOW = 1_800_000_000.0
BY_KEY = {"scheme": "standard", "dataset": "inventory", "key_path": "sku"}


def test_fifty_copies_of_a_list_at_once_are_one_event_for_each_record(client: WebhookClient, store: Store) -> None:
    """Two of them insert at the same moment, and one of them finds out late."""
    client.extra = BY_KEY
    body = json.dumps([{"sku": f"S-{number}"} for number in range(20)]).encode()
    headers = standard(body, at=now())
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: client.post(body, headers), range(50)))

    taken = [answer for answer in answers if answer.status_code != 503]
    assert {(answer.status_code, answer.json()["taken"]) for answer in taken} == {(202, 20)}
    # Busy is 503 with Retry-After: the sender sends again.
    assert all(answer.headers.get("Retry-After") for answer in answers if answer not in taken)
    assert query(store, "SELECT count(*), count(DISTINCT event_id) FROM event") == [(20, 20)]


class OneReceivers(WebhookClient):
    """The receivers are remembered, as in a process of the api-server."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        known = webhooks.Receivers(self._find)
        app: Any = self.server.config.app
        app.dependency_overrides[webhooks.receivers] = lambda: known


@pytest.fixture
def remembering(hub_dsn: str) -> Iterator[OneReceivers]:
    with served(OneReceivers(hub_dsn)) as opened:
        yield opened


def test_a_rotation_under_load_refuses_nothing(remembering: OneReceivers, store: Store) -> None:
    """A connection is remembered for 15 s: what was signed with a key that is newer than that was refused."""
    remembering.password = OLD_KEY
    key, statuses, stop = [OLD_KEY], list[int](), threading.Event()

    def send(sender: int) -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            body = json.dumps({"data": {"sku": f"S-{number % 50}"}}).encode()
            headers = standard(body, key=key[0], at=now(), delivery_id=f"msg_{sender}_{number}")
            statuses.append(remembering.post(body, headers).status_code)

    with ThreadPoolExecutor(3) as threads:
        for sender in range(3):
            threads.submit(send, sender)
        for password, signing in (
            (OLD_KEY, OLD_KEY),
            (f"{OLD_KEY} {KEY}", OLD_KEY),
            (f"{OLD_KEY} {KEY}", KEY),
            (KEY, KEY),
        ):
            remembering.password = password
            time.sleep(0.5)
            key[0] = signing
            time.sleep(1)
        stop.set()

    assert set(statuses) == {202}
    assert len(statuses) > 20
    assert query(store, "SELECT count(*) FROM refused_webhook") == [(0,)]


def test_a_key_that_was_taken_out_of_its_connection_is_refused_after_fifteen_seconds(
    remembering: OneReceivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is good: what was on its way was signed with it."""
    passed_s = [0.0]
    monkeypatch.setattr(airflow_lookups, "time", SimpleNamespace(monotonic=lambda: 1_000.0 + passed_s[0]))
    body = b'{"data": {"sku": "CHAIR"}}'

    def status(key: str) -> int:
        return remembering.post(body, standard(body, key=key, at=now())).status_code

    assert status(OLD_KEY) == 202
    remembering.password = KEY
    passed_s[0] = 14.0
    assert status(OLD_KEY) == 202
    passed_s[0] = 16.0
    assert (status(OLD_KEY), status(KEY)) == (401, 202)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["sku", "id", "type", "data"]), inner, max_size=4)
    ),
    max_leaves=12,
)
#: Whatever a header can hold.
HEADER_TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=60)
FUZZ = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def tried(sender: Sender, headers: list[tuple[str, str]], body: bytes, query_text: str) -> Understood | None:
    """Prove and understand; None where it is refused. Any other error would be a 500."""
    rules = msgspec.convert({**sender.rules, "dataset": "inventory", "key_path": "data.sku"}, WebhookRules)
    try:
        signed = verify(
            rules,
            sender.keys,
            headers,
            body,
            now_s=NOW,
            query=query_text,
            read_keys=lambda url, _: sender.published.get(url, b"nothing"),
        )
        return meant(rules, signed)
    except (WebhookRefused, BadRequest):
        return None


def meant(rules: WebhookRules, signed: Signed) -> Understood:
    at = datetime.fromtimestamp(NOW, UTC)
    found = understand("shop", webhook_of_rules(rules), rules, signed, headers={}, at=at, settings={})
    for event in found.events:
        event.data.encode()
        assert event.event_id
        assert 0 < len(event.event_id) <= 256
        assert 0 < len(event.partition_key) <= 600
    return found


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.name)
@FUZZ
@given(data=st.data())
def test_a_header_or_a_body_that_nobody_sends_is_refused_in_words(sender: Sender, data: st.DataObject) -> None:
    """Each request begins as a good one, and one or two things of it are wrong."""
    sent = sender.sign(0, NOW)
    headers, body = list(sent.headers), sent.body
    for number in range(len(headers)):
        if data.draw(st.booleans()):
            name, value = headers[number]
            # Not up to its length: that of a signature by ECDSA is another one each time.
            cut = data.draw(st.integers(0, 400)) % (len(value) + 1)
            headers[number] = (
                name,
                data.draw(st.sampled_from([value[:cut], value[cut:], value * 50])) + data.draw(HEADER_TEXT),
            )
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(body)))
        body = data.draw(
            st.sampled_from([body[:cut], body[:cut] + data.draw(st.binary(max_size=20)) + body[cut:], b"[" * 5_000])
        )
    tried(sender, headers, body, data.draw(st.sampled_from([sent.query, "", "&&=", "code=&code=", "%ff=%ff"])))


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.name)
@FUZZ
@given(document=JSON)
def test_any_document_is_refused_in_words(sender: Sender, document: Any) -> None:
    sent = sender.sign(0, NOW)
    tried(sender, sent.headers, json.dumps(document).encode(), sent.query)


@FUZZ
@given(
    document=JSON
    | st.lists(st.dictionaries(st.sampled_from(["sku", "id"]), st.sampled_from(["A", "B", 1]), min_size=1)),
    path=st.sampled_from(["sku", "data.sku", "data", "id"]),
    items=st.sampled_from(["", "data", "data.items"]),
)
def test_any_signed_document_is_accounted_for_in_the_store_or_refused_in_words(
    store: Store, document: Any, path: str, items: str
) -> None:
    """Two events with one ID would be one in the store, and the answer would count what is not there."""
    rules = WebhookRules(dataset="inventory", key_path=path, items_path=items)
    body = json.dumps(document).encode()
    try:
        found = meant(rules, Signed("msg_1", (Message("msg_1", body),)))
    except BadRequest:
        return
    accounted = found.taken + found.ignored + len(found.faults)
    assert accounted > 0
    with store.transaction() as work:
        event_store.receive_all(work, found.events)
        assert work.execute("SELECT count(DISTINCT event_id) FROM event").fetchone() == (accounted,)
        raise psycopg.Rollback  # The next example begins with an empty store.


@FUZZ
@given(body=st.binary(max_size=200), is_form=st.booleans())
def test_any_signed_bytes_are_taken_ignored_or_refused_in_words(body: bytes, *, is_form: bool) -> None:
    rules = WebhookRules(dataset="inventory", key_path="sku")
    try:
        meant(rules, Signed("msg_1", (Message("msg_1", body, is_form),)))
    except BadRequest:
        return


def test_strangers_fill_no_memory() -> None:
    """Nothing of a request is kept in the process, whatever it is."""

    def all_of_them(times: int) -> None:
        for number in range(times):
            for sender in SENDERS:
                sent = sender.sign(0, NOW)
                tried(
                    sender,
                    [(name, f"{value}{number}") for name, value in sent.headers],
                    sent.body + b" ",
                    f"x={number}",
                )

    all_of_them(3)
    tracemalloc.start()
    all_of_them(3)
    before = tracemalloc.get_traced_memory()[0]
    all_of_them(30)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000, grown


ODD_HEADERS = (
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "content-type",
    "content-encoding",
    "x-request-id",
)


@pytest.mark.parametrize(
    "value", ["", "\t", "é", "\xff" * 100, "a" * 7_000, "v1,", "v1,=,=", "1" * 400, "%00", "\u00a0", "[::1"]
)
def test_an_odd_header_is_never_a_5xx(client: WebhookClient, store: Store, value: str) -> None:
    body = b'{"data": {"sku": "CHAIR"}}'
    for name in ODD_HEADERS:
        headers = dict(standard(body, at=now())) | {name: value}
        status = raw_status(client, body, {header: text.encode("latin-1") for header, text in headers.items()})
        assert status < 500, (name, value)
    assert query(store, "SELECT count(*) <= 1 FROM event") == [(True,)]


def raw_status(client: WebhookClient, body: bytes, headers: dict[str, bytes]) -> int:
    """Post with headers that no library would send."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.putrequest("POST", "/v1/webhooks/commercetools", skip_host="host" in headers)
    for name, value in (headers | {"content-length": str(len(body)).encode()}).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    with closing(connection):
        return connection.getresponse().status
