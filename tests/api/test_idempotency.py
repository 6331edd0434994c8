"""A POST with an effect carries a key: one effect, however often it is sent, and its answer each time."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from crossdock.api.access import ACTS_AS
from crossdock.api.app import create_app
from crossdock.api.dependencies import open_store
from crossdock.api.idempotency import _request_of
from crossdock.core.roles import Caller, Role
from crossdock.db import idempotency
from crossdock.db.database import Store
from crossdock.db.idempotency import RequestKey
from crossdock.maintenance.retention import RetentionPeriods, purge_expired
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.api.matrix import MATRIX, NEEDS_NO_KEY
from tests.api.test_access import assert_problem, path_of
from tests.api.test_quarantine import rejected
from tests.chaos import children
from tests.events.worlds import eventually, publish, stock
from tests.shop import query
from tests.streams import define_shop

POSTS = sorted(path for method, path in MATRIX if method == "POST")
NOTES = "SELECT count(*) FROM audit_entry WHERE act LIKE 'replay.%%'"


@pytest.fixture
def triaged(hub: Hub) -> Iterator[Store]:
    with hub.store() as store:
        rejected(store, "k-1", "k-2", "k-3")
        yield store
        query(store, "DELETE FROM quarantine_item RETURNING 1")


@pytest.fixture(scope="module")
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=3, inventory=5, products=5, orders=5, customers=2, flaws=0) as opened:
        yield opened


def post(hub: Hub, path: str, body: Any, key: str, name: str = "otto", **headers: str) -> requests.Response:
    return hub.call("POST", path, name, json=body, headers={"Idempotency-Key": key, **headers})


def new_key() -> str:
    return str(uuid.uuid4())


@pytest.mark.parametrize("path", POSTS)
def test_a_post_needs_a_key_unless_it_has_no_effect(hub: Hub, path: str) -> None:
    """A client that sends a request again after a time-out would have it done twice, and nothing would say so."""
    # Who may do everything: a role that is missing would be the answer before the key.
    answer = hub.call("POST", path_of(path), "admin", json={}, headers={"Idempotency-Key": None, "If-Match": "*"})

    needs = "Idempotency-Key" in [error["pointer"] for error in answer.json().get("errors", ())]
    assert needs == (path not in NEEDS_NO_KEY)
    if needs:
        assert_problem(answer, 400, "bad-request")
        assert "Idempotency-Key: is missing. Send a new one for each request" in answer.json()["detail"]


def test_each_route_with_an_effect_takes_its_key_in_the_same_way() -> None:
    takes = {
        (method, route.path)
        for route in create_app().routes
        for method in route.methods  # type: ignore[attr-defined]
        if any(each.call is _request_of for each in route.dependant.dependencies)  # type: ignore[attr-defined]
    }

    assert takes == {("POST", path) for path in POSTS if path not in NEEDS_NO_KEY}


def test_the_same_request_again_gets_the_same_answer_and_has_no_second_effect(hub: Hub, triaged: Store) -> None:
    key, before = new_key(), query(triaged, NOTES)
    first = post(hub, "/v1/quarantine-replays", {"all": True}, key)
    again = post(hub, "/v1/quarantine-replays", {"all": True}, key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.content == again.content
    assert first.headers["Content-Type"] == again.headers["Content-Type"]
    assert query(triaged, NOTES) == [(before[0][0] + 1,)]


def new_integration(retailer: FakeRetailer, integration_id: str) -> dict[str, Any]:
    return {
        "id": integration_id,
        "kind": "commercetools",
        "settings": {
            "base_url": retailer.url,
            "project": retailer.project,
            "scope": f"view_products:{retailer.project} view_orders:{retailer.project}",
            "allowed_networks": ["127.0.0.0/8"],
        },
        "credentials": {"client_id": retailer.client_id, "client_secret": retailer.client_secret},
    }


def test_the_headers_that_a_client_reads_come_again(hub: Hub, retailer: FakeRetailer) -> None:
    """Without its ETag, the answer to a repeated request could not be changed any further."""
    key, body = new_key(), new_integration(retailer, "twice_sent")
    first, again = post(hub, "/v1/integrations", body, key), post(hub, "/v1/integrations", body, key)
    paused, paused_again = (post(hub, "/v1/integrations/twice_sent/pause", None, key) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert first.json() == again.json()
    for name in ("ETag", "Location"):
        assert first.headers[name] == again.headers[name]
    assert paused.headers["ETag"] == paused_again.headers["ETag"] == '"2"'
    with hub.store() as store:
        kept = query(store, "SELECT idempotency_key::text FROM idempotency_key")
    assert kept
    assert not any(secret in row for (row,) in kept for secret in (retailer.client_secret, key))


def test_an_integration_whose_server_died_before_it_was_stored_is_added_by_the_retry(
    hub: Hub, retailer: FakeRetailer
) -> None:
    """Airflow has its connection by then, in a database of its own; that must not block the id for ever."""
    key, body = new_key(), new_integration(retailer, "died_half_way")
    post(hub, "/v1/integrations", body, key).raise_for_status()
    with hub.store() as store:
        query(store, "DELETE FROM integration WHERE integration_id = 'died_half_way' RETURNING 1")
        query(store, "DELETE FROM idempotency_key RETURNING 1")
    other = {**body, "credentials": {**body["credentials"], "client_id": "somebody-else"}}
    retailer_refuses = post(hub, "/v1/integrations", other, new_key())

    assert retailer_refuses.status_code == 422
    assert post(hub, "/v1/integrations", body, key).status_code == 201


def test_the_retry_makes_known_an_integration_whose_server_died_after_it_was_stored(
    hub: Hub, retailer: FakeRetailer
) -> None:
    """Its DAGs come from the snapshot, which is written after the commit."""
    body, key = new_integration(retailer, "stored_alone"), new_key()
    post(hub, "/v1/integrations", body, key).raise_for_status()
    define_shop(hub.definitions)
    lost = hub.call("GET", "/v1/streams?name=stored_alone.orders")

    again = post(hub, "/v1/integrations", body, key)
    found = hub.call("GET", "/v1/streams?name=stored_alone.orders")

    assert (lost.status_code, again.status_code, found.status_code) == (400, 201, 200)


def test_another_request_with_the_same_key_is_refused(hub: Hub, triaged: Store) -> None:
    """It would get the answer of something that it did not ask for."""
    key = new_key()
    (first, second, _) = (number for (number,) in query(triaged, "SELECT item_id FROM quarantine_item ORDER BY 1"))
    post(hub, f"/v1/quarantine/{first}/discard", {"reason": "a test"}, key)

    for path, reason in (
        (f"/v1/quarantine/{first}/discard", "another"),
        (f"/v1/quarantine/{second}/discard", "a test"),
    ):
        assert_problem(post(hub, path, {"reason": reason}, key), 422, "idempotency-key-reused")
    assert query(triaged, "SELECT count(*) FROM quarantine_item WHERE state = 'open'") == [(2,)]


@pytest.mark.usefixtures("triaged")
def test_a_key_is_its_callers_own_and_its_routes(hub: Hub) -> None:
    """Two people may choose the same key, and one of them must not read the answer to the other."""
    key = new_key()
    otto = post(hub, "/v1/quarantine-replays", {"all": True}, key)
    admin = post(hub, "/v1/quarantine-replays", {"all": True}, key, "admin")
    elsewhere = post(hub, "/v1/quarantine-discards", {"all": True, "reason": "a test"}, key)

    assert otto.json()["replay_id"] != admin.json()["replay_id"]
    assert (admin.json()["actor"], elsewhere.status_code) == ("airflow:admin", 200)


def test_a_refused_request_has_no_effect_and_may_come_again_with_its_key(hub: Hub, triaged: Store) -> None:
    """The answer of a refusal is not kept: when its reason is gone, the same request is carried out."""
    query(triaged, "UPDATE quarantine_item SET state = 'replayed' RETURNING 1")
    key = new_key()
    refused = post(hub, "/v1/quarantine-replays", {"all": True}, key)
    query(triaged, "UPDATE quarantine_item SET state = 'open' RETURNING 1")

    assert refused.status_code == 404
    assert post(hub, "/v1/quarantine-replays", {"all": True}, key).status_code == 202


def test_two_requests_at_the_same_moment_have_one_effect(hub: Hub, triaged: Store) -> None:
    """Each is answered with the effect, or with 409, and then sends the request again for its answer."""
    key, before, ready = new_key(), query(triaged, NOTES), threading.Barrier(8)
    answers: list[requests.Response] = []

    def send() -> None:
        ready.wait()
        answers.append(post(hub, "/v1/quarantine-replays", {"all": True}, key))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = post(hub, "/v1/quarantine-replays", {"all": True}, key)

    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.content for answer in answers if answer.status_code == 202} == {last.content}
    assert query(triaged, NOTES) == [(before[0][0] + 1,)]


def test_while_the_first_is_running_the_second_is_refused(hub: Hub, triaged: Store) -> None:
    """It must not wait: the first may take as long as another system."""
    key = new_key()
    locked = RequestKey.of(key, caller="otto", route="POST /v1/quarantine-replays", request=b"")
    with triaged.transaction() as work:
        idempotency.lock_for_transaction(work, locked)
        running = post(hub, "/v1/quarantine-replays", {"all": True}, key)

    assert_problem(running, 409, "still-running")
    assert running.headers["Retry-After"] == "1"
    assert post(hub, "/v1/quarantine-replays", {"all": True}, key).status_code == 202


class AsOtto:
    """What stands between the network and the app: otto has been authenticated."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["caller"] = Caller("otto", ACTS_AS[Role.OPERATOR])
        await self.app(scope, receive, send)


def sent_in_process(dsn: str, path: str, body: Any, key: str) -> tuple[int, Any]:
    """The real app, in this process."""

    def opened() -> Iterator[Store]:
        with Store(dsn) as store:
            yield store

    app = create_app()
    app.dependency_overrides[open_store] = opened
    answer = TestClient(AsOtto(app)).post(path, json=body, headers={"Idempotency-Key": key})
    return answer.status_code, answer.json()


#: A use case of one transaction, and one of several, which keeps its answer in its last: path, body, the act on record.
USE_CASES = {
    "one transaction": ("/v1/quarantine-replays", {"all": True}, "replay.quarantine"),
    "several": ("/v1/availability-rebuilds", {"replace": True}, "model.rebuild"),
}


@pytest.mark.crash
@pytest.mark.parametrize("use_case", USE_CASES)
@pytest.mark.parametrize(("crash_at", "effects"), [("idempotency.before_commit", 0), ("idempotency.after_commit", 1)])
def test_a_process_killed_between_effect_and_answer_leaves_none_or_one(
    store: Store, hub_dsn: str, crash_at: str, effects: int, use_case: str
) -> None:
    """The client got no answer either way, and sends the same again."""
    path, body, act = USE_CASES[use_case]
    rejected(store, "a", "b")
    publish(store, stock("A", 1, 5))
    key = new_key()

    killed = children.run(lambda: sent_in_process(hub_dsn, path, body, key), crash_at=crash_at)
    after_crash = query(store, "SELECT body FROM idempotency_key")
    before_retry = query(store, "SELECT count(*) FROM audit_entry WHERE act = %s", act)
    status, answer = _when_unlocked(hub_dsn, path, body, key)

    assert killed == children.KILLED
    assert (len(after_crash), before_retry) == (effects, [(effects,)])
    assert status < 300
    assert query(store, "SELECT count(*) FROM audit_entry WHERE act = %s", act) == [(1,)]
    assert query(store, "SELECT body FROM idempotency_key") == [(json.dumps(answer, separators=(",", ":")).encode(),)]


def _when_unlocked(dsn: str, path: str, body: Any, key: str) -> tuple[int, Any]:
    """As a client does: again while the server has not noticed the death of the first one's process."""
    found: list[tuple[int, Any]] = []

    def ask() -> bool:
        found[:] = [sent_in_process(dsn, path, body, key)]
        return found[0][0] != 409

    eventually(ask)
    return found[0]


def test_no_answer_is_kept_for_ever(store: Store) -> None:
    """A day is as long as any client sends a request again."""
    query(
        store,
        "INSERT INTO idempotency_key (key_hash, fingerprint, status, headers, body, stored_at) VALUES"
        " ('old', '', 200, '{}', '', now() - interval '25 hours'), ('new', '', 200, '{}', '', now()) RETURNING 1",
    )
    for _ in purge_expired(store, None, RetentionPeriods(), subscribers=[], now=datetime.now(UTC)):
        pass

    assert query(store, "SELECT key_hash FROM idempotency_key") == [(b"new",)]
