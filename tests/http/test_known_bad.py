"""
A client that is known to be wrong must be found wrong: each test takes one safeguard of writes out and sees a rule fail.

Without these, a server that counts nothing would pass every test of `send`.
"""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from crossdock.core.errors import SystemRefused
from crossdock.http import client as http_client
from crossdock.http import transport
from crossdock.http.deadline import Deadline
from crossdock.http.response import HttpResponse
from crossdock.http.retries import WriteState
from tests.http import test_send
from tests.http.raw_server import QUICK


def test_a_sound_client_passes() -> None:
    """The other half of the proof: the rules below do not always fail."""
    test_send.TestWithoutKey().test_a_request_that_may_have_arrived_is_sent_once_and_ends_as_unknown(
        {"reset": "after"}, 1, QUICK
    )
    test_send.TestWithKey().test_each_attempt_has_the_same_key_and_the_same_bytes()
    test_send.TestWithKey().test_nothing_is_repeated_that_may_arrive_after_the_window(0)
    test_send.TestWithKey().test_the_refusal_of_a_retry_does_not_settle_the_first_request("401 Unauthorized")
    test_send.TestNotArrived().test_connection_refused()


@pytest.mark.parametrize(
    ("fault", "effects"), [({"reset": "after"}, 1), ({"bad_gateway": "after"}, 1), ({"truncate": 0.5}, 1)]
)
def test_repeating_without_a_key_is_found(monkeypatch: pytest.MonkeyPatch, fault: Any, effects: int) -> None:
    """The default of many a library."""
    monkeypatch.setattr(WriteState, "may_repeat", lambda *_: True)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_send.TestWithoutKey().test_a_request_that_may_have_arrived_is_sent_once_and_ends_as_unknown(
            fault, effects, QUICK
        )


def test_repeating_after_the_window_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WriteState, "may_repeat", lambda *_: True)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_send.TestWithKey().test_nothing_is_repeated_that_may_arrive_after_the_window(0)


def test_a_new_key_for_each_attempt_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is made where the request is sent."""
    sign = http_client.HttpClient._sign

    def fresh(self: Any, request: Any, signer: Any) -> Any:
        signed = sign(self, request, signer)
        signed.headers["Idempotency-Key"] = secrets.token_hex(8)
        return signed

    monkeypatch.setattr(http_client.HttpClient, "_sign", fresh)

    with pytest.raises(AssertionError):
        test_send.TestWithKey().test_it_is_retried_and_has_one_effect({"reset": "after"}, 1, QUICK)


def test_taking_every_answer_for_a_refusal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever believes that a 502 had no effect sends again."""
    monkeypatch.setattr(HttpResponse, "is_refusal", True)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_send.TestWithoutKey().test_a_request_that_may_have_arrived_is_sent_once_and_ends_as_unknown(
            {"bad_gateway": "after"}, 1, QUICK
        )


def test_judging_by_the_last_attempt_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A doubt that the next attempt forgets."""
    monkeypatch.setattr(WriteState, "note", lambda self, *, in_doubt: setattr(self, "in_doubt", in_doubt))

    with pytest.raises(SystemRefused):
        test_send.TestWithKey().test_the_refusal_of_a_retry_does_not_settle_the_first_request("401 Unauthorized")


def test_a_client_that_does_not_notice_what_was_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost answer looks like a connection that was refused."""
    attach = Deadline.attach

    def unnoticed(self: Deadline, sock: Any) -> None:
        attach(self, sock)
        self.attached = False

    monkeypatch.setattr(transport.Deadline, "attach", unnoticed)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_send.TestWithoutKey().test_a_request_that_may_have_arrived_is_sent_once_and_ends_as_unknown(
            {"reset": "after"}, 1, QUICK
        )
