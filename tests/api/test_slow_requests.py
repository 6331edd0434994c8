"""Half-sent requests at Airflow's api-server, which starts uvicorn in its own way."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from crossdock.api.slow_requests import MOST_OF_A_PEER
from tests.api.conftest import Hub
from tests.events.worlds import eventually

HEAD = b"POST /hub/v1/webhooks/shop HTTP/1.1\r\nHost: hub\r\nContent-Length: 90\r\n"


LOGIN = b"POST /auth/token HTTP/1.1\r\nHost: hub\r\nContent-Length: 90\r\nContent-Type: application/json\r\n\r\n{"


@pytest.mark.parametrize("text", [HEAD, HEAD + b"\r\n", LOGIN], ids=["head", "body", "body of a route of Airflow"])
def test_a_peer_holds_a_bounded_number_of_connections(hub: Hub, text: bytes) -> None:
    """900 were held without a token. What is whole is answered meanwhile, also to the same peer."""
    place = urlsplit(hub.url)
    with ExitStack() as opened:
        senders = []
        for _ in range((2 if text is LOGIN else 1) * MOST_OF_A_PEER + 30):
            sender = opened.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
            sender.sendall(text)
            senders.append(sender)

        eventually(lambda: len(select.select(senders, [], [], 0)[0]) >= 30)
        assert hub.call("GET", "/v1/health", "vera").status_code == 200


def test_a_connection_is_closed_with_the_answer_if_its_body_was_not_read(hub: Hub) -> None:
    """A stranger is answered before the body is read, and would keep the connection by never sending it."""
    refused = hub.call("POST", "/v1/quarantine-replays", None, json={"all": True})
    accepted = hub.call("GET", "/v1/health", "vera")

    assert (refused.status_code, refused.headers["Connection"]) == (401, "close")
    assert "Connection" not in accepted.headers
