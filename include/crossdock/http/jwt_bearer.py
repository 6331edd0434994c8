"""JSON Web Tokens that we sign: as the bearer token of a call, or as a client assertion at a token endpoint."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import requests
from requests.auth import AuthBase

from crossdock.core.errors import BadRequest

#: Signed with a shared secret, an RSA key or an EC key. No others are allowed, above all not `none`.
ALGORITHMS = ("HS256", "RS256", "ES256")
#: RFC 7518 3.2: the key must be at least as long as the hash.
_HS256_KEY_BYTES = 32
#: Sign a new token this long before the old one expires.
_MARGIN_S = 30.0
#: A token begins this long ago, or a fifth of its life: a server whose clock is behind ours would refuse one of its future.
#: GitHub's documentation advises a minute.
_CLOCK_SKEW_S = 60.0


class JwtSigner:
    """
    Sign claims about this client (RFC 7523 3).

    Args:
        key: The shared secret (HS256), or the private key as PEM text.
        algorithm: One of ALGORITHMS.
        issuer: `iss`: who signs; at a token endpoint the client ID.
        subject: `sub`: on whose behalf; defaults to the issuer.
        key_id: `kid`, if the server knows several of our keys.
        life_s: How long a token is valid, from `iat` to `exp`; keep it to a few minutes, because a token cannot be revoked.

    Raises:
        BadRequest: the key does not fit the algorithm, or the algorithm is not one of ALGORITHMS.

    """

    def __init__(
        self,
        key: str,
        algorithm: str,
        *,
        issuer: str,
        subject: str = "",
        key_id: str | None = None,
        life_s: float = 300.0,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise BadRequest(f"Unsupported JWT algorithm {algorithm!r}. Use one of {', '.join(ALGORITHMS)}")
        if algorithm == "HS256" and len(key.encode()) < _HS256_KEY_BYTES:
            raise BadRequest(f"A secret for HS256 must have at least {_HS256_KEY_BYTES} bytes")
        self._key, self._algorithm, self._life_s = key, algorithm, life_s
        self._skew_s = min(_CLOCK_SKEW_S, life_s / 5)
        #: How long a new token is valid from now.
        self.valid_for_s = life_s - self._skew_s
        self._issuer, self._subject = issuer, subject or issuer
        self._headers = {"kid": key_id} if key_id else None
        self.token(audience="signed at once, so that a wrong key fails here and not in a nightly run")

    def token(self, *, audience: str) -> str:
        """Sign a new token for *audience*, valid since a moment ago; each one has an ID of its own."""
        import jwt  # noqa: PLC0415  loads cryptography, which few integrations need and each worker would pay

        issued_at = int(time.time() - self._skew_s)
        claims = {
            "iss": self._issuer,
            "sub": self._subject,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at + int(self._life_s),
            "jti": str(uuid4()),
        }
        try:
            return jwt.encode(claims, self._key, self._algorithm, headers=self._headers)
        except (jwt.PyJWTError, ValueError, TypeError):
            # No cause: its text may contain the key.
            raise BadRequest(
                f"The key of the connection cannot sign with {self._algorithm}; expected PEM text"
            ) from None


class JwtBearer(AuthBase):
    """Sign requests with our own JWT; reuse it while it is valid."""

    def __init__(self, signer: JwtSigner, *, audience: str) -> None:
        self._signer, self._audience = signer, audience
        self._lock = threading.Lock()
        self._token = ""
        self._valid_until = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            now = time.monotonic()
            if now >= self._valid_until:
                self._token = self._signer.token(audience=self._audience)
                self._valid_until = now + max(self._signer.valid_for_s - _MARGIN_S, self._signer.valid_for_s / 2)
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request
