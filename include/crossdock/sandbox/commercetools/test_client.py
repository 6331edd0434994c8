"""A client of the retailer that hides nothing of what comes back: for tests, and for trying things out."""

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from crossdock.sandbox.commercetools.retailer import Shop


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Visitor:
    """Asks *shop*, whose server listens on *port*; each request has a connection of its own and no retries."""

    def __init__(self, shop: Shop, port: int) -> None:
        self.shop = shop
        self.port = port
        self.token = ""

    def log_in(self, secret: str | None = None, **form: str) -> Answer:
        """Asks for a token and uses it from now on, if one is given."""
        pair = f"{self.shop.client_id}:{self.shop.client_secret if secret is None else secret}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = {"grant_type": "client_credentials", **form}
        answer = self.call("POST", "/oauth/token", body=urlencode(form), headers=headers)
        if answer.status == http.client.OK:
            self.token = answer.json["access_token"]
        return answer

    def call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]] = (),
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5,
    ) -> Answer:
        """
        One request and its whole answer.

        Args:
            method: The HTTP method.
            path: Below the project, or from the root where it begins with a slash.
            query: The query string's pairs.
            body: Text and bytes go as they are, all else as JSON.
            headers: Besides the token.
            timeout_s: For each wait on the socket.

        Raises:
            OSError: the connection failed or timed out.
            http.client.HTTPException: the answer is not whole.

        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        full = path if path.startswith("/") else f"/{self.shop.project}/{path}"
        data = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        try:
            target = f"{full}?{urlencode(query)}" if query else full
            connection.request(method, target, data, {"Authorization": f"Bearer {self.token}", **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str, *query: tuple[str, Any], timeout_s: float = 5) -> Answer:
        return self.call("GET", path, query, timeout_s=timeout_s)

    def update(self, path: str, version: int, *actions: Mapping[str, Any]) -> Answer:
        return self.call("POST", path, body={"version": version, "actions": actions})

    def script(self, route: str, *faults: Any, repeat: bool = False) -> Answer:
        """Puts a script of faults on *route*."""
        return self.call("PUT", "/_sandbox/faults", body={"route": route, "script": faults, "repeat": repeat})
