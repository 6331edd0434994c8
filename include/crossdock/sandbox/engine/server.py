"""The HTTP server: reads requests from sockets and passes them on; knows nothing of systems and faults."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from crossdock.sandbox.engine.faults import OK
from crossdock.sandbox.engine.messages import Request, problem_response
from crossdock.sandbox.engine.problems import Problem, invalid_input
from crossdock.sandbox.engine.transport import Transport

_MAX_BODY_BYTES = 16_000_000


class Application(Protocol):
    """What the server passes requests to."""

    #: Set when the application stops.
    stopping: threading.Event

    def serve(self, request: Request, transport: Transport, *, last: bool) -> bool:
        """Answer one request; returns True if the connection can carry another."""


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        self.application = application
        self._clients: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        self._clients.add(client)
        return client, address

    def shutdown_request(self, request: Any) -> None:
        self._clients.discard(request)
        super().shutdown_request(request)

    def drop_clients(self) -> None:
        """Wake the threads that wait for a next request on a kept-alive connection."""
        for client in list(self._clients):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # The client has disconnected already.


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def log_message(self, *_args: Any) -> None:
        """Write nothing to stderr: `/_sandbox/requests` is the log."""

    def _answer(self) -> None:
        application = self.server.application
        transport = Transport(self.connection, application.stopping)
        try:
            request = self._request()
        except Problem as problem:
            transport.send(problem_response(problem), correlation_id=None, last=True, fault=OK)
            self.close_connection = True
            return
        try:
            self.close_connection = not application.serve(request, transport, last=self.close_connection)
        except OSError:
            self.close_connection = True  # The client disconnected.

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def _request(self) -> Request:
        url = urlsplit(self.path)
        return Request(
            method=self.command,
            path=url.path,
            parts=tuple(unquote(part) for part in url.path.split("/") if part),
            query=parse_qs(url.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body(),
        )

    def _body(self) -> bytes:
        if "transfer-encoding" in self.headers:
            raise Problem(411, "The sandbox reads only bodies with a Content-Length.", "InvalidInput")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise invalid_input(f"'{length[:40]}' is not a valid Content-Length.")
        if int(length) > _MAX_BODY_BYTES:
            raise Problem(413, f"The body is too large; the limit is {_MAX_BODY_BYTES} bytes.", "ContentTooLarge")
        return self.rfile.read(int(length))
