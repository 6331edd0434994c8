"""OAuth 2 client credentials: one token for all threads of a process, renewed before it runs out or when refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import requests
from requests.auth import AuthBase, HTTPBasicAuth

from include.connectors.answers import Answer
from include.connectors.deadline import current_deadline
from include.connectors.http import HttpClient
from include.model.errors import SystemUnavailable

#: A token is not used in its last seconds: it may run out on its way.
_MARGIN_S = 30.0


class _Token(msgspec.Struct, frozen=True):
    #: Visible ASCII (RFC 6749 A.12): anything else would write headers of its own, or be refused with the token shown.
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+\Z")]
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
        # As bytes: text that is not Latin-1 fails with an error that shows all of it.
        self._credentials = HTTPBasicAuth(client_id.encode(), secret.encode())
        self._scope = scope
        self._lock = threading.Lock()
        self._token: str | None = None
        self._good_until = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._current()}"
        return request

    def renew(self, refused: requests.PreparedRequest) -> None:
        """Forgets the token that *refused* carried, unless another thread has put a new one in its place."""
        with self._alone():
            if refused.headers.get("Authorization") == f"Bearer {self._token}":
                self._token = None

    def _current(self) -> str:
        with self._alone():
            if self._token is None or time.monotonic() >= self._good_until:
                self._token = self._fetch()
            return self._token

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time, so that one fetches and the others wait, each no longer than its own call may take."""
        deadline = current_deadline()
        if not self._lock.acquire(timeout=deadline.left_s if deadline else -1):
            raise SystemUnavailable(self._client.system, "no token in time: another call is still waiting for one")
        try:
            yield
        finally:
            self._lock.release()

    def _fetch(self) -> str:
        form = {"grant_type": "client_credentials", "scope": self._scope}
        asked_at = time.monotonic()
        token = self._client.post_form(self._path, form, self._credentials, self._parse)
        self._good_until = asked_at + max(token.expires_in - _MARGIN_S, token.expires_in / 2)
        return token.access_token

    def _parse(self, answer: Answer) -> _Token:
        try:
            return msgspec.json.decode(answer.body, type=_Token)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise answer.invalid("is not a token") from error
