"""A server that answers with given bytes, right or wrong, and records the requests."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, Self

from crossdock.http.client import HttpClient, Limits

#: One deadline of a second and no second try: the upper bound of a call, as the caller sees it.
ONE_SECOND = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=1)
#: Three tries with short waits between them. Each may take long: no test of theirs is of a time-out.
QUICK = Limits(timeout_s=60.0, connect_timeout_s=30.0, attempts=3, longest_wait_s=0.05)

#: Takes the connection and answers on it as it likes.
Act = Callable[[socket.socket], None]


def answer(body: bytes | str = b"{}", status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer, JSON with a Date where *headers* say nothing else; an empty text leaves a header out."""
    body = body.encode() if isinstance(body, str) else body
    fields = {
        "Date": formatdate(usegmt=True),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **(headers or {}),
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Dripped:
    """
    *data*, a byte at a time: no single read takes long.

    A client that is cut at a deadline leaves before the end, on a busy machine too; so tests check that, not seconds.
    """

    def __init__(self, data: bytes, *, every_s: float = 0.1) -> None:
        self._data, self._every_s = data, every_s
        #: True once everything was sent.
        self.finished = False

    def __call__(self, connection: socket.socket) -> None:
        for at in range(len(self._data)):
            connection.sendall(self._data[at : at + 1])
            time.sleep(self._every_s)
        self.finished = True


class RawServer:
    """
    Answers the first request with the first of *answers*, and so on; the last one stays.

    A request for `/token` is answered with *token*, and counted separately.
    """

    def __init__(
        self,
        *answers: bytes | Act,
        token: bytes | Act | None = None,
        tls: ssl.SSLContext | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._answers, self._token, self._tls = list(answers), token, tls
        is_v6 = ":" in address
        self._listener = socket.create_server((address, 0), family=socket.AF_INET6 if is_v6 else socket.AF_INET)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        #: Head and body of each request, as they came.
        self.requests: list[str] = []
        self.tokens: list[str] = []
        self.port: int = self._listener.getsockname()[1]
        self.host = f"[{address}]:{self.port}" if is_v6 else f"{address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._listener.close()

    def client(self, *, limits: Limits = QUICK, **options: Any) -> HttpClient:
        return HttpClient("acme", self.url, limits=limits, **options)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # The client has left, as it may.
        with contextlib.suppress(OSError, ValueError), self._greeted(connection) as greeted:
            self._open.add(greeted)
            while request := _request(greeted):
                act = self._next(request)
                if callable(act):
                    act(greeted)
                    return
                greeted.sendall(act)
                if b"Connection: close" in act:
                    return

    def _greeted(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _next(self, request: str) -> bytes | Act:
        with self._lock:
            if self._token is not None and request.split(" ", 2)[1] == "/token":
                self.tokens.append(request)
                return self._token
            self.requests.append(request)
            return self._answers[min(len(self.requests), len(self._answers)) - 1]


def _request(connection: socket.socket) -> str:
    """The next request, empty where there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (received := connection.recv(65536))
        if not received:
            return ""
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < sum(map(int, lengths)):
        body += connection.recv(65536)
    return (head + b"\r\n\r\n" + body).decode("latin-1")


def token_of(text: str = "a-token", **fields: Any) -> bytes:
    return answer(json.dumps({"access_token": text, "expires_in": 3600, **fields}))


def body_of(client: HttpClient, path: str = "/thing", **query: Any) -> bytes:
    """The body of the answer to a GET."""
    return client.get(path, query, lambda got: got.body)
