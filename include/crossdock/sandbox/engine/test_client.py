"""A test client for simulated systems that hides nothing of what comes back."""

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class TestClient:
    """Sends requests to the system on *port*; each one has a connection of its own and is never retried."""

    #: pytest would otherwise take it for a class of tests.
    __test__ = False

    def __init__(self, port: int, *, base_path: str = "") -> None:
        self.port = port
        self._base_path = base_path

    def call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]] = (),
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> HttpResponse:
        """
        Send one request and read the whole response.

        Args:
            method: The HTTP method.
            path: Below the base path, or from the root if it begins with a slash.
            query: The pairs of the query string.
            body: Text and bytes are sent as they are, everything else as JSON.
            headers: Added to the default ones.
            timeout_s: For each wait on the socket.

        Raises:
            OSError: the connection failed or timed out.
            http.client.HTTPException: the response is incomplete.

        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        full = path if path.startswith("/") else f"{self._base_path}/{path}"
        data = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        try:
            target = f"{full}?{urlencode(query)}" if query else full
            connection.request(method, target, data, {**self.default_headers(), **(headers or {})})
            response = connection.getresponse()
            return HttpResponse(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, *query: tuple[str, Any], timeout_s: float = 60) -> HttpResponse:
        return self.call("GET", path, query, timeout_s=timeout_s)

    def script(self, route: str, *faults: Any, repeat: bool = False) -> HttpResponse:
        """Put a fault script on *route*."""
        return self.call("PUT", "/_sandbox/faults", body={"route": route, "script": faults, "repeat": repeat})

    def default_headers(self) -> dict[str, str]:
        """Make the headers that go with every request."""
        return {}
