"""Requests that write: how many effects each fault leaves at the server, and what the caller gets."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from requests.auth import HTTPBasicAuth

from crossdock.core.errors import (
    AddressRefused,
    BadRequest,
    Busy,
    CircuitOpen,
    HubError,
    OutcomeUnknown,
    RateLimited,
    SourceInvalid,
    SystemRefused,
    SystemUnavailable,
    Terminal,
    Throttled,
    Transient,
)
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.model import Call, KeyRules, Limits, Outcome, Safeguards
from crossdock.http.response import HttpResponse
from crossdock.http.retries import RetryBudget
from tests.http.charging_server import A_DAY, BODY, ChargingServer
from tests.http.raw_server import ONE_SECOND, QUICK, Dripped, RawServer, answer
from tests.shop import free_port
from tests.tls import Tls

#: Every attempt may be cut, and on a busy machine one more than the fault cuts.
CUT = Limits(timeout_s=1.0, connect_timeout_s=1.0, attempts=8, longest_wait_s=0.05)

#: Faults after which nobody knows whether the request had its effect: how many effects there were, and the limits.
UNKNOWN = [
    pytest.param({"timeout": "before"}, 0, CUT, id="time-out before the effect"),
    pytest.param({"timeout": "after"}, 1, CUT, id="time-out after the effect"),
    pytest.param({"reset": "before"}, 0, QUICK, id="reset before the effect"),
    pytest.param({"reset": "after"}, 1, QUICK, id="reset after the effect"),
    pytest.param({"bad_gateway": "before"}, 0, QUICK, id="HTML 502 before the effect"),
    pytest.param({"bad_gateway": "after"}, 1, QUICK, id="HTML 502 after the effect"),
    pytest.param({"wrong_type": True}, 1, QUICK, id="wrong content type"),
    pytest.param({"not_json": "<html>Sign in</html>"}, 0, QUICK, id="another's page"),
    pytest.param({"truncate": 0.5}, 1, QUICK, id="truncated body"),
    pytest.param({"truncate_json": 0.5}, 1, QUICK, id="truncated JSON"),
    pytest.param({"status": 503}, 0, QUICK, id="503 that does not say"),
    pytest.param({"status": 500}, 0, QUICK, id="500"),
]
#: Answers that say that the request was not processed, and that it may be sent again.
REFUSED_FOR_NOW = [
    pytest.param({"status": 429, "retry_after": 0}, id="429 with Retry-After"),
    pytest.param({"status": 429}, id="429"),
    pytest.param({"status": 425}, id="too early"),
    pytest.param({"status": 503, "retry_after": 0}, id="503 with Retry-After"),
    pytest.param({"status": 403, "retry_after": 0}, id="403 with Retry-After"),
    pytest.param({"status": 501}, id="a method that the server does not know"),
    pytest.param({"status": 505}, id="a version that the server does not know"),
]


def charge(client: HttpClient, **options: Any) -> Any:
    """Send one charge; the number of it, as the server counts."""
    return client.send("POST", "/charges", BODY, number_of, **options)


def number_of(response: HttpResponse) -> Any:
    try:
        return json.loads(response.body)["charge"]
    except ValueError as error:
        raise response.invalid("is not a charge") from error


def keyed(client: HttpClient, rules: KeyRules = A_DAY) -> Any:
    return charge(client, idempotency_key="order-4711", key_rules=rules)


class TestWithoutKey:
    @pytest.mark.parametrize(("fault", "effects", "limits"), UNKNOWN)
    def test_a_request_that_may_have_arrived_is_sent_once_and_ends_as_unknown(
        self, fault: Any, effects: int, limits: Limits
    ) -> None:
        """The second request of such a client is the second charge of a customer."""
        with ChargingServer(fault) as server:
            with pytest.raises(OutcomeUnknown, match="unknown whether POST /charges had its effect"):
                charge(server.client(limits=limits))

            assert len(server.requests) == 1
            assert len(server.charges) == effects

    @pytest.mark.parametrize("body", [b"ok", b"<html>Sign in</html>"])
    def test_an_answer_that_need_not_be_json_is_for_the_caller_to_know(self, body: bytes) -> None:
        """Slack says `ok`; a proxy's login page comes with 200, too, and leaves the caller in doubt."""

        def check(got: HttpResponse) -> bytes:
            if got.body != b"ok":
                raise got.invalid("does not say ok")
            return got.body

        page = answer(body, headers={"Content-Type": "text/html"})
        with RawServer(page) as server:
            client = server.client()
            with pytest.raises(OutcomeUnknown):
                client.send("POST", "/hook", {}, check)
            if body == b"ok":
                assert client.send("POST", "/hook", {}, check, json_answer=False) == b"ok"
            else:
                with pytest.raises(OutcomeUnknown, match="does not say ok"):
                    client.send("POST", "/hook", {}, check, json_answer=False)

    @pytest.mark.parametrize("fault", REFUSED_FOR_NOW)
    def test_a_request_that_was_not_processed_is_sent_again(self, fault: Any) -> None:
        """The server says so itself; nobody has to look."""
        with ChargingServer(fault) as server:
            assert charge(server.client()) == 1
            assert len(server.charges) == 1

    def test_a_refusal_that_outlasts_the_retries_is_transient(self) -> None:
        """It had no effect, so a run of its own may try later."""
        with RawServer(answer(b"{}", "429 Slow down")) as server, pytest.raises(Throttled):
            charge(server.client())
        assert len(server.requests) == QUICK.attempts

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 412, 413, 422, 451])
    def test_a_refusal_ends_it(self, status: int) -> None:
        with RawServer(answer(b"{}", f"{status} No")) as server:
            with pytest.raises(SystemRefused, match=str(status)):
                charge(server.client())
            assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 507, 520, 524, 599])
    def test_a_status_that_does_not_say_is_unknown(self, status: int) -> None:
        """A gateway sends 408, 504 and 524 when the system behind it is slow, and may well be done later."""
        with RawServer(answer(b"{}", f"{status} Trouble")) as server:
            with pytest.raises(OutcomeUnknown):
                charge(server.client())
            assert len(server.requests) == 1

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_no_method_is_repeated(self, method: Any) -> None:
        """Between two equal PUTs there may be another's, and the second would undo it."""
        with RawServer(socket.socket.close) as server:
            with pytest.raises(OutcomeUnknown):
                server.client().send(method, "/thing", {}, number_of)
            assert [request.split(" ")[0] for request in server.requests] == [method]

    @pytest.mark.parametrize("status", [301, 307, 308])
    def test_a_redirect_to_another_address_is_a_refusal(self, status: int) -> None:
        with RawServer(answer()) as other, RawServer(answer(b"", f"{status} Moved", {"Location": other.url})) as server:
            with pytest.raises(SystemRefused, match="Redirects are not followed"):
                charge(server.client())
            assert other.requests == []

    @pytest.mark.parametrize("status", [302, 303])
    def test_a_redirect_that_many_send_when_they_are_done_is_unknown(self, status: int) -> None:
        """Post, redirect, get: the page to look at after the effect."""
        with RawServer(answer()) as other, RawServer(answer(b"", f"{status} See", {"Location": other.url})) as server:
            with pytest.raises(OutcomeUnknown, match="Redirects are not followed"):
                charge(server.client())
            assert other.requests == []

    def test_a_defect_in_reading_the_answer_is_unknown_too(self) -> None:
        """An error of another kind would have the whole task tried again."""
        with ChargingServer() as server:
            with pytest.raises(OutcomeUnknown, match="KeyError while reading the answer"):
                server.client().send("POST", "/charges", BODY, lambda response: json.loads(response.body)["no"])
            assert len(server.charges) == 1


class TestNotArrived:
    """A request of which no byte has left had no effect: it may be sent again, here or by a later run."""

    def test_connection_refused(self) -> None:
        client = HttpClient("acme", f"http://127.0.0.1:{free_port()}", limits=QUICK)

        with pytest.raises(SystemUnavailable, match="Connection refused"):
            charge(client)

    def test_it_is_sent_once_the_server_listens(self) -> None:
        """The retry is of the same call."""
        with ChargingServer() as server:
            listening = iter([free_port(), server.port])
            client = server.client()
            real = client._transport._pool.conn_kw["open_socket"]
            client._transport._pool.conn_kw["open_socket"] = lambda host, _port, *rest: real(
                host, next(listening), *rest
            )

            assert charge(client) == 1
            assert len(server.charges) == 1

    def test_a_name_that_does_not_resolve(self) -> None:
        with pytest.raises(SystemUnavailable):
            charge(HttpClient("acme", "http://nowhere.invalid", limits=ONE_SECOND))

    def test_an_address_that_the_guard_refuses(self) -> None:
        config = ClientConfig(resolve=lambda *_args, **_kwargs: [(0, 0, 0, "", ("10.0.0.1", 443))])  # type: ignore[arg-type]

        with pytest.raises(AddressRefused):
            charge(HttpClient("acme", "https://shop.example.com", config=config))

    def test_a_certificate_of_another_host(self, tls_of_another_host: Tls) -> None:
        with RawServer(answer(), tls=tls_of_another_host.context) as server:
            with pytest.raises(SystemUnavailable, match="certificate verify failed"):
                charge(server.client(limits=ONE_SECOND, ca_file=tls_of_another_host.ca_file))
            assert server.requests == []

    def test_a_handshake_that_is_cut(self) -> None:
        with RawServer() as server:
            server._greeted = _hangs_up  # type: ignore[method-assign]
            with pytest.raises(SystemUnavailable):
                charge(HttpClient("acme", server.url.replace("http:", "https:"), limits=QUICK))

    def test_an_open_circuit_breaker(self) -> None:
        with ChargingServer() as server:
            with pytest.raises(CircuitOpen):
                charge(guarded(server, breaker=Refusing(CircuitOpen("acme", "open"))))
            assert len(server.requests) == 0

    def test_a_rate_limit_that_has_no_permit(self) -> None:
        with ChargingServer() as server:
            with pytest.raises(RateLimited):
                charge(guarded(server, limiter=Refusing(RateLimited("acme", "no permit"))))
            assert len(server.requests) == 0

    def test_a_token_that_could_not_be_had(self) -> None:
        """The request for the token may have arrived; that for the charge was not sent."""
        with RawServer(socket.socket.close) as tokens, ChargingServer() as server:

            def signer(request: Any) -> Any:
                tokens.client().post_form("/", {}, None, lambda response: response)
                return request

            with pytest.raises(SystemUnavailable):
                charge(server.client(auth=signer))
            assert len(server.requests) == 0


class TestWithKey:
    @pytest.mark.parametrize(("fault", "_effects", "limits"), UNKNOWN)
    def test_it_is_retried_and_has_one_effect(self, fault: Any, _effects: int, limits: Limits) -> None:
        with ChargingServer(fault) as server:
            assert keyed(server.client(limits=limits)) == 1
            assert len(server.charges) == 1

    @pytest.mark.parametrize("fault", REFUSED_FOR_NOW)
    def test_a_refusal_for_now_is_retried_as_well(self, fault: Any) -> None:
        with ChargingServer(fault) as server:
            assert keyed(server.client()) == 1
            assert len(server.charges) == 1

    def test_a_server_that_ignores_keys_has_the_effect_twice(self) -> None:
        """The difference that `key_rules` states: a window is declared only for a server that replays."""
        with ChargingServer({"reset": "after"}, knows_keys=False) as server:
            assert keyed(server.client()) == 2
            assert len(server.charges) == 2

    def test_each_attempt_has_the_same_key_and_the_same_bytes(self) -> None:
        with ChargingServer({"reset": "after"}, {"bad_gateway": "after"}) as server:
            keyed(server.client())

            assert server.received == [("order-4711", msgspec.json.encode(BODY, order="deterministic"))] * 3

    def test_the_order_of_fields_does_not_change_the_bytes(self) -> None:
        """Another process may have built the same document in another order, and a server compares."""
        with ChargingServer() as server:
            for body in (BODY, dict(reversed(BODY.items()))):
                server.client().send("POST", "/charges", body, number_of)

            assert server.charges[0] == server.charges[1]

    def test_used_up_retries_end_as_unknown(self) -> None:
        with RawServer(socket.socket.close) as server:
            with pytest.raises(OutcomeUnknown):
                keyed(server.client())
            assert len(server.requests) == QUICK.attempts

    def test_an_empty_budget_ends_as_unknown(self) -> None:
        with RawServer(socket.socket.close) as server:
            with pytest.raises(OutcomeUnknown):
                keyed(server.client(config=ClientConfig(limits=QUICK, budget=RetryBudget(share=0, reserve=0))))
            assert len(server.requests) == 1

    @pytest.mark.parametrize("window_s", [0, QUICK.longest_attempt_s - 1])
    def test_nothing_is_repeated_that_may_arrive_after_the_window(self, window_s: float) -> None:
        """The server has forgotten the key by then, and would have the effect again."""
        with ChargingServer({"reset": "after"}) as server:
            with pytest.raises(OutcomeUnknown):
                keyed(server.client(), KeyRules(window_s=window_s))
            assert len(server.requests) == 1

    @pytest.mark.parametrize("later", ["401 Unauthorized", "402 Declined", "403 Forbidden", "422 Invalid"])
    def test_the_refusal_of_a_retry_does_not_settle_the_first_request(self, later: str) -> None:
        """A gateway refuses what the system, which knows the key, had done a moment ago."""
        with RawServer(socket.socket.close, answer(b"{}", later)) as server, pytest.raises(OutcomeUnknown) as caught:
            keyed(server.client())
        assert isinstance(caught.value.__cause__, SystemRefused)

    def test_an_open_breaker_after_a_lost_answer_is_unknown(self) -> None:
        with RawServer(socket.socket.close) as server:
            breaker = Refusing(None, CircuitOpen("acme", "open"))
            with pytest.raises(OutcomeUnknown):
                keyed(guarded(server, breaker=breaker))
            assert len(server.requests) == 1

    def test_the_first_request_is_still_at_work(self) -> None:
        """409: Stripe's and the IETF draft's. The retry came too soon, and nobody knows yet how it ends."""
        with RawServer(answer(b"{}", "409 Conflict"), answer(b'{"charge": 7}')) as server:
            assert keyed(server.client()) == 7

    def test_a_request_that_stays_at_work_is_unknown(self) -> None:
        with RawServer(answer(b"{}", "409 Conflict")) as server, pytest.raises(OutcomeUnknown, match="is at work"):
            keyed(server.client())

    def test_a_409_of_a_system_that_means_something_else_by_it_is_a_refusal(self) -> None:
        with RawServer(answer(b"{}", "409 Conflict")) as server, pytest.raises(SystemRefused):
            keyed(server.client(), KeyRules(window_s=86_400, in_use_status=425))

    @pytest.mark.parametrize("said", ["true", "True"])
    def test_a_header_says_that_the_same_key_may_be_sent_again_whatever_the_status(self, said: str) -> None:
        """Adyen's `transient-error`, with 422: taken for a refusal, the first request's effect would be lost."""
        rules = KeyRules(window_s=86_400, retry_header="transient-error")
        busy = answer(b"{}", "422 Unprocessable Entity", {"Transient-Error": said})
        with RawServer(busy, answer(b'{"charge": 7}')) as server:
            assert keyed(server.client(), rules) == 7
        with RawServer(busy) as server, pytest.raises(OutcomeUnknown, match="is at work"):
            keyed(server.client(), rules)

    @pytest.mark.parametrize(
        ("said", "header"), [("false", "transient-error"), ("", "transient-error"), ("true", "other"), ("true", "")]
    )
    def test_without_that_header_the_status_counts(self, said: str, header: str) -> None:
        busy = answer(b"{}", "422 Unprocessable Entity", {"transient-error": said})
        with RawServer(busy) as server, pytest.raises(SystemRefused):
            keyed(server.client(), KeyRules(window_s=86_400, retry_header=header))

    def test_the_header_is_the_systems(self) -> None:
        with RawServer(answer(b'{"charge": 1}')) as server:
            keyed(server.client(), KeyRules(window_s=60, header="PayPal-Request-Id"))

        assert "PayPal-Request-Id: order-4711" in server.requests[0]
        assert "Idempotency-Key" not in server.requests[0]

    @pytest.mark.parametrize("key", ["", "a b", "a\r\nX-Evil: 1", "é", "x" * 65])
    def test_a_key_that_some_system_would_refuse_is_not_sent(self, key: str) -> None:
        with ChargingServer() as server:
            with pytest.raises(BadRequest, match="1 to 64 visible ASCII"):
                charge(server.client(), idempotency_key=key)
            assert len(server.requests) == 0


class TestAsForReads:
    def test_the_total_deadline_holds(self) -> None:
        """A server that answers a byte now and then."""
        slow = Dripped(answer(b'{"charge": 1}'))
        with RawServer(slow) as server, pytest.raises(OutcomeUnknown, match="took longer than 1 s"):
            charge(server.client(limits=ONE_SECOND))
        assert not slow.finished

    def test_a_too_large_answer_is_refused(self) -> None:
        limits = Limits(answer_bytes=100, attempts=1)
        with RawServer(answer(b" " * 200)) as server, pytest.raises(OutcomeUnknown, match="larger than 100 bytes"):
            charge(server.client(limits=limits))

    def test_an_expired_token_is_renewed_and_the_request_sent_again(self) -> None:
        """A 401 is a refusal: nothing happened."""
        with RawServer(answer(b"{}", "401 Unauthorized"), answer(b'{"charge": 1}')) as server:
            signer = _Renewable("id", "secret")
            assert charge(server.client(auth=signer)) == 1
            assert (len(server.requests), signer.renewed) == (2, 1)

    def test_the_second_request_after_a_401_that_is_lost_is_unknown(self) -> None:
        with RawServer(answer(b"{}", "401 Unauthorized"), socket.socket.close) as server:
            with pytest.raises(OutcomeUnknown):
                charge(server.client(auth=_Renewable("id", "secret")))
            assert len(server.requests) == 2

    def test_a_401_after_which_no_token_can_be_had_had_no_effect(self) -> None:
        class Once(_Renewable):
            def __call__(self, request: Any) -> Any:
                if self.renewed:
                    raise SystemUnavailable("tokens", "HTTP 503")
                return super().__call__(request)

        with RawServer(answer(b"{}", "401 Unauthorized")) as server, pytest.raises(SystemUnavailable, match="tokens"):
            charge(server.client(auth=Once("id", "secret"), limits=ONE_SECOND))

    def test_an_answer_without_content_is_a_success(self) -> None:
        """Many a DELETE has nothing to say."""
        with RawServer(answer(b"", "204 No Content", {"Content-Type": "", "Content-Length": ""})) as server:
            assert server.client().send("DELETE", "/thing", None, lambda response: response.status) == 204

        head = server.requests[0].partition("\r\n\r\n")[0]
        assert "Content-Type" not in head

    def test_a_query_is_sent(self) -> None:
        with RawServer(answer(b'{"charge": 1}')) as server:
            server.client().send("DELETE", "/thing", None, number_of, query={"version": 3})

        assert server.requests[0].startswith("DELETE /thing?version=3 ")

    @pytest.mark.parametrize(
        ("answers", "outcomes"),
        [
            ([answer(b'{"charge": 1}')], [Outcome.SUCCESS]),
            ([answer(b"{}", "402 No")], [Outcome.REFUSAL]),
            (
                [answer(b"{}", "429 Slow", {"Retry-After": "0"}), answer(b"{}", "502 Bad")],
                [Outcome.THROTTLED, Outcome.FAILURE],
            ),
        ],
    )
    def test_each_attempt_is_counted_and_reported_to_the_breaker(self, answers: Any, outcomes: list[Outcome]) -> None:
        noted = Noting()
        with RawServer(*answers) as server, contextlib.suppress(HubError):
            charge(guarded(server, breaker=noted, log=noted, limiter=noted))

        assert noted.outcomes == outcomes
        assert noted.failed == [outcome is Outcome.FAILURE for outcome in outcomes]
        assert noted.permits == len(outcomes)

    def test_a_status_that_asks_to_try_again_is_a_refusal_with_its_wait_and_no_outage(self) -> None:
        noted = Noting()
        locked = answer(b"{}", "423 Locked", {"Retry-After": "77"})
        with RawServer(locked) as server, pytest.raises(Busy, match="HTTP 423") as refused:
            charge(guarded(server, breaker=noted, log=noted, limiter=noted), retry_on=frozenset({423}))

        assert refused.value.retry_in_s == 77
        assert (noted.outcomes, noted.failed, noted.paused_s) == ([Outcome.REFUSAL], [False], [])

    def test_calls_at_once_have_an_effect_each(self) -> None:
        """One client for all threads: what is in doubt belongs to one call."""
        with ChargingServer(*[{"reset": "after"}, "ok"] * 4) as server, ThreadPoolExecutor(4) as pool:
            client = server.client()
            calls = [pool.submit(charge, client) for _ in range(8)]
            unknown = [call for call in calls if isinstance(call.exception(), OutcomeUnknown)]

            assert (len(unknown), len(server.charges)) == (4, 8)


class TestUnknown:
    def test_it_belongs_to_neither_family(self) -> None:
        """Whoever catches one of them would repeat the request, or give up what may have happened."""
        error = OutcomeUnknown("acme", "POST /charges", "no answer")

        assert not isinstance(error, Transient | Terminal | SystemUnavailable | SourceInvalid)

    CANARY = "canary-8f14e45f"

    @pytest.mark.parametrize(
        "wrong", [socket.socket.close, answer(b"{}", "502 Bad"), answer(b"{}", "400 No"), answer(b"no")]
    )
    def test_no_failure_shows_the_body_the_answer_or_the_credentials(
        self, wrong: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with RawServer(wrong) as server:
            client = server.client(auth=HTTPBasicAuth("id", self.CANARY))
            with pytest.raises(HubError) as caught:
                client.send(
                    "POST",
                    "/charges",
                    {"card": self.CANARY},
                    number_of,
                    query={"token": self.CANARY},
                    idempotency_key="order-4711",
                    key_rules=A_DAY,
                )

        assert self.CANARY in server.requests[0]
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        assert self.CANARY not in shown


class Refusing:
    """A breaker or a limiter that raises the next of *errors*, if it is one; the last one stays."""

    def __init__(self, *errors: HubError | None) -> None:
        self._errors = list(errors)

    def before_call(self) -> None:
        error = self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]
        if error:
            raise error

    queue_s = 0.0

    def acquire(self, longest_wait_s: float) -> float:  # noqa: ARG002
        self.before_call()
        return 0.0

    def record(self, *, failure: str | None = None) -> None:
        pass

    def pause(self, seconds: float) -> None:
        pass


class Noting:
    """A breaker, a limiter and a call log in one."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.failed: list[bool] = []
        self.permits = 0
        self.paused_s: list[float] = []
        self._lock = threading.Lock()

    def before_call(self) -> None:
        pass

    queue_s = 0.0

    def acquire(self, longest_wait_s: float) -> float:  # noqa: ARG002
        self.permits += 1
        return 0.0

    def record(self, call: Call | None = None, *, failure: str | None = None) -> None:
        if call is not None:
            self.outcomes.append(call.outcome)
        else:
            self.failed.append(failure is not None)

    def pause(self, seconds: float) -> None:
        self.paused_s.append(seconds)


def guarded(server: ChargingServer | RawServer, **safeguards: Any) -> HttpClient:
    return server.client(config=ClientConfig(limits=QUICK, safeguards=Safeguards(**safeguards)))


class _Renewable(HTTPBasicAuth):
    renewed = 0

    def renew(self, refused: Any) -> None:  # noqa: ARG002
        self.renewed += 1


def _hangs_up(connection: socket.socket) -> socket.socket:
    connection.close()
    raise OSError
