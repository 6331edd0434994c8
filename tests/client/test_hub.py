"""The client of the hub's REST API: one effect for each call, however often the network has it sent."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from crossdock.client import hub as hub_client
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowUnreachable
from crossdock.client.hub import HubApi, HubUnavailable, StillRunning
from crossdock.core.errors import Conflict

#: No answer: the connection is closed when the request is read.
RESET = (0, {})
OK = (200, {"done": True})
STILL_RUNNING = (409, {"type": "urn:crossdock:problem:still-running", "detail": "still running"})
CONFLICT = (409, {"type": "urn:crossdock:problem:conflict", "detail": "closed"})
UNAVAILABLE = (503, {"type": "urn:crossdock:problem:unavailable", "detail": "busy"})


class Server(ThreadingHTTPServer):
    """Gives its answers in order, the last one for ever, and records the idempotency keys."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, Any]] = [OK]
        self.keys: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.keys.append(self.headers.get("Idempotency-Key"))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if (status, body) == RESET:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as opened:
        thread = threading.Thread(target=opened.serve_forever, args=(0.01,))
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> HubApi:
    monkeypatch.setattr(hub_client.time, "sleep", lambda _: None)
    return HubApi(AirflowApi(f"http://127.0.0.1:{server.server_address[1]}", "otto", None, token="made up"))


@pytest.mark.parametrize("first", [[RESET], [UNAVAILABLE], [STILL_RUNNING] * 5, [RESET, STILL_RUNNING, UNAVAILABLE]])
def test_a_request_without_an_answer_is_sent_again_with_the_same_key(
    server: Server, hub: HubApi, first: list[tuple[int, Any]]
) -> None:
    """It may have had its effect: another key would have it a second time."""
    server.answers = [*first, OK]

    assert hub.post("/quarantine-replays", {"all": True}).document == {"done": True}
    assert len(server.keys) == len(first) + 1
    assert len(set(server.keys)) == 1


def test_each_call_has_a_key_of_its_own(server: Server, hub: HubApi) -> None:
    for _ in range(3):
        hub.post("/quarantine-replays", {"all": True})

    assert len(set(server.keys)) == 3
    assert None not in server.keys


@pytest.mark.parametrize(
    ("answer", "error", "times"),
    [(RESET, AirflowUnreachable, 4), (UNAVAILABLE, HubUnavailable, 4), (CONFLICT, Conflict, 1)],
)
def test_it_gives_up_when_it_stays_so_and_at_once_when_it_is_refused(
    server: Server, hub: HubApi, answer: tuple[int, Any], error: type[Exception], times: int
) -> None:
    server.answers = [answer]

    with pytest.raises(error) as raised:
        hub.post("/quarantine-replays", {"all": True})

    assert not isinstance(raised.value, StillRunning)
    assert len(server.keys) == times
