"""
OAuth 2 client credentials: one token for all threads and workers, renewed before it expires or when refused.

The client authenticates with its secret, a signed assertion (RFC 7523) or its certificate.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import requests
from requests.auth import AuthBase, HTTPBasicAuth

from crossdock.core.errors import AccessRefused, SystemRefused, SystemUnavailable
from crossdock.http.client import HttpClient
from crossdock.http.deadline import current_deadline
from crossdock.http.jwt_bearer import JwtSigner
from crossdock.http.model import Token, TokenVault
from crossdock.http.response import HttpResponse

#: A token is not used in its last seconds: it may expire in transit.
_MARGIN_S = 30.0
#: How long a token is used whose answer does not say how long it lives: `expires_in` is only recommended (RFC 6749 5.1).
#: A server that ends it earlier answers 401, and it is renewed.
_UNSAID_S = 300.0
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Grant(msgspec.Struct, frozen=True):
    #: Visible ASCII (RFC 6749 A.12): anything else could inject a header, or cause an error that shows the token.
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+\Z")]
    #: A number in a text, too: Azure AD and Apigee write "3600".
    expires_in: float | str | None = None

    @property
    def lives_s(self) -> float:
        """
        Read how long the token lives.

        Raises:
            ValueError: the text is not a number of seconds.

        """
        if self.expires_in is None or self.expires_in == "":
            return _UNSAID_S
        seconds = float(self.expires_in)
        if not math.isfinite(seconds):
            raise ValueError(self.expires_in)
        return seconds


#: Made once: several threads sign in, see `core.decoding`.
_decode_grant = msgspec.json.Decoder(_Grant).decode


class ClientCredentials(AuthBase):
    """
    Sign requests with a bearer token; fetch it when needed (RFC 6749 4.4).

    Args:
        token_client: A client without authentication whose base URL is the authorisation server.
        secret: Empty if *assertion* or a certificate of *token_client* authenticates the client.
        assertion: Signs a JWT for each token request instead of the secret (RFC 7523 2.2).
        vault: Where the workers share their token; None keeps one token per process.

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
        self._valid_until = 0.0

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self._secret,) if self._secret else ()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._current()}"
        return request

    def renew(self, refused: requests.PreparedRequest) -> None:
        """Discard the token of the *refused* request, unless another thread has already replaced it."""
        with self._exclusive():
            if refused.headers.get("Authorization") == f"Bearer {self._token}":
                self._refused, self._token = self._token, None

    def _current(self) -> str:
        with self._exclusive():
            if self._token is None or time.monotonic() >= self._valid_until:
                requested_at = time.monotonic()
                token = self._shared() if self._vault else self._fetch()
                self._valid_until = requested_at + token.valid_for_s
                self._token, self._refused = token.text, None
            return self._token

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one thread fetch while the others wait, each no longer than its own deadline."""
        deadline = current_deadline()
        if not self._lock.acquire(timeout=deadline.left_s if deadline else -1):
            raise SystemUnavailable(self._client.system, "no token in time: another call is still waiting for one")
        try:
            yield
        finally:
            self._lock.release()

    def _shared(self) -> Token:
        assert self._vault is not None  # noqa: S101  the caller checked it
        deadline = current_deadline()
        name = f"{self._client.system} {self._client.base_url}{self._path} {self._client_id} {self._scope}"
        longest_wait_s = deadline.left_s if deadline else self._client.limits.timeout_s
        return self._vault.token(name, self._secret, self._fetch, refused=self._refused, longest_wait_s=longest_wait_s)

    def _fetch(self) -> Token:
        form = {"grant_type": "client_credentials", "scope": self._scope}
        try:
            return self._client.post_form(self._path, form | self._authentication(), self._basic(), _token_of)
        except SystemRefused as refused:
            # With HTTP 400 for most reasons (RFC 6749 5.2). Without a token, no call of this system is made.
            raise AccessRefused(refused.system, refused.status, refused.message) from refused

    def _authentication(self) -> dict[str, str]:
        if self._assertion is not None:
            audience = self._client.base_url + self._path
            signed = self._assertion.token(audience=audience)
            return {"client_id": self._client_id, "client_assertion_type": _ASSERTION_TYPE, "client_assertion": signed}
        return {} if self._secret else {"client_id": self._client_id}

    def _basic(self) -> HTTPBasicAuth | None:
        # Pass bytes: text that is not Latin-1 would fail with an error that shows the secret.
        return HTTPBasicAuth(self._client_id.encode(), self._secret.encode()) if self._secret else None


def _token_of(response: HttpResponse) -> Token:
    try:
        grant = _decode_grant(response.body)
        lives_s = grant.lives_s
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise response.invalid("is not a token") from error
    return Token(grant.access_token, max(lives_s - _MARGIN_S, lives_s / 2))
