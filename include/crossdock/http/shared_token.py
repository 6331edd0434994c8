"""One bearer token for all workers: one worker fetches it, stores it encrypted, and the others read it."""

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

_SAVE = b"""
INSERT INTO shared_token (name, ciphertext) VALUES (%(name)s, %(ciphertext)s)
ON CONFLICT (name) DO UPDATE SET ciphertext = excluded.ciphertext, fetched_at = clock_timestamp()
"""

_NOW = b"SELECT extract(epoch FROM clock_timestamp())::float8"

#: A session lock, not a transaction lock: a transaction left open while a slow server responds would hold back every
#: event consumer. It ends with its worker at the latest.
_LOCK = b"SELECT pg_try_advisory_lock(hashtextextended('shared_token:' || %(name)s, 0))"
_UNLOCK = b"SELECT pg_advisory_unlock(hashtextextended('shared_token:' || %(name)s, 0))"

_POLL_S = 0.05


class Cipher(Protocol):
    """Fernet's two functions: authenticated encryption, so that a changed ciphertext is detected."""

    def encrypt(self, data: bytes) -> bytes: ...

    def decrypt(self, token: bytes) -> bytes: ...


class _StoredToken(msgspec.Struct, frozen=True):
    """The content of the ciphertext."""

    #: Hash of name and secret: a row copied under another name, or fetched with another secret, is not used.
    belongs_to: str
    token: str
    #: By the database's clock.
    valid_until: float = msgspec.field(name="good_until")


#: Made once: several threads read it, see `core.decoding`.
_decode_token = msgspec.json.Decoder(_StoredToken).decode


class SharedTokens:
    """
    A `TokenVault` over PostgreSQL.

    Args:
        store: A connection that threads may share.
        cipher: Encrypts with the deployment's key. The database never sees a token.

    """

    def __init__(self, store: Store, cipher: Cipher) -> None:
        self._store, self._cipher = store, cipher
        # Advisory locks of one session do not exclude each other, so the threads need a lock of their own.
        self._lock = threading.Lock()

    def token(
        self, name: str, secret: str, fetch: Callable[[], Token], *, refused: str | None, longest_wait_s: float
    ) -> Token:
        """Read the stored token, or fetch and store a new one."""
        belongs_to = hashlib.sha256(f"{name}\0{secret}".encode()).hexdigest()
        if found := self._find(name, belongs_to, refused):
            return found
        with self._exclusive(name, time.monotonic() + longest_wait_s):
            # Another worker may have fetched it while we waited.
            if found := self._find(name, belongs_to, refused):
                return found
            token = fetch()
            self._save(name, belongs_to, token)
            return token

    def _find(self, name: str, belongs_to: str, refused: str | None) -> Token | None:
        with self._store.transaction() as work:
            row = work.execute(_READ, {"name": name}).fetchone()
        stored = self._decrypt(row[0]) if row else None
        if row is None or stored is None or stored.belongs_to != belongs_to or stored.token == refused:
            return None
        valid_for_s = stored.valid_until - row[1]
        return Token(stored.token, valid_for_s) if valid_for_s > 0 else None

    def _decrypt(self, ciphertext: bytes) -> _StoredToken | None:
        """Decrypt a stored token; None if the key or the row was changed, so that a new token is fetched."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  needed only where tokens are shared

        try:
            return _decode_token(self._cipher.decrypt(ciphertext))
        except (InvalidToken, msgspec.DecodeError):
            return None

    def _save(self, name: str, belongs_to: str, token: Token) -> None:
        with self._store.transaction() as work:
            now = work.execute(_NOW).fetchone()
            valid_until = (now[0] if now else 0.0) + token.valid_for_s
            ciphertext = self._cipher.encrypt(msgspec.json.encode(_StoredToken(belongs_to, token.text, valid_until)))
            work.execute(_SAVE, {"name": name, "ciphertext": ciphertext})

    @contextmanager
    def _exclusive(self, name: str, latest: float) -> Iterator[None]:
        """Let only one worker fetch *name* at a time."""
        if not self._lock.acquire(timeout=max(latest - time.monotonic(), 0.0)):
            raise _still_waiting(name)
        try:
            while not self._advisory_lock(_LOCK, name):
                if time.monotonic() + _POLL_S > latest:
                    raise _still_waiting(name)
                time.sleep(_POLL_S)
            try:
                yield
            finally:
                self._advisory_lock(_UNLOCK, name)
        finally:
            self._lock.release()

    def _advisory_lock(self, statement: bytes, name: str) -> bool:
        with self._store.transaction() as work:
            row = work.execute(statement, {"name": name}).fetchone()
        return bool(row and row[0])


def _still_waiting(name: str) -> SystemUnavailable:
    return SystemUnavailable(name.partition(" ")[0], "no token in time: another worker is still waiting for one")
