"""The control API under `/_sandbox`, by which tests and demos steer a simulated system; the real one has none."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from crossdock.sandbox.engine.faults import FaultRefusedError, Faults
from crossdock.sandbox.engine.log import RequestLog
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.problems import Problem, invalid_input

Json = dict[str, Any]

#: A request's method and the part of its path after the root.
RouteKey = tuple[str, tuple[str, ...]]

ROOT = "_sandbox"


class Controlled(Protocol):
    """What the control API needs of a simulated system."""

    @property
    def faults(self) -> Faults: ...

    @property
    def requests(self) -> RequestLog: ...

    def describe(self) -> Json: ...

    def control_routes(self) -> Mapping[RouteKey, Callable[[Request], Json]]: ...


def handle(system: Controlled, request: Request) -> Response:
    """
    Answer a request to the control API.

    Raises:
        Problem: 400, 403 or 404; the message lists what is known.

    """
    if "origin" in request.headers:
        # Only browsers send it: a web page in somebody's browser could reach this port too.
        raise Problem(403, "The control routes refuse requests with an Origin header.", "insufficient_scope")
    routes = _routes(system)
    act = routes.get((request.method, request.parts[1:2]))
    if act is None:
        known = ", ".join(f"{method} /{'/'.join((ROOT, *path))}" for method, path in routes)
        raise Problem(404, f"No route {request.method} {request.path}. Known routes: {known}.", "ResourceNotFound")
    return json_response(200, act(request))


def _routes(system: Controlled) -> dict[RouteKey, Callable[[Request], Json]]:
    return {
        ("GET", ()): lambda _request: system.describe(),
        ("GET", ("faults",)): lambda _request: system.faults.as_document(),
        ("PUT", ("faults",)): lambda request: _put_faults(system.faults, request),
        ("DELETE", ("faults",)): lambda request: _clear_faults(system.faults, request),
        ("GET", ("requests",)): lambda request: _show_requests(system.requests, request),
        ("DELETE", ("requests",)): lambda _request: _clear_requests(system.requests),
        **system.control_routes(),
    }


def _put_faults(faults: Faults, request: Request) -> Json:
    try:
        faults.put_document(request.json())
    except FaultRefusedError as error:
        raise invalid_input(str(error)) from error
    return faults.as_document()


def _clear_faults(faults: Faults, request: Request) -> Json:
    faults.clear(next(iter(request.query.get("route", [])), None))
    return faults.as_document()


def _show_requests(requests: RequestLog, request: Request) -> Json:
    after = (request.query.get("after") or ["0"])[-1]
    return {"requests": requests.as_documents(int(after) if after.isdecimal() else 0)}


def _clear_requests(requests: RequestLog) -> Json:
    requests.clear()
    return {"requests": []}
