"""A test client for the fake retailer that hides nothing of what comes back."""

import base64
import http.client
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from crossdock.sandbox.engine.test_client import HttpResponse, TestClient


class RetailerClient(TestClient):
    """Sends requests to the fake retailer on *port*, with a token after `log_in`."""

    def __init__(
        self,
        port: int,
        *,
        project: str = "demo",
        client_id: str = "sandbox",
        client_secret: str = "sandbox",  # noqa: S107 - the sandbox's own
    ) -> None:
        super().__init__(port, base_path=f"/{project}")
        self.token = ""
        self._client_id = client_id
        self._client_secret = client_secret

    def log_in(self, secret: str | None = None, **form: str) -> HttpResponse:
        """Request a token, and use it from now on if one is granted."""
        pair = f"{self._client_id}:{self._client_secret if secret is None else secret}".encode()
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = {"grant_type": "client_credentials", **form}
        response = self.call("POST", "/oauth/token", body=urlencode(form), headers=headers)
        if response.status == http.client.OK:
            self.token = response.json["access_token"]
        return response

    def update(self, path: str, version: int, *actions: Mapping[str, Any]) -> HttpResponse:
        return self.call("POST", path, body={"version": version, "actions": actions})

    def default_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}
