"""The base of a simulated system that only receives: it keeps what was posted to it, and shows it over the control API."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from crossdock.sandbox.engine.control import RouteKey
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.system import LOOPBACK, SimulatedSystem


class Receiver(SimulatedSystem):
    """A system with one address to post to, for fault scripts the route `post`."""

    fault_routes: ClassVar[tuple[str, ...]] = ("post",)

    def __init__(self, *, port: int = 0, host: str = LOOPBACK) -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.

        Raises:
            OSError: the port is taken.

        """
        self._kept: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        super().__init__(port=port, host=host)

    @property
    def inbox(self) -> list[dict[str, Any]]:
        """What was accepted, in its order."""
        with self._lock:
            return list(self._kept)

    @abstractmethod
    def take(self, request: Request) -> Response:
        """
        Answer what was posted, and `keep` it if it is accepted.

        Raises:
            Problem: it is refused.

        """

    def keep(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._kept.append(message)

    def route_of(self, request: Request) -> str:
        return "post" if request.method == "POST" else super().route_of(request)

    def respond(self, request: Request, route: str, fault: Fault) -> Response:  # noqa: ARG002 - no faults of its own
        if route != "post":
            raise self.problem_of(405)
        return self.take(request)

    def control_routes(self) -> Mapping[RouteKey, Callable[[Request], dict[str, Any]]]:
        return {
            ("GET", ("inbox",)): lambda _request: {"messages": self.inbox},
            ("DELETE", ("inbox",)): lambda _request: self._clear(),
        }

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "messages": len(self.inbox)}

    def _clear(self) -> dict[str, Any]:
        with self._lock:
            self._kept.clear()
        return {"messages": []}
