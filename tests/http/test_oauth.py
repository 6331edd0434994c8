"""Tokens: one for all threads, fetched when needed."""

from __future__ import annotations

import json
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import requests

from crossdock.core.errors import AccessRefused, SourceInvalid, SystemUnavailable, Transient
from crossdock.http.client import HttpClient, Limits
from crossdock.http.deadline import Deadline
from crossdock.http.oauth import ClientCredentials
from tests.http.raw_server import ONE_SECOND, QUICK, Dripped, RawServer, answer, body_of, token_of


def signer_of(
    server: RawServer, *, limits: Limits = QUICK, client: tuple[str, str] = ("id", "hush")
) -> ClientCredentials:
    tokens = HttpClient("acme", server.url, limits=msgspec.structs.replace(limits, attempts=1))
    return ClientCredentials(tokens, "/token", client_id=client[0], secret=client[1], scope="read:all")


def signed(server: RawServer, *, limits: Limits = QUICK) -> HttpClient:
    return server.client(limits=limits, auth=signer_of(server, limits=limits))


def sent_with(token: str) -> requests.PreparedRequest:
    return requests.Request("GET", "http://h", headers={"Authorization": f"Bearer {token}"}).prepare()


def test_a_token_serves_all_threads() -> None:
    """Token endpoints have narrow limits of their own."""
    with RawServer(answer(), token=token_of("first")) as server:
        client = signed(server)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: body_of(client), range(24)))

    assert len(server.tokens) == 1
    assert all("Authorization: Bearer first" in request for request in server.requests)
    assert "grant_type=client_credentials&scope=read%3Aall" in server.tokens[0]


@pytest.mark.parametrize(("expires_in", "used_for_s"), [(3600, 3570), (60, 30), (40, 20), (10, 5), (0, 0), (-5, -2.5)])
def test_a_token_is_not_used_in_its_last_seconds(expires_in: int, used_for_s: float) -> None:
    """It could run out on its way; one that lives shorter than the margin is still used for half its life."""
    with RawServer(token=token_of(expires_in=expires_in)) as server:
        signer = signer_of(server)
        before = time.monotonic()
        signer(requests.Request("GET", "http://h").prepare())
        after = time.monotonic()

    # Its life begins somewhere between the two, however long the way there and back.
    assert before + used_for_s <= signer._valid_until <= after + used_for_s


@pytest.mark.parametrize(
    ("said", "used_for_s"),
    [
        ({}, 270),
        ({"expires_in": None}, 270),
        ({"expires_in": ""}, 270),
        ({"expires_in": "3600"}, 3570),
        ({"expires_in": " 3600 "}, 3570),
        ({"expires_in": "3599.5"}, 3569.5),
        ({"expires_in": 3599.5}, 3569.5),
    ],
    ids=str,
)
def test_the_life_of_a_token_is_said_in_several_ways_or_not_at_all(said: dict[str, Any], used_for_s: float) -> None:
    """It is only recommended to say it; then the token is used for a short while, or until it is refused."""
    with RawServer(answer(b"[1]"), token=answer(json.dumps({"access_token": "t", **said}))) as server:
        signer = signer_of(server)
        client = server.client(auth=signer)
        before = time.monotonic()
        assert [body_of(client) for _ in range(3)] == [b"[1]"] * 3

    assert len(server.tokens) == 1
    assert before + used_for_s <= signer._valid_until <= time.monotonic() + used_for_s


def test_a_token_of_unknown_life_is_renewed_where_it_is_refused() -> None:
    refused = answer(b"{}", "401 Unauthorized")
    with RawServer(answer(b"[1]"), refused, answer(b"[2]"), token=answer(b'{"access_token": "t"}')) as server:
        client = signed(server)
        assert [body_of(client), body_of(client)] == [b"[1]", b"[2]"]

    assert len(server.tokens) == 2


def test_a_token_at_its_end_is_fetched_again() -> None:
    with RawServer(answer(), token=token_of(expires_in=0)) as server:
        client = signed(server)
        body_of(client)
        body_of(client)

    assert len(server.tokens) == 2


def test_only_the_token_that_was_refused_is_forgotten() -> None:
    """A thread whose old token is refused late must not discard the new token, however recent that is."""
    with RawServer(token=token_of("new")) as server:
        signer = signer_of(server)
        signer(requests.Request("GET", "http://h").prepare())
        signer.renew(sent_with("old"))
        signer(requests.Request("GET", "http://h").prepare())
        assert len(server.tokens) == 1

        signer.renew(sent_with("new"))
        signer(requests.Request("GET", "http://h").prepare())
        assert len(server.tokens) == 2


def test_threads_that_are_refused_together_fetch_one_token() -> None:
    """Eight pages in flight, one expiry, one renewal."""
    with RawServer(token=token_of("first")) as server:
        signer = signer_of(server)
        signer(requests.Request("GET", "http://h").prepare())
        together = threading.Barrier(8)

        def refused(_: int) -> None:
            together.wait()
            signer.renew(sent_with("first"))
            server._token = token_of("second")
            signer(requests.Request("GET", "http://h").prepare())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(refused, range(8)))

    assert len(server.tokens) == 2


def test_a_slow_token_does_not_lengthen_the_call() -> None:
    """The caller's deadline includes the wait for a token."""
    slow = Dripped(token_of())
    with RawServer(answer(), token=slow) as server:
        began = time.monotonic()
        with pytest.raises(SystemUnavailable, match=r"POST /token: it took longer"):
            body_of(signed(server, limits=ONE_SECOND))
        assert not slow.finished

    assert time.monotonic() - began > 0.9


def test_threads_that_wait_for_a_slow_token_end_in_time_too() -> None:
    """They stand in line for one lock: each with its full time-out would make the last wait six times as long."""

    def call(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(Transient):
            body_of(client)
        return time.monotonic() - began

    with RawServer(answer(), token=Dripped(token_of())) as server, ThreadPoolExecutor(6) as pool:
        client = signed(server, limits=Limits(timeout_s=3, connect_timeout_s=3, attempts=1))
        waits = list(pool.map(call, range(6)))

    assert max(waits) < 2.5 * min(waits), waits


def test_a_call_does_not_wait_past_its_time_for_another_to_fetch() -> None:
    """A call that began later, and has the lock, may take longer."""
    with RawServer(token=token_of()) as server:
        signer = signer_of(server)
        with signer._lock, Deadline(0.1), pytest.raises(SystemUnavailable, match="no token in time"):
            signer(requests.Request("GET", "http://h").prepare())

    assert server.tokens == []


def test_retries_of_a_token_do_not_multiply_with_those_of_its_call() -> None:
    """Three times three is nine requests to a host that is on its knees."""
    with RawServer(answer(), token=answer(b"{}", "503 Down")) as server:
        with pytest.raises(SystemUnavailable, match="503"):
            body_of(signed(server))

        assert (len(server.tokens), len(server.requests)) == (QUICK.attempts, 0)


def test_refused_credentials_are_not_tried_again() -> None:
    """Some hosts lock an account after a few."""
    with RawServer(answer(), token=answer(b'{"message": "invalid_client"}', "401 Unauthorized")) as server:
        with pytest.raises(AccessRefused, match=r"invalid_client\. Check the id and the secret of the connection"):
            body_of(signed(server))

        assert (len(server.tokens), len(server.requests)) == (1, 0)


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found"])
def test_a_token_that_is_refused_in_any_way_is_a_refusal_of_the_credentials(status: str) -> None:
    """RFC 6749 5.2: `invalid_client` may come with 400. Without a token, no call is made, whatever it asks."""
    with RawServer(answer(), token=answer(b'{"error": "invalid_grant"}', status)) as server:
        with pytest.raises(AccessRefused):
            body_of(signed(server))

        assert (len(server.tokens), len(server.requests)) == (1, 0)


@pytest.mark.parametrize(
    "grant",
    [
        answer(b"[1]"),
        answer(b"\xff"),
        answer(b"[" * 100_000),
        answer(b'{"access_token": "", "expires_in": 1}'),
        answer(b'{"expires_in": 3600}'),
        answer(b'{"access_token": "canary", "expires_in": "soon"}'),
        answer(b'{"access_token": "canary", "expires_in": "inf"}'),
        answer(b'{"access_token": "canary", "expires_in": "nan"}'),
        answer(b'{"access_token": "canary", "expires_in": true}'),
        token_of("canary\r\nX-Evil: 1"),
        token_of("canary\n"),
        token_of("canary é"),
    ],
)
def test_an_invalid_token_is_not_sent(grant: bytes) -> None:
    """A token with a line break would inject headers; the library that stops it shows it in its error."""
    with RawServer(answer(), token=grant) as server:
        with pytest.raises(SourceInvalid, match="is not a token") as caught:
            body_of(signed(server))

        assert server.requests == []
        assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("secret", ["pässwörd", "秘密", "a:b", "\u20ac"])
def test_a_secret_may_be_any_text(secret: str) -> None:
    """One that is not Latin-1 used to fail with an error that shows it."""
    with RawServer(answer(b"[1]"), token=token_of()) as server:
        client: Any = server.client(auth=signer_of(server, client=("id", secret)))

        assert body_of(client) == b"[1]"


def test_an_unknown_field_of_a_token_is_ignored() -> None:
    with RawServer(answer(b"[1]"), token=token_of(token_type="Bearer", hint=json.dumps({}))) as server:
        assert body_of(signed(server)) == b"[1]"
