"""The base of every simulated system: what it tells the engine, and how the engine answers requests for it."""

import argparse
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self

from crossdock.sandbox.engine import control, response_faults
from crossdock.sandbox.engine.faults import ANY_ROUTE, Check, Fault, Faults
from crossdock.sandbox.engine.log import Entry, RequestLog
from crossdock.sandbox.engine.messages import Request, Response, problem_response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.proof import proof_headers
from crossdock.sandbox.engine.server import HttpServer
from crossdock.sandbox.engine.transport import Transport

LOOPBACK = "127.0.0.1"

#: The faults that send no response: instead of the request's effect, or with the value "after" once it has happened.
_UNANSWERED = frozenset({"timeout", "reset"})

#: Receives a sentence now and then about what takes long.
Report = Callable[[str], None]


class SimulatedSystem(ABC):
    """
    A simulated system on an HTTP port; as a context manager it listens until the block ends.

    A subclass answers requests in `respond` and says with the other members what the engine cannot know. Faults, the
    request log, the control API and the sockets are the engine's.
    """

    #: The routes that a fault script can be put on, besides "*".
    fault_routes: ClassVar[tuple[str, ...]] = ()
    #: The faults that the system itself applies in `respond`, each with the check of its value.
    fault_kinds: ClassVar[Mapping[str, Check]] = {}
    #: The fields whose number the faults `nan` and `huge_number` replace.
    number_fields: ClassVar[tuple[str, ...]] = ()
    #: A page without records, cut in two where blanks may stand, for the fault `gzip_bomb_mb`.
    empty_page: ClassVar[tuple[bytes, bytes]] = (b"[", b"]")

    def __init__(self, *, port: int = 0, host: str = LOOPBACK) -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.

        Raises:
            OSError: the port is taken.

        """
        self.faults = Faults((*self.fault_routes, ANY_ROUTE), self.fault_kinds)
        self.requests = RequestLog()
        self.stopping = threading.Event()
        self._server = HttpServer((host, port), self)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True)

    @classmethod
    @abstractmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        """
        Add the system's own options to *parser*, parse the command line and build the system.

        Args:
            parser: Has `--port` and `--host` already; its `error` refuses a wrong combination of options.
            arguments: The command line; None for that of the process.
            report: Receives a sentence now and then while the system is built.

        Raises:
            CannotServeError: the system cannot be built as asked.

        """

    @abstractmethod
    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        """
        Answer a request, and apply *fault* if it is of the system's own kinds.

        Raises:
            Problem: the system refuses the request.

        """

    def route_of(self, request: Request) -> str:  # noqa: ARG002 - for the systems that override it
        """Name the route of a request for fault scripts; "*" if it has none of its own."""
        return ANY_ROUTE

    def problem_of(self, status: int) -> Problem:
        """Make the system's error for the fault `status`."""
        return Problem(status, f"A fault script set the status {status}.", "General")

    def control_routes(self) -> Mapping[control.RouteKey, Callable[[Request], dict[str, Any]]]:
        """List the control routes that the system adds to the engine's."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Describe the system, for `GET /_sandbox`."""
        return {"requests": len(self.requests)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, including those that a fault holds; a system also stops its own threads here."""
        self.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.drop_clients()

    def serve(self, request: Request, transport: Transport, *, last: bool) -> bool:
        """Answer one request; returns True if the connection can carry another."""
        if request.parts[:1] == (control.ROOT,):
            return transport.send(self._control(request), correlation_id=None, last=last)
        route = self.route_of(request)
        fault = self.faults.take(route)
        with self.requests.record(request, fault.entry) as entry:
            response = self._answer(request, route, fault)
            if request.method == "HEAD" and response is not None:
                # Its answer ends with the head: what follows would be read as the next answer.
                response = replace(response, body=b"")
            entry.status = None if response is None else response.status
            return self._deliver(response, entry, transport, fault, last=last)

    def _control(self, request: Request) -> Response:
        try:
            response = control.handle(self, request)
        except Problem as problem:
            response = problem_response(problem)
        return replace(response, headers={**response.headers, **proof_headers(request.headers, self.port)})

    def _answer(self, request: Request, route: str, fault: Fault) -> Response | None:
        """Make the response to send; None if the fault wants silence."""
        if fault.latency_ms:
            self.stopping.wait(fault.latency_ms / 1000)
        if fault.kind in _UNANSWERED and fault.value != "after":
            return None
        replacement = response_faults.replacement(fault, self.problem_of, self.empty_page)
        if replacement is not None:
            return replacement
        try:
            response = self.respond(request, route, fault)
        except Problem as problem:
            response = problem_response(problem)
        return None if fault.kind in _UNANSWERED else response_faults.alter(response, fault, self.number_fields)

    def _deliver(
        self, response: Response | None, entry: Entry, transport: Transport, fault: Fault, *, last: bool
    ) -> bool:
        if fault.kind == "reset":
            transport.reset()
            return False
        if response is None:
            transport.hold(fault.hold_s)
            return False
        entry.bytes = len(response.body)
        if not fault.slow:
            self.requests.finish(entry)
        return transport.send(response, correlation_id=entry.correlation_id, last=last, fault=fault)
