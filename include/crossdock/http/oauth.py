"""
OAuth 2 client credentials: one token for all threads and workers, renewed before it runs out or when refused.

The client proves itself with its secret, or with an assertion that it signs (RFC 7523), or with its certificate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import requests
from requests.auth import AuthBase, HTTPBasicAuth

from crossdock.core.errors import SystemUnavailable
from crossdock.http.client import HttpClient
from crossdock.http.deadline import current_deadline
from crossdock.http.jwt_bearer import JwtSigner
from crossdock.http.model import Token, TokenVault
from crossdock.http.response import Answer

#: A token is not used in its last seconds: it may run out on its way.
_MARGIN_S = 30.0
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Grant(msgspec.Struct, frozen=True):
    #: Visible ASCII (RFC 6749 A.12): anything else would write headers of its own, or be refused with the token shown.
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+\Z")]
    expires_in: float


class ClientCredentials(AuthBase):
    """
    Signs requests with a bearer token that it fetches when needed (RFC 6749 4.4).

    Args:
        token_client: A client without authentication whose base URL is the authorisation server.
        secret: Empty where *assertion* or a certificate of *token_client* proves who we are.
        assertion: Signs a JWT for each token request in place of the secret (RFC 7523 2.2).
        vault: Where the workers share their token; None for one a process.

    """

    def __init__(
        self,
        token_client: HttpClient,
        token_path: str,
        *,
        client_id: str,
        secret: str = "",
        scope: str = "",
        assertion: JwtSigner | None = None,
        vault: TokenVault | None = None,
    ) -> None:
        self._client = token_client
        self._path = token_path
        self._client_id, self._secret, self._scope = client_id, secret, scope
        self._assertion = assertion
        self._vault = vault
        self._lock = threading.Lock()
        self._token: str | None = None
        self._refused: str | None = None
        self._good_until = 0.0

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self._secret,) if self._secret else ()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._current()}"
        return request

    def renew(self, refused: requests.PreparedRequest) -> None:
        """Forgets the token that *refused* carried, unless another thread has put a new one in its place."""
        with self._alone():
            if refused.headers.get("Authorization") == f"Bearer {self._token}":
                self._refused, self._token = self._token, None

    def _current(self) -> str:
        with self._alone():
            if self._token is None or time.monotonic() >= self._good_until:
                requested_at = time.monotonic()
                token = self._shared() if self._vault else self._fetch()
                self._good_until = requested_at + token.good_for_s
                self._token, self._refused = token.text, None
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

    def _shared(self) -> Token:
        assert self._vault is not None, "asked for only where there is one"  # noqa: S101
        deadline = current_deadline()
        name = f"{self._client.system} {self._client.base_url}{self._path} {self._client_id} {self._scope}"
        longest_wait_s = deadline.left_s if deadline else self._client.limits.timeout_s
        return self._vault.token(name, self._secret, self._fetch, refused=self._refused, longest_wait_s=longest_wait_s)

    def _fetch(self) -> Token:
        form = {"grant_type": "client_credentials", "scope": self._scope}
        grant = self._client.post_form(self._path, form | self._proof(), self._basic(), self._parse)
        return Token(grant.access_token, max(grant.expires_in - _MARGIN_S, grant.expires_in / 2))

    def _proof(self) -> dict[str, str]:
        if self._assertion is not None:
            audience = self._client.base_url + self._path
            signed = self._assertion.token(audience=audience)
            return {"client_id": self._client_id, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": signed}
        return {} if self._secret else {"client_id": self._client_id}

    def _basic(self) -> HTTPBasicAuth | None:
        # As bytes: text that is not Latin-1 fails with an error that shows all of it.
        return HTTPBasicAuth(self._client_id.encode(), self._secret.encode()) if self._secret else None

    def _parse(self, answer: Answer) -> _Grant:
        try:
            return msgspec.json.decode(answer.body, type=_Grant)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise answer.invalid("is not a token") from error
