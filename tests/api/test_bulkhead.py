"""The hub's trouble is not Airflow's: its routes have threads of their own, and refuse while the hub's database does not answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Annotated, Any

import psycopg
import pytest
import requests
import uvicorn
from fastapi import Depends, FastAPI

from crossdock.api import access, dependencies, health, problems, routing, webhooks
from crossdock.api.access import ACTS_AS
from crossdock.api.airflow_lookups import AirflowLookups, AirflowUnavailable, Remembered
from crossdock.api.bulkhead import ROUTES, WEBHOOKS, DatabaseGate
from crossdock.api.middleware import RequestMiddleware
from crossdock.api.routing import Router, guarded
from crossdock.app.on_webhook_received import webhook_of
from crossdock.core.roles import Caller, Role
from crossdock.events.webhooks_in.service import Receiver, receiver_from
from tests.api.conftest import Hub
from tests.db.relay import Relay
from tests.events.worlds import eventually
from tests.shop import free_port

KEY = b"a key that nobody else has"
#: FastAPI's pool of threads, which Airflow's routes share.
SHARED_THREADS = 40


class Server:
    """The hub's routes in a server with a route that is not the hub's, over a database that can be made to hang."""

    def __init__(self, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
        self.relay, self.port = relay, free_port()
        self.together = threading.Barrier(SHARED_THREADS)
        monkeypatch.setattr(
            dependencies, "_dsns", Remembered("it is a test", lambda _: relay.dsn, fresh_s=1e9, stale_s=1e9)
        )
        monkeypatch.setattr(access, "_caller_of", _otto)
        hub = self.hub = FastAPI(openapi_url=None)
        v1 = Router(prefix="/v1")
        for resource in (health, webhooks):
            v1.include_router(resource.router)
        hub.include_router(v1)
        hub.add_middleware(RequestMiddleware)
        problems.install(hub)
        hub.dependency_overrides[webhooks.receivers] = _receivers
        airflow = FastAPI(openapi_url=None)
        airflow.add_api_route("/not-the-hubs", lambda: self.together.wait(200) >= 0)
        airflow.mount("/hub", hub)
        config = uvicorn.Config(airflow, host="127.0.0.1", port=self.port, log_level="warning", backlog=2048)
        self.server = uvicorn.Server(config)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=300)

    def webhook(self, sku: str = "CHAIR", *, key: bytes = KEY) -> requests.Response:
        body, sent, at = json.dumps({"data": {"sku": sku}}).encode(), f"msg_{uuid.uuid4().hex}", str(int(time.time()))
        mac = hmac.new(key, f"{sent}.{at}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "webhook-id": sent,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        url = f"http://127.0.0.1:{self.port}/hub/v1/webhooks/shop"
        return requests.post(url, data=body, headers=headers, timeout=300)


async def _otto(_: object) -> Caller:
    return Caller("otto", ACTS_AS[Role.OPERATOR])


async def _receivers() -> webhooks.Receivers:
    return webhooks.Receivers(_receiver)


def _receiver(integration: str) -> Receiver:
    rules = {"scheme": "standard", "dataset": "inventory", "key_path": "data.sku"}
    key = "whsec_" + base64.b64encode(KEY).decode()
    return receiver_from(integration, key, rules, {"inventory"}, webhook_of(integration))


@pytest.fixture
def server(hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Relay(hub_dsn) as relay:
        opened = Server(relay, monkeypatch)
        thread = threading.Thread(target=opened.server.run, daemon=True)
        thread.start()
        eventually(lambda: opened.server.started)
        yield opened
        relay.thaw()
        opened.server.should_exit = opened.server.force_exit = True
        thread.join(60)


@contextmanager
def many(number: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(number) as threads:
        yield threads


def is_refused(answer: requests.Response) -> bool:
    return (
        answer.status_code == 503
        and int(answer.headers["Retry-After"]) > 0
        and answer.headers["Content-Type"] == "application/problem+json"
    )


def test_a_hanging_database_takes_no_thread_from_airflows_routes(server: Server) -> None:
    """All 40 threads of the api-server waited for it, and the heartbeats of Airflow's tasks behind them."""
    server.relay.freeze()
    with many(200 + SHARED_THREADS) as threads:
        hub: list[Future[requests.Response]] = [threads.submit(server.webhook) for _ in range(100)]
        hub += [threads.submit(server.get, "/hub/v1/health") for _ in range(100)]
        # Each waits for the 39 others: they end only if all shared threads are theirs.
        others = [threads.submit(server.get, "/not-the-hubs") for _ in range(SHARED_THREADS)]

        assert {other.result().status_code for other in others} == {200}
        assert all(is_refused(one.result()) for one in hub)


def test_when_the_database_answers_again_webhooks_are_taken_again(server: Server) -> None:
    """Nobody has to restart anything; what was acknowledged is stored, and what was refused is the sender's to repeat."""
    server.relay.freeze()
    assert is_refused(server.webhook())
    assert is_refused(server.webhook())

    server.relay.thaw()

    eventually(lambda: server.webhook("TABLE").status_code == 202)
    assert server.get("/hub/v1/health").status_code == 200


def test_a_known_hang_is_refused_without_asking_again(server: Server) -> None:
    """Each request would wait as long as the first."""
    server.relay.freeze()
    server.webhook()

    answer = server.webhook()

    assert is_refused(answer)
    assert "does not answer" in answer.json()["detail"]


def test_a_lock_that_lasts_refuses_webhooks_and_no_other_route(server: Server, hub_dsn: str) -> None:
    """The database answers, and so the gate is open; what the lock does not concern goes on."""
    with psycopg.connect(hub_dsn) as person:
        person.execute("LOCK TABLE hub.event IN SHARE MODE")

        assert is_refused(server.webhook())
        assert server.get("/hub/v1/health").status_code == 200

    assert server.webhook().status_code == 202


def test_a_database_without_a_free_connection_refuses_and_recovers(server: Server, hub_dsn: str) -> None:
    """As if all were taken: a role that may have no connection more."""
    with psycopg.connect(hub_dsn, dbname="postgres", autocommit=True) as person:
        name = psycopg.conninfo.conninfo_to_dict(hub_dsn)["dbname"]
        person.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")  # type: ignore[call-overload]  of a test
        assert is_refused(server.webhook())
        assert is_refused(server.get("/hub/v1/health"))
        person.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # type: ignore[call-overload]  of a test

    eventually(lambda: server.webhook().status_code == 202)


def test_a_slow_database_gets_no_more_than_its_threads(
    server: Server, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each insert takes two seconds: what is too much is refused early, and what is taken is stored."""
    # A busy machine may be slow with the answer that the database is there.
    monkeypatch.setattr(routing, "WEBHOOKS", replace(WEBHOOKS, probe_s=60, longest_s=60))
    with psycopg.connect(hub_dsn, autocommit=True) as person:
        person.execute(
            "CREATE FUNCTION hub.slow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$"
        )
        person.execute("CREATE TRIGGER slow BEFORE INSERT ON hub.event FOR EACH STATEMENT EXECUTE FUNCTION hub.slow()")
        with many(40) as threads:
            answers = list(threads.map(lambda number: server.webhook(f"SKU-{number}"), range(40)))
        taken = [answer for answer in answers if answer.status_code == 202]

        assert len(taken) == WEBHOOKS.threads
        assert all(is_refused(answer) for answer in answers if answer.status_code != 202)
        stored = person.execute("SELECT count(*) FROM hub.event").fetchone()
        assert stored == (len(taken),)


def test_half_sent_webhooks_take_no_thread(server: Server) -> None:
    """Whoever knows the address could else hold the threads that signed webhooks need, at no cost."""
    head = b"POST /hub/v1/webhooks/shop HTTP/1.1\r\nHost: hub\r\nContent-Length: 90\r\n\r\n{"
    with ExitStack() as opened:
        for _ in range(10 * WEBHOOKS.threads):
            sender = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            sender.sendall(head)

        assert [server.webhook().status_code for _ in range(5)] == [202] * 5


def test_webhooks_leave_the_other_routes_their_threads(server: Server, hub_dsn: str) -> None:
    """A sender that floods must not keep a person from looking."""
    with psycopg.connect(hub_dsn) as person:
        person.execute("LOCK TABLE hub.event IN SHARE MODE")
        with many(60) as threads:
            flood = [threads.submit(server.webhook) for _ in range(60)]
            assert server.get("/hub/v1/health").status_code == 200
            assert all(is_refused(one.result()) for one in flood)


def test_forged_webhooks_leave_threads_to_real_ones_while_airflow_is_slow(server: Server) -> None:
    """Each waits for the keys that its connection has now; with all threads theirs, real deliveries were refused."""
    asked, answered = threading.Event(), threading.Event()

    def slow(integration: str) -> Receiver:
        if asked.is_set():
            answered.wait(60)
        asked.set()
        return _receiver(integration)

    known = webhooks.Receivers(slow)
    server.hub.dependency_overrides[webhooks.receivers] = lambda: known
    assert server.webhook().status_code == 202
    over = threading.Event()

    def forge() -> None:
        while not over.is_set():
            server.webhook(key=b"a key of the forger")
            time.sleep(0.05)

    with many(2 * WEBHOOKS.threads) as threads:
        for _ in range(2 * WEBHOOKS.threads):
            threads.submit(forge)
        try:
            time.sleep(0.5)
            statuses = {server.webhook().status_code for _ in range(10)}
        finally:
            over.set()
            answered.set()

    assert statuses == {202}


def blocking() -> None:
    """A dependency that FastAPI runs in a thread."""


def test_a_dependency_that_would_wait_in_airflows_threads_is_refused_at_the_start() -> None:
    """A new `def` would undo all of it, and nobody would notice before the next outage."""
    router = Router()

    @router.get("/x", dependencies=[Depends(access.Guard(Role.VIEWER))])
    def route(value: Annotated[Any, Depends(blocking)]) -> None: ...

    app = FastAPI(openapi_url=None)
    app.include_router(router)

    with pytest.raises(TypeError, match=r"blocking of the route /x"):
        guarded(app)


def test_a_question_that_fails_otherwise_is_asked_again() -> None:
    """While requests are refused nobody else asks: they would be refused for ever."""

    async def ask() -> tuple[bool, bool]:
        # No such name can exist, which is none of the errors of a database.
        gate = DatabaseGate(f"host={'x' * 70} dbname=hub")
        answered = await gate.answers(20)
        assert gate._asking is not None
        is_asked_again = not gate._asking.done()
        gate._asking.cancel()
        return answered, is_asked_again

    assert asyncio.run(ask()) == (False, True)


def test_the_limits_keep_what_is_promised() -> None:
    """Webhooks are refused within half a second, all else within two where the database does not answer."""
    for limits, promised_s in ((WEBHOOKS, 0.5), (ROUTES, 2.0)):
        assert limits.admit_s <= promised_s
        assert limits.doubt_s + limits.probe_s < promised_s


def test_airflows_database_away_is_no_mistake_of_the_hub_and_no_wrong_token(hub: Hub) -> None:
    """It was "invalid token" (401), which sends people to their password, or "internal error in the hub" (500)."""
    hub.token("vera")
    # A lock would not do: in the journal mode that Airflow chooses for SQLite, readers do not wait for one.
    with closing(sqlite3.connect(hub.metadata, isolation_level=None)) as metadata:
        metadata.execute("ALTER TABLE revoked_token RENAME TO away")
        try:
            refused = hub.call("GET", "/v1/health", "vera")
        finally:
            metadata.execute("ALTER TABLE away RENAME TO revoked_token")

    assert is_refused(refused)
    assert refused.json()["type"] == "urn:crossdock:problem:airflow-unavailable"
    eventually(lambda: hub.call("GET", "/v1/health", "vera").status_code == 200)


async def _ask(remembered: Remembered[str]) -> str:
    return await remembered.of("shop")


class TestWhatAirflowSaidLast:
    """Airflow's database may be away; what it said lately is still good for a while."""

    def test_it_holds_while_airflow_cannot_be_asked(self) -> None:
        answers: list[Any] = ["known", AirflowUnavailable("a test needs it")]
        remembered = Remembered("x", lambda _: _next(answers), fresh_s=0, stale_s=60)

        assert asyncio.run(_ask(remembered)) == "known"
        assert asyncio.run(_ask(remembered)) == "known"

    def test_it_does_not_hold_for_ever(self) -> None:
        answers: list[Any] = ["known", AirflowUnavailable("a test needs it")]
        remembered = Remembered("x", lambda _: _next(answers), fresh_s=0, stale_s=0)

        assert asyncio.run(_ask(remembered)) == "known"
        with pytest.raises(AirflowUnavailable):
            asyncio.run(_ask(remembered))

    def test_two_that_wait_for_the_same_are_both_refused_when_the_first_loses_its_patience(self) -> None:
        """All threads hang: the question had not begun, so it is cancelled under the one that waits longer."""

        async def both() -> list[object]:
            asked = threads.start("x", str)
            waits = [threads.wait("x", asked, patience_s) for patience_s in (0.05, 60)]
            return list(await asyncio.gather(*waits, return_exceptions=True))

        threads, over = AirflowLookups(), threading.Event()
        for _ in range(4):
            threads.start("x", over.wait)
        try:
            refused = asyncio.run(both())
        finally:
            over.set()

        assert [type(each) for each in refused] == [AirflowUnavailable, AirflowUnavailable]


def _next(answers: list[Any]) -> str:
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return str(answer)
