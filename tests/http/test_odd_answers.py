"""What real servers answer is handled as they mean it: each server here does what some server in the world does."""

from __future__ import annotations

import re
import socket
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from crossdock.core.errors import (
    CircuitOpen,
    OutcomeUnknown,
    RateLimited,
    SourceInvalid,
    SystemRefused,
    SystemUnavailable,
    Throttled,
)
from crossdock.db.database import Store
from crossdock.http import call_metrics
from crossdock.http.breaker import Phase
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.graphql import error_of
from crossdock.http.model import CallPolicy, KeyRules, Limits, Rate
from crossdock.http.response import HttpResponse
from crossdock.http.shared_safeguards import SharedSafeguards
from tests.http.raw_server import QUICK, RawServer, answer, body_of
from tests.tls import Tls

WELL = answer(b"[1]")
#: The same, and the connection stays.
KEPT = answer(b"[1]", headers={"Connection": "keep-alive"})
ONCE = msgspec.structs.replace(QUICK, attempts=1)


def guarded(server: RawServer, calls: SharedSafeguards, **options: Any) -> HttpClient:
    """A client as a task has it: with the breaker and the counts that all workers share."""
    policy = CallPolicy(limits=ONCE)
    return server.client(limits=ONCE, config=ClientConfig(safeguards=calls.safeguards(policy)), **options)


class TestServerErrors:
    @pytest.mark.parametrize(
        "status", [500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 524, 529, 530, 599, 600, 999]
    )
    def test_any_5xx_is_the_servers_own_failure(self, status: int) -> None:
        """Cloudflare's 520 to 530 are in no list; a number that nobody defined counts as the first of its class."""
        with RawServer(answer(b"<html>edge</html>", f"{status} X", {"Content-Type": "text/html"}), WELL) as server:
            assert body_of(server.client()) == b"[1]"
            assert len(server.requests) == 2

    def test_an_answer_that_no_client_reads_is_named(self) -> None:
        """The word `ProtocolError` tells nobody that a proxy in front sends a header of 70,000 bytes."""
        long = answer(b"[1]", headers={"X-Policy": "a" * 70_000})
        with (
            RawServer(long) as server,
            pytest.raises(SystemUnavailable, match="a line in the head of the answer is too long"),
        ):
            body_of(server.client(limits=ONCE))

    def test_a_reason_that_ends_with_a_period_has_one(self) -> None:
        refusal = answer(b'{"message": "Invalid API Key provided."}', "401 X")
        with RawServer(refusal) as server, pytest.raises(SystemRefused, match=r"provided\. Check the id"):
            body_of(server.client(limits=ONCE))

    def test_each_of_them_counts_for_the_breaker(self, store: Store) -> None:
        with RawServer(answer(b"", "520 X")) as server, SharedSafeguards(store, "acme") as calls:
            client = guarded(server, calls)
            for _ in range(20):
                with pytest.raises(SystemUnavailable):
                    body_of(client)

        assert len(server.requests) == 8

    def test_the_error_names_status_host_and_what_the_server_said(self) -> None:
        down = answer(b'{"message": "back at noon"}', "520 X")
        with RawServer(down) as server, pytest.raises(SystemUnavailable) as caught:
            body_of(server.client(limits=ONCE))

        assert str(caught.value) == f"acme is unavailable: GET /thing at {server.host} answered HTTP 520: back at noon"
        assert caught.value.status == 520


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


#: Headers of a throttling 403, and the longest wait that they may mean.
THROTTLING = [
    pytest.param(lambda: {"Retry-After": "1"}, 1, id="GitHub's secondary limit"),
    pytest.param(lambda: {"Retry-After": "1", "X-RateLimit-Remaining": "0"}, 1, id="both"),
    pytest.param(lambda: {"Retry-After": format_datetime(_in(30), usegmt=True)}, 30, id="a date"),
    pytest.param(
        lambda: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(_in(30).timestamp()))},
        30,
        id="GitHub's limit",
    ),
    pytest.param(lambda: {"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30, id="the IETF draft's headers"),
    pytest.param(lambda: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9e18"}, 900, id="an absurd reset"),
    pytest.param(lambda: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, 1, id="seconds, not an epoch"),
]


class TestThrottling:
    @pytest.mark.parametrize(("headers", "longest_s"), THROTTLING)
    def test_a_403_that_says_when_to_come_back_is_a_wait(
        self, headers: Callable[[], dict[str, str]], longest_s: float
    ) -> None:
        began_at = time.monotonic()
        throttled = answer(b'{"message": "API rate limit"}', "403 Forbidden", headers())
        with RawServer(throttled) as server, pytest.raises(Throttled, match="HTTP 403: API rate limit") as caught:
            body_of(server.client(limits=ONCE))

        wait_s = caught.value.retry_in_s
        assert wait_s is not None
        # The headers name whole seconds, and some time has passed since they were made.
        assert longest_s - 1 - (time.monotonic() - began_at) <= wait_s <= longest_s

    def test_it_is_called_again_after_its_wait(self) -> None:
        throttled = answer(b"{}", "403 Forbidden", {"Retry-After": "0", "X-RateLimit-Remaining": "0"})
        with RawServer(throttled, throttled, WELL) as server:
            assert body_of(server.client()) == b"[1]"

    def test_an_exhausted_limit_without_a_time_waits_as_long_as_we_choose(self) -> None:
        with RawServer(answer(b"{}", "403 Forbidden", {"X-RateLimit-Remaining": "0"}), WELL) as server:
            assert body_of(server.client()) == b"[1]"

    def test_a_429_waits_until_its_limit_is_reset_where_it_has_no_retry_after(self) -> None:
        began_at = time.monotonic()
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(_in(600).timestamp()))}
        with RawServer(answer(b"{}", "429 Slow", headers)) as server, pytest.raises(Throttled) as caught:
            body_of(server.client())

        assert 599 - (time.monotonic() - began_at) <= (caught.value.retry_in_s or 0) <= 600

    @pytest.mark.parametrize("headers", [{}, {"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1"}])
    def test_any_other_403_is_a_refusal(self, headers: dict[str, str]) -> None:
        """A token without the scope would else wait for ever."""
        with RawServer(answer(b"{}", "403 Forbidden", headers)) as server, pytest.raises(SystemRefused, match="scope"):
            body_of(server.client())

    @pytest.mark.parametrize(
        "error",
        [
            {"message": "Throttled", "extensions": {"code": "THROTTLED"}},
            {"message": "Too many", "extensions": {"code": "429"}},
            {"message": "API rate limit exceeded", "type": "RATE_LIMITED"},
        ],
    )
    def test_throttling_of_graphql_comes_with_200(self, error: dict[str, object]) -> None:
        """Shopify's, another's and GitHub's."""
        document = {"data": None, "errors": [{"message": "beside it"}, error]}
        assert isinstance(_of_graphql(document), Throttled)

    def test_shopify_says_when_it_has_enough_points_again(self) -> None:
        bucket = {"maximumAvailable": 1000, "currentlyAvailable": 100, "restoreRate": 50}
        document = {
            "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
            "extensions": {"cost": {"requestedQueryCost": 600, "throttleStatus": bucket}},
        }
        error = _of_graphql(document)
        assert isinstance(error, Throttled)
        assert error.retry_in_s == 10

    def test_twenty_429s_leave_the_breaker_closed(self, store: Store) -> None:
        """A system that throttles is well; to stop calling it as if it were down would make one fault of another."""
        with RawServer(answer(b"{}", "429 Slow")) as server, SharedSafeguards(store, "acme") as calls:
            client = guarded(server, calls)
            for _ in range(20):
                with pytest.raises(Throttled):
                    body_of(client)
            assert not isinstance(_error(client), CircuitOpen)

        assert len(server.requests) == 21
        with store.transaction() as work:
            health = call_metrics.health(work, "acme")
        assert (health.phase, health.usage.throttled, health.usage.failures) == (Phase.CLOSED, 21, 0)


class TestSlowRates:
    """The rates here are a hundred times as fast as those they stand for, and so are the waits."""

    SLOW = CallPolicy(limits=msgspec.structs.replace(ONCE, longest_wait_s=0.05), rate=Rate(calls=5, per_s=1.0))

    def client(self, server: RawServer, calls: SharedSafeguards, policy: CallPolicy = SLOW) -> HttpClient:
        config = ClientConfig(safeguards=calls.safeguards(policy), in_flight=2)
        return server.client(limits=policy.limits, config=config)

    @pytest.mark.parametrize("rate", [Rate(calls=5, per_s=1.0), Rate(calls=6, per_s=1.0, burst=2)], ids=str)
    def test_a_rate_slower_than_the_longest_wait_slows_a_read_and_does_not_fail_it(
        self, rate: Rate, store: Store
    ) -> None:
        """Less than a page in 8 s let no read of several pages end."""
        policy = msgspec.structs.replace(self.SLOW, rate=rate)
        with RawServer(WELL) as server, SharedSafeguards(store, "acme") as calls:
            client, began = self.client(server, calls, policy), time.monotonic()
            assert [body_of(client) for _ in range(5)] == [b"[1]"] * 5

        assert time.monotonic() - began > (5 - rate.burst) * rate.spacing_s - rate.slack_s

    def test_pages_in_flight_wait_their_turns_too(self, store: Store) -> None:
        """More than there are slots for calls: nobody's wait for a slot ends before the turns of those before."""
        policy = msgspec.structs.replace(self.SLOW, limits=Limits(timeout_s=1.0, attempts=1, longest_wait_s=0.05))
        with RawServer(WELL) as server, SharedSafeguards(store, "acme") as calls, ThreadPoolExecutor(8) as pool:
            client = self.client(server, calls, policy)
            assert list(pool.map(lambda _: body_of(client), range(8))) == [b"[1]"] * 8

    def test_what_a_person_waits_for_does_not_queue(self, store: Store) -> None:
        with RawServer(WELL) as server, SharedSafeguards(store, "acme", queues=False) as calls:
            client = self.client(server, calls)
            body_of(client)
            with pytest.raises(RateLimited, match=r"rate limit of 5 calls per 1 s reached$") as caught:
                body_of(client)
        assert 0 < (caught.value.retry_in_s or 0) <= self.SLOW.rate.spacing_s

    def test_a_pause_that_the_server_asked_for_is_left_to_the_scheduler(self, store: Store) -> None:
        """A worker's slot is not for sleeping through a quarter of an hour."""
        throttled = answer(b"{}", "429 Slow", {"Retry-After": "600"})
        with RawServer(throttled) as server, SharedSafeguards(store, "acme") as calls:
            client = self.client(server, calls)
            for kind in (Throttled, RateLimited):
                with pytest.raises(kind) as caught:
                    body_of(client)
                assert 500 < (caught.value.retry_in_s or 0) <= 602


class TestInformational:
    @pytest.mark.parametrize(
        "before",
        [
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
            b"HTTP/1.1 102 Processing\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 199 Soon\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2
            + b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\n\r\n",
        ],
    )
    def test_a_response_before_the_final_one_is_read_past(self, before: bytes) -> None:
        """A CDN says early what a browser may load. The next response on the connection is not mistaken for this one."""
        with RawServer(before + KEPT, answer(b"[2]")) as server:
            client = server.client()
            assert [body_of(client), body_of(client)] == [b"[1]", b"[2]"]

    def test_it_is_no_answer_in_itself(self) -> None:
        with RawServer(b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n") as server:
            with pytest.raises(SystemUnavailable, match="no answer from"):
                body_of(server.client())
            assert len(server.requests) == QUICK.attempts

    def test_a_switch_of_protocols_that_nobody_asked_for_is_refused(self) -> None:
        switch = b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n"
        with RawServer(switch) as server, pytest.raises(SystemRefused, match="101"):
            body_of(server.client())


class OneRequestEach:
    """Answers the first request of each connection; what becomes of the connection then is *ends*."""

    def __init__(self, ends: Callable[[socket.socket], None]) -> None:
        self._ends = ends
        self.connections = 0

    def __call__(self, connection: socket.socket) -> None:
        self.connections += 1
        connection.sendall(KEPT)
        self._ends(connection)


def _closes_soon(_: socket.socket) -> None:
    time.sleep(0.02)


def _takes_the_next(connection: socket.socket) -> None:
    connection.recv(65536)


def _resets_at_the_next(connection: socket.socket) -> None:
    connection.recv(1)
    # Closing with unread bytes sends a reset.


class TestStaleConnections:
    @pytest.mark.parametrize("ends", [socket.socket.close, _closes_soon, _takes_the_next, _resets_at_the_next])
    @pytest.mark.parametrize("encrypted", [False, True])
    def test_a_connection_that_the_peer_has_closed_is_replaced_at_once_and_not_counted(
        self, ends: Callable[[socket.socket], None], encrypted: bool, store: Store, tls: Tls
    ) -> None:
        """Load balancers close idle connections; a healthy server's breaker opened after ten pages."""
        act = OneRequestEach(ends)
        with RawServer(act, tls=tls.context if encrypted else None) as server, SharedSafeguards(store, "acme") as calls:
            client = guarded(server, calls, ca_file=tls.ca_file if encrypted else None)
            assert [body_of(client) for _ in range(30)] == [b"[1]"] * 30

        assert act.connections == 30
        with store.transaction() as work:
            usage = call_metrics.health(work, "acme").usage
        assert (usage.calls, usage.successes, usage.failures, usage.retries) == (30, 30, 0, 0)

    def test_a_server_that_closes_new_connections_too_is_down(self) -> None:
        """One new connection an attempt: a connection that never answered was not stale."""
        with RawServer(KEPT, socket.socket.close) as server:
            client = server.client(limits=ONCE)
            body_of(client)
            with pytest.raises(SystemUnavailable, match="no answer from"):
                body_of(client)
            assert len(server.requests) == 3

    def test_a_query_by_post_is_sent_again_too(self) -> None:
        with RawServer(OneRequestEach(_takes_the_next)) as server:
            client = server.client(limits=ONCE)
            assert [client.post_json("/graphql", {}, lambda got: got.body) for _ in range(3)] == [b"[1]"] * 3

    def test_a_write_without_a_key_is_not_sent_again(self) -> None:
        """The peer may have read it before it closed: nobody knows."""
        with RawServer(OneRequestEach(_takes_the_next)) as server:
            client = server.client(limits=ONCE)
            body_of(client)
            with pytest.raises(OutcomeUnknown):
                client.send("POST", "/charges", {}, lambda got: got.body)

    def test_a_write_is_sent_again_where_the_server_knows_its_key(self) -> None:
        with RawServer(OneRequestEach(_takes_the_next)) as server:
            client = server.client(limits=ONCE)
            body_of(client)
            key_rules = KeyRules(window_s=86_400)
            sent = client.send("POST", "/charges", {}, lambda got: got.body, idempotency_key="a", key_rules=key_rules)
        assert sent == b"[1]"


MANY = b" " * 65_536


def _chunked(head: str, last: bytes = b"") -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}\r\n".encode())
        for _ in range(4_000):
            connection.sendall(b"%x\r\n%b\r\n" % (len(MANY), MANY))
        connection.sendall(last or b"0\r\n\r\n")

    return act


def _endless(head: str, part: bytes) -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}\r\n".encode())
        for _ in range(4_000):
            connection.sendall(part)

    return act


#: 250 MiB each, in every framing of HTTP/1.
FRAMINGS = [
    pytest.param(_chunked("Transfer-Encoding: chunked\r\n"), id="chunked"),
    pytest.param(_chunked("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"), id="chunked, and a length"),
    pytest.param(_chunked("Content-Length: 0\r\nTransfer-Encoding: Chunked\r\n"), id="a length of none, and Chunked"),
    pytest.param(_chunked("Transfer-Encoding: gzip, chunked\r\nContent-Length: 2\r\n"), id="two codings, and a length"),
    pytest.param(_endless("Connection: close\r\n", MANY), id="until the end of the connection"),
    pytest.param(_endless("Content-Length: 262144000\r\n", MANY), id="a length"),
    pytest.param(
        _endless("Content-Length: 2, 2\r\nTransfer-Encoding: chunked\r\n\r\nf0000000\r\n", MANY), id="one chunk"
    ),
    pytest.param(_endless("Content-Length: 9999999999999999999999\r\n", MANY), id="an absurd length"),
]


class TestFraming:
    @pytest.mark.parametrize("act", FRAMINGS)
    def test_the_cap_on_bytes_holds_in_every_framing(self, act: Callable[[socket.socket], None]) -> None:
        limits = msgspec.structs.replace(ONCE, answer_bytes=1_000_000)
        with RawServer(act) as server:
            client = server.client(limits=limits)
            tracemalloc.start()
            try:
                with pytest.raises(SourceInvalid, match="larger than 1,000,000 bytes"):
                    body_of(client)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        assert peak < 5_000_000

    @pytest.mark.parametrize("part", [b"5;" + MANY, b"0\r\n" + MANY], ids=["of a chunk", "of a trailer"])
    def test_a_line_without_an_end_takes_no_memory(self, part: bytes) -> None:
        """Lines of the framing are not the body, and have no cap of their own in a simple reader."""
        with RawServer(_endless("Transfer-Encoding: chunked\r\n", part)) as server:
            client = server.client(limits=ONCE)
            tracemalloc.start()
            try:
                with pytest.raises(SystemUnavailable, match="no answer from"):
                    body_of(client)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        assert peak < 5_000_000

    @pytest.mark.parametrize("length", [0, 2, 3, 50])
    def test_transfer_encoding_wins_over_content_length(self, length: int) -> None:
        """RFC 9112 6.3; the connection is used again where the chunks end, not where the length says."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
        mixed = f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n1\r\n \r\n0\r\n\r\n".encode()
        with RawServer(mixed, answer(b"[2]")) as server:
            client = server.client(limits=ONCE)
            assert [body_of(client), body_of(client)] == [b"[1] ", b"[2]"]

    @pytest.mark.parametrize("lengths", ["Content-Length: 3\r\nContent-Length: 3", "Content-Length: 3, 3"])
    def test_the_same_length_twice_is_one(self, lengths: str) -> None:
        """A proxy and the server behind it say it both (RFC 9110 8.6)."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{lengths}\r\nConnection: close\r\n\r\n"
        with RawServer(head.encode() + b"[1]") as server:
            assert body_of(server.client()) == b"[1]"


class TestOutages:
    """The cause of an outage is in every error that it leads to, also where the call was not made."""

    def test_an_open_breaker_tells_status_host_answer_since_when_and_how_many(self, store: Store) -> None:
        """It said `too many calls failed; next attempt in 4.9 s`, which stood in the ledger the next morning."""
        down = answer(b'{"message": "back at noon"}', "520 X")
        with RawServer(down) as server, SharedSafeguards(store, "acme") as calls:
            client, began = guarded(server, calls), datetime.now(UTC).replace(microsecond=0)
            for _ in range(8):
                with pytest.raises(SystemUnavailable, match="back at noon"):
                    body_of(client)
            error = _error(client)
            with SharedSafeguards(store, "acme") as of_another_worker:
                told = _error(guarded(server, of_another_worker))

        said = re.fullmatch(
            r"acme is unavailable: 8 calls have failed since (\S+); the last: "
            rf"GET /thing at {server.host} answered HTTP 520: back at noon\. Its circuit breaker is open",
            str(error),
        )
        assert said
        assert began <= datetime.fromisoformat(said[1]) <= datetime.now(UTC)
        assert str(told) == str(error), "each worker says the same, whenever it asks"
        assert isinstance(error, CircuitOpen)
        assert 0 < (error.retry_in_s or 0) <= 5

    def test_a_host_that_does_not_answer_is_named(self, store: Store) -> None:
        with RawServer(socket.socket.close) as server, SharedSafeguards(store, "acme") as calls:
            client = guarded(server, calls)
            for _ in range(8):
                _error(client)
            assert f"the last: no answer from {server.host} to GET /thing" in str(_error(client))

        with store.transaction() as work:
            outage = call_metrics.health(work, "acme").outage
        assert outage is not None
        assert (outage.calls, server.host in outage.reason) == (8, True)


def _of_graphql(document: dict[str, object]) -> Exception:
    with RawServer(WELL) as server:
        response: HttpResponse = server.client().get("/graphql", {}, lambda got: got)
    return error_of(response, document)


def _error(client: HttpClient) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  any will do
        body_of(client)
    return caught.value
