"""JSON Web Tokens that we sign ourselves: as the bearer token of a call, or as our proof at a token endpoint."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import jwt
import requests
from requests.auth import AuthBase

from crossdock.core.errors import BadRequest

#: Signed with a shared secret, an RSA key or an EC key. No others: `none` least of all.
ALGORITHMS = ("HS256", "RS256", "ES256")
#: RFC 7518 3.2: a key at least as long as the hash.
_HS256_KEY_BYTES = 32
#: A token is signed anew in its last seconds.
_MARGIN_S = 30.0


class JwtSigner:
    """
    Signs claims about us (RFC 7523 3).

    Args:
        key: The shared secret (HS256), or the private key as PEM text.
        algorithm: One of ALGORITHMS.
        issuer: `iss`: who signs; at a token endpoint the client's id.
        subject: `sub`: for whom; the issuer where it is empty.
        key_id: `kid`, where the other side knows several of our keys.
        life_s: How long a token is good; a few minutes at most, since nobody can take it back.

    Raises:
        BadRequest: the key does not fit the algorithm, or the algorithm is none of ours.

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
            raise BadRequest(f"A JWT is signed with one of {', '.join(ALGORITHMS)}, not with {algorithm!r}")
        if algorithm == "HS256" and len(key.encode()) < _HS256_KEY_BYTES:
            raise BadRequest(f"A secret for HS256 has at least {_HS256_KEY_BYTES} bytes")
        self._key, self._algorithm, self.life_s = key, algorithm, life_s
        self._issuer, self._subject = issuer, subject or issuer
        self._headers = {"kid": key_id} if key_id else None
        self.token(audience="tried at once: a wrong key is told of here, not in the night")

    def token(self, *, audience: str) -> str:
        """A new token for *audience*, good from now on; no two are alike."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "sub": self._subject,
            "aud": audience,
            "iat": now,
            "exp": now + int(self.life_s),
            "jti": str(uuid4()),
        }
        try:
            return jwt.encode(claims, self._key, self._algorithm, headers=self._headers)
        except (jwt.PyJWTError, ValueError, TypeError):
            # Without its cause: what could not be read is the key.
            raise BadRequest(
                f"The key of the connection cannot sign with {self._algorithm}; expected PEM text"
            ) from None


class JwtBearer(AuthBase):
    """Signs requests with a JWT of our own, the same for as long as it is good."""

    def __init__(self, signer: JwtSigner, *, audience: str) -> None:
        self._signer, self._audience = signer, audience
        self._lock = threading.Lock()
        self._token = ""
        self._good_until = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            now = time.monotonic()
            if now >= self._good_until:
                self._token = self._signer.token(audience=self._audience)
                self._good_until = now + max(self._signer.life_s - _MARGIN_S, self._signer.life_s / 2)
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request
