"""OAuth 2 client credentials: one token for all threads of a process, renewed before it runs out or when refused."""

from __future__ import annotations

import threading
import time

import msgspec
import requests
from requests.auth import AuthBase, HTTPBasicAuth

from include.connectors.http import Answer, HttpClient
from include.model.errors import SourceInvalid

#: A token is not used in its last seconds: it may run out on its way.
_MARGIN_S = 30.0


class _Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float


class ClientCredentials(AuthBase):
    """
    Signs requests with a bearer token that it fetches when needed (RFC 6749 4.4).

    Args:
        token_client: A client without authentication whose base URL is the authorisation server.

    """

    def __init__(self, token_client: HttpClient, token_path: str, *, client_id: str, secret: str, scope: str) -> None:
        self._client = token_client
        self._path = token_path
        self._credentials = HTTPBasicAuth(client_id, secret)
        self._scope = scope
        self._lock = threading.Lock()
        self._token: str | None = None
        self._good_until = 0.0
        self._fetched_at = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._current()}"
        return request

    def renew(self) -> None:
        """Forgets a token that was refused, unless another thread fetched a new one in this second."""
        with self._lock:
            if time.monotonic() - self._fetched_at > 1.0:
                self._token = None

    def _current(self) -> str:
        with self._lock:
            if self._token is None or time.monotonic() >= self._good_until:
                self._token = self._fetch()
            return self._token

    def _fetch(self) -> str:
        form = {"grant_type": "client_credentials", "scope": self._scope}
        token = self._client.post_form(self._path, form, self._credentials, self._parse)
        self._fetched_at = time.monotonic()
        self._good_until = self._fetched_at + max(token.expires_in - _MARGIN_S, token.expires_in / 2)
        return token.access_token

    def _parse(self, answer: Answer) -> _Token:
        try:
            return msgspec.json.decode(answer.body, type=_Token)
        except msgspec.DecodeError as error:
            raise SourceInvalid(self._client.system, answer.what, answer.status, "is not a token") from error
