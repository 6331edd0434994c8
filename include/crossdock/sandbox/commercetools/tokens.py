"""The authorisation server: client credentials in, bearer tokens out."""

import base64
import binascii
import hmac
import secrets
import threading
import time
from urllib.parse import parse_qs

from crossdock.sandbox.commercetools.problems import VendorError
from crossdock.sandbox.engine.messages import Request, Response, json_response

_TWO_DAYS_S = 172_800


class Tokens:
    """The tokens of one project. Thread-safe."""

    def __init__(self, project: str, client_id: str, client_secret: str) -> None:
        #: How long the next token is valid; tokens that were issued before keep their expiry.
        self.life_s: float = _TWO_DAYS_S
        self._project = project
        self._client = f"{client_id}:{client_secret}".encode()
        self._lock = threading.Lock()
        self._expiries: dict[str, float] = {}
        self._scopes: dict[str, frozenset[str]] = {}

    def grant(self, request: Request) -> Response:
        """
        Answer a token request.

        Raises:
            VendorError: 401 invalid_client, or 400 for an unknown grant or scope.

        """
        if not hmac.compare_digest(_basic(request.headers.get("authorization", "")), self._client):
            raise VendorError.oauth(
                401, "invalid_client", "Please provide valid client credentials using HTTP Basic Authentication."
            )
        form = parse_qs(request.body.decode("latin-1"))
        if form.get("grant_type") != ["client_credentials"]:
            raise VendorError.oauth(400, "unsupported_grant_type", "The grant_type must be client_credentials.")
        scope = form.get("scope", [f"manage_project:{self._project}"])[0]
        if any(not part.endswith(f":{self._project}") for part in scope.split()):
            raise VendorError.oauth(400, "invalid_scope", f"Unknown scope in '{scope}'.")
        token = self._issue(frozenset(scope.split()))
        return json_response(
            200,
            {"access_token": token, "expires_in": int(self.life_s), "scope": scope, "token_type": "Bearer"},
        )

    def check(self, request: Request) -> frozenset[str]:
        """
        Check the token of a request, and return its scopes.

        Raises:
            VendorError: 401, the request has no valid token.

        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            expiry = self._expiries.get(token.strip(), 0.0)
            scopes = self._scopes.get(token.strip(), frozenset())
        if scheme.lower() != "bearer" or expiry <= time.monotonic():
            raise VendorError.oauth(401, "invalid_token", "invalid_token")
        return scopes

    def revoke_all(self) -> int:
        """Revoke all tokens; returns how many were valid."""
        with self._lock:
            alive = self._alive()
            self._expiries.clear()
            return alive

    def alive(self) -> int:
        with self._lock:
            return self._alive()

    def _alive(self) -> int:
        now = time.monotonic()
        return sum(expiry > now for expiry in self._expiries.values())

    def _issue(self, scopes: frozenset[str]) -> str:
        token, now = secrets.token_urlsafe(24), time.monotonic()
        with self._lock:
            self._expiries = {old: expiry for old, expiry in self._expiries.items() if expiry > now}
            self._scopes = {old: self._scopes[old] for old in self._expiries} | {token: scopes}
            self._expiries[token] = now + self.life_s
        return token


def _basic(header: str) -> bytes:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
