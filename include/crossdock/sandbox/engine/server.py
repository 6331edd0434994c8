"""The retailer on a socket: reads a request, lets faults have their way, answers."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from crossdock.sandbox.commercetools import routes as api
from crossdock.sandbox.commercetools.data.invoice_lines import Say
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.problems import VendorError, invalid_input
from crossdock.sandbox.commercetools.retailer import Shop
from crossdock.sandbox.commercetools.simulation import late_update, live
from crossdock.sandbox.commercetools.state import Size
from crossdock.sandbox.engine import control
from crossdock.sandbox.engine import response_faults as tamper
from crossdock.sandbox.engine.faults import OK, Fault
from crossdock.sandbox.engine.log import Entry
from crossdock.sandbox.engine.messages import Request, Response, of_error
from crossdock.sandbox.engine.transport import Wire

_LOOPBACK = "127.0.0.1"
_LARGEST_BODY = 16_000_000


class Sandbox(Shop):
    """
    An offline retailer; as a context manager it listens until the block ends.

    `with Sandbox(seed=7, inventory=1000) as shop:` gives `shop.url`, and for tests its inside: `shop.world`,
    `shop.faults`, `shop.requests`, `shop.tokens`, `shop.life`. `Sandbox(dataset=Path("lines.parquet"))` serves the
    real shop of that file.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = _LOOPBACK,
        project: str = "demo",
        client_id: str = "sandbox",
        client_secret: str = "sandbox",  # noqa: S107 - the pretend world's own; the command takes it from the environment
        dataset: Path | None = None,
        say: Say = lambda _sentence: None,
        journal: Path | None = None,
        **size: Any,
    ) -> None:
        """
        Generates the shop, or reads it from a file, and takes the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: On which address. Only a container's own network has a reason to name another than loopback.
            project: The project's key, the first part of every path.
            client_id: What `/oauth/token` expects.
            client_secret: What goes with it.
            dataset: A parquet file with the lines of a shop's invoices, to serve in place of a generated shop.
            say: Gets a sentence now and then while that file is read.
            journal: Where changes are kept, so that the shop goes on as it was when it is started again.
            size: As in `world.Size`: seed, inventory, products, orders, customers, flaws; with a dataset only seed.

        Raises:
            OSError: there is no such file, or the port is taken.
            DatasetRefusedError: the file cannot be served whole.
            ValueError: a size is given for a shop that comes from a file.

        """
        if dataset is not None and size.keys() - {"seed"}:
            raise ValueError(
                f"A shop from a dataset has its size from there; {sorted(size.keys() - {'seed'})} cannot be."
            )
        rows = None if dataset is None else Dataset.read(dataset, say)
        super().__init__(project, client_id, client_secret, Size(**size), rows)
        if journal is not None:
            self.keep_changes(journal)
        self.stopping = threading.Event()
        self._server = _Server((host, port), self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{_LOOPBACK}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends all connections, those held by a fault too."""
        self.stopping.set()
        self.life.stop()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.drop_clients()

    def serve(self, request: Request, wire: Wire, *, last: bool) -> bool:
        """Answers one request; says whether the connection can carry another."""
        if request.parts[:1] == (control.ROOT,):
            return wire.send(self._controlled(request), correlation_id=None, last=last)
        route = api.route_of(request)
        fault = self.faults.take(route)
        with self.requests.entered(request, fault.told) as entry:
            response = self._answer(request, route, fault)
            entry.status = None if response is None else response.status
            return self._deliver(response, entry, wire, fault, last=last)

    def _controlled(self, request: Request) -> Response:
        try:
            return control.handle(self, request)
        except VendorError as error:
            return of_error(error)

    def _answer(self, request: Request, route: str, fault: Fault) -> Response | None:
        """What there is to send; None where a fault wants silence."""
        if fault.latency_ms:
            self.stopping.wait(fault.latency_ms / 1000)
        if fault.kind == "reset" or (fault.kind, fault.value) == ("timeout", "before"):
            return None
        instead = tamper.in_place_of_the_answer(fault)
        if instead is not None:
            return instead
        response = self._handled(request, route, fault)
        return None if fault.kind == "timeout" else tamper.altered(response, fault)

    def _handled(self, request: Request, route: str, fault: Fault) -> Response:
        try:
            if route == "oauth":
                return self._oauth(request)
            self.tokens.check(request)
            self._happen(route, fault)
            previous = self.last_pages.get(request.path)
            if fault.kind == "duplicate_page" and previous is not None:
                return previous
            response = api.handle(self.world, self.project, request, _share(fault))
        except VendorError as error:
            return of_error(error)
        if api.is_list(request):
            self.last_pages[request.path] = response
        return response

    def _oauth(self, request: Request) -> Response:
        if (request.method, request.parts) != ("POST", ("oauth", "token")):
            raise VendorError(404, f"URI not found: {request.path}", "ResourceNotFound")
        return self.tokens.grant(request)

    def _happen(self, route: str, fault: Fault) -> None:
        """What changes in the shop just before this request is answered."""
        if fault.kind == "mutate_during":
            live(self.world, **fault.value)
        elif fault.kind == "late_update" and route in api.FACES:
            late_update(self.world, api.FACES[route].entity.name, fault.value["seconds"])

    def _deliver(self, response: Response | None, entry: Entry, wire: Wire, fault: Fault, *, last: bool) -> bool:
        if fault.kind == "reset":
            wire.reset()
            return False
        if response is None:
            wire.hold(fault.hold_s)
            return False
        entry.bytes = len(response.body)
        if not fault.slow:
            self.requests.left(entry)
        return wire.send(response, correlation_id=entry.correlation_id, last=last, fault=fault)


def _share(fault: Fault) -> float | None:
    """The part of the rows that a list may show."""
    if fault.kind == "empty":
        return 0.0
    return float(fault.value) if fault.kind == "shrink" else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], shop: Sandbox) -> None:
        self.shop = shop
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
        """Wakes the threads that wait for a next request on a connection kept alive."""
        for client in list(self._clients):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has gone by itself


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_args: Any) -> None:
        """Nothing on stderr: `/_sandbox/requests` is the log."""

    def _answer(self) -> None:
        shop = self.server.shop
        wire = Wire(self.connection, shop.stopping)
        try:
            request = self._request()
        except VendorError as error:
            wire.send(of_error(error), correlation_id=None, last=True, fault=OK)
            self.close_connection = True
            return
        try:
            self.close_connection = not shop.serve(request, wire, last=self.close_connection)
        except OSError:
            self.close_connection = True  # the client has left, as it may

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

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
            raise VendorError(411, "The sandbox reads bodies with a Content-Length only.", "InvalidInput")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise invalid_input(f"'{length[:40]}' is no Content-Length.")
        if int(length) > _LARGEST_BODY:
            raise VendorError(413, f"A body has at most {_LARGEST_BODY} bytes here.", "ContentTooLarge")
        return self.rfile.read(int(length))
