"""A document that somebody publishes over HTTP."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Published(BaseHTTPRequestHandler):
    """Answers each GET with the document of its server."""

    #: URL → how often it was asked for.
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        self.asked[server.url] += 1
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(server.document)))
        self.end_headers()
        self.wfile.write(server.document)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def __init__(self, document: bytes, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Published)
        self.document, self.status = document, status
        self.url = f"http://127.0.0.1:{self.server_port}/keys"


@contextmanager
def published_over_http(document: bytes, status: int = 200) -> Iterator[str]:
    """Serve *document* under an address of its own."""
    with _Server(document, status) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.url
        finally:
            server.shutdown()
