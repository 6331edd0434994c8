"""What real servers answer is handled as they mean it: each server here does what some server in the world does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from crossdock.core.errors import CircuitOpen, SystemRefused, SystemUnavailable, Throttled
from crossdock.db.database import Store
from crossdock.http import call_metrics
from crossdock.http.breaker import Phase
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.graphql import error_of
from crossdock.http.model import CallPolicy
from crossdock.http.response import HttpResponse
from crossdock.http.shared_safeguards import SharedSafeguards
from tests.http.raw_server import QUICK, RawServer, answer, body_of

WELL = answer(b"[1]")
ONCE = msgspec.structs.replace(QUICK, attempts=1)


def guarded(server: RawServer, calls: SharedSafeguards) -> HttpClient:
    """A client as a task has it: with the breaker and the counts that all workers share."""
    policy = CallPolicy(limits=ONCE)
    return server.client(limits=ONCE, config=ClientConfig(safeguards=calls.safeguards(policy)))


class TestServerErrors:
    @pytest.mark.parametrize(
        "status", [500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 524, 529, 530, 599, 600, 999]
    )
    def test_any_5xx_is_the_servers_own_failure(self, status: int) -> None:
        """Cloudflare's 520 to 530 are in no list; a number that nobody defined counts as the first of its class."""
        with RawServer(answer(b"<html>edge</html>", f"{status} X", {"Content-Type": "text/html"}), WELL) as server:
            assert body_of(server.client()) == b"[1]"
            assert len(server.requests) == 2

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
        throttled = answer(b'{"message": "API rate limit"}', "403 Forbidden", headers())
        with RawServer(throttled) as server, pytest.raises(Throttled, match="HTTP 403: API rate limit") as caught:
            body_of(server.client(limits=ONCE))

        wait_s = caught.value.retry_in_s
        assert wait_s is not None
        assert longest_s - 2 <= wait_s <= longest_s

    def test_it_is_called_again_after_its_wait(self) -> None:
        throttled = answer(b"{}", "403 Forbidden", {"Retry-After": "0", "X-RateLimit-Remaining": "0"})
        with RawServer(throttled, throttled, WELL) as server:
            assert body_of(server.client()) == b"[1]"

    def test_an_exhausted_limit_without_a_time_waits_as_long_as_we_choose(self) -> None:
        with RawServer(answer(b"{}", "403 Forbidden", {"X-RateLimit-Remaining": "0"}), WELL) as server:
            assert body_of(server.client()) == b"[1]"

    def test_a_429_waits_until_its_limit_is_reset_where_it_has_no_retry_after(self) -> None:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(_in(600).timestamp()))}
        with RawServer(answer(b"{}", "429 Slow", headers)) as server, pytest.raises(Throttled) as caught:
            body_of(server.client())

        assert 590 < (caught.value.retry_in_s or 0) <= 600

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


def _of_graphql(document: dict[str, object]) -> Exception:
    with RawServer(WELL) as server:
        response: HttpResponse = server.client().get("/graphql", {}, lambda got: got)
    return error_of(response, document)


def _error(client: HttpClient) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  any will do
        body_of(client)
    return caught.value
