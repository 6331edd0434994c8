"""One bearer token for all workers: fetched by one of them, kept as ciphertext, read by the others."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from crossdock.core.errors import SystemUnavailable
from crossdock.db.database import Store
from crossdock.http.model import Token

_READ = b"SELECT ciphertext, extract(epoch FROM clock_timestamp())::float8 FROM shared_token WHERE name = %(name)s"

_KEEP = b"""
INSERT INTO shared_token (name, ciphertext) VALUES (%(name)s, %(ciphertext)s)
ON CONFLICT (name) DO UPDATE SET ciphertext = excluded.ciphertext, fetched_at = clock_timestamp()
"""

_NOW = b"SELECT extract(epoch FROM clock_timestamp())::float8"

#: The session's, not the transaction's: a transaction that stays open while a slow host thinks would hold back every
#: reader of events. It ends with the worker that has it, at the latest.
_LOCK = b"SELECT pg_try_advisory_lock(hashtextextended('shared_token:' || %(name)s, 0))"
_UNLOCK = b"SELECT pg_advisory_unlock(hashtextextended('shared_token:' || %(name)s, 0))"

_AGAIN_S = 0.05


class Cipher(Protocol):
    """Fernet's two functions: authenticated, so that what comes out is what went in."""

    def encrypt(self, data: bytes) -> bytes: ...

    def decrypt(self, token: bytes) -> bytes: ...


class _Kept(msgspec.Struct, frozen=True):
    """What the ciphertext holds."""

    #: Of the name and the secret: a row that was copied under another name, or fetched with another secret, is not used.
    belongs_to: str
    token: str
    #: By the database's clock.
    good_until: float


class SharedTokens:
    """
    A `TokenVault` over PostgreSQL.

    Args:
        store: A connection that threads may share.
        cipher: Of the deployment's key. The database never sees a token.

    """

    def __init__(self, store: Store, cipher: Cipher) -> None:
        self._store, self._cipher = store, cipher
        # Locks of one session do not exclude one another.
        self._lock = threading.Lock()

    def token(
        self, name: str, secret: str, fetch: Callable[[], Token], *, refused: str | None, longest_wait_s: float
    ) -> Token:
        belongs_to = hashlib.sha256(f"{name}\0{secret}".encode()).hexdigest()
        if kept := self._kept(name, belongs_to, refused):
            return kept
        with self._alone(name, time.monotonic() + longest_wait_s):
            # Another worker may have fetched it while we waited.
            if kept := self._kept(name, belongs_to, refused):
                return kept
            token = fetch()
            self._keep(name, belongs_to, token)
            return token

    def _kept(self, name: str, belongs_to: str, refused: str | None) -> Token | None:
        with self._store.transaction() as work:
            row = work.execute(_READ, {"name": name}).fetchone()
        kept = self._opened(row[0]) if row else None
        if row is None or kept is None or kept.belongs_to != belongs_to or kept.token == refused:
            return None
        good_for_s = kept.good_until - row[1]
        return Token(kept.token, good_for_s) if good_for_s > 0 else None

    def _opened(self, ciphertext: bytes) -> _Kept | None:
        """None where the key is another one, or the row was changed: then a token is fetched as if there were none."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  with the cipher, only where tokens are shared

        try:
            return msgspec.json.decode(self._cipher.decrypt(ciphertext), type=_Kept)
        except (InvalidToken, msgspec.DecodeError):
            return None

    def _keep(self, name: str, belongs_to: str, token: Token) -> None:
        with self._store.transaction() as work:
            now = work.execute(_NOW).fetchone()
            good_until = (now[0] if now else 0.0) + token.good_for_s
            ciphertext = self._cipher.encrypt(msgspec.json.encode(_Kept(belongs_to, token.text, good_until)))
            work.execute(_KEEP, {"name": name, "ciphertext": ciphertext})

    @contextmanager
    def _alone(self, name: str, latest: float) -> Iterator[None]:
        """The one worker that fetches *name*."""
        if not self._lock.acquire(timeout=max(latest - time.monotonic(), 0.0)):
            raise _still_waiting(name)
        try:
            while not self._locked(_LOCK, name):
                if time.monotonic() + _AGAIN_S > latest:
                    raise _still_waiting(name)
                time.sleep(_AGAIN_S)
            try:
                yield
            finally:
                self._locked(_UNLOCK, name)
        finally:
            self._lock.release()

    def _locked(self, statement: bytes, name: str) -> bool:
        with self._store.transaction() as work:
            row = work.execute(statement, {"name": name}).fetchone()
        return bool(row and row[0])


def _still_waiting(name: str) -> SystemUnavailable:
    return SystemUnavailable(name.partition(" ")[0], "no token in time: another worker is still waiting for one")
