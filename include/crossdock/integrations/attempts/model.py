"""Attempts: the calls that write, as the attempt log keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from crossdock.core.errors import Conflict
from crossdock.http.model import KeyRules, WriteMethod, checked_key


class Outcome(StrEnum):
    """The outcome of an attempt."""

    #: The request may be on its way now. When its time is over without an outcome, it reads as unknown.
    OPEN = "open"
    DONE = "done"
    #: The system refused the request: no effect.
    REFUSED = "refused"
    #: The request certainly did not arrive: no effect.
    FAILED = "failed"
    #: The request may have had its effect.
    UNKNOWN = "unknown"


class Resolution(StrEnum):
    """The way in which an unknown outcome became known."""

    REPLAYED_KEY = "replayed_key"
    LIST = "list"
    GET = "get"
    WEBHOOK = "webhook"
    PERSON = "person"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call that writes, with all its retries. It has a digest of its request, and nothing of the content."""

    attempt_id: int
    integration: str
    #: What the call does there, in the connector's words: `capture`.
    action: str
    key: str
    request_digest: bytes
    #: When the first request was sent that may have had the effect; the key's window counts from here.
    sent_at: datetime
    #: The time since then, by the database's clock, when the attempt was read.
    age: timedelta
    outcome: Outcome
    #: When the outcome became known; None while it is open or unknown.
    known_at: datetime | None
    #: None for an outcome that was known when the call ended.
    resolution: Resolution | None
    #: Whether a person decides if nobody else finds out. Of a step of an execution, the step asks.
    asks_person: bool = False


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A call that writes, and the key that identifies its effect."""

    integration: str
    action: str
    #: The same for each repetition of this effect, and of no other; 1 to 64 visible ASCII characters.
    key: str
    method: WriteMethod
    path: str
    body: Any = None
    #: Whether the body is a flat mapping of texts, sent as a form.
    form: bool = False
    query: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}
    #: How the system treats the key. None for one that knows no keys: it is not sent there, and identifies the attempt only.
    key_rules: KeyRules | None = None

    def __post_init__(self) -> None:
        checked_key(self.key)

    @property
    def digest(self) -> bytes:
        """SHA-256 of what the system would receive, whatever the order of the fields."""
        request: tuple[Any, ...] = (self.action, self.method, self.path, self.query, self.body)
        if self.headers:  # not of a call without any: its digest is in the log already
            request += (self.headers,)
        return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).digest()


class KeyReused(Conflict):
    """The key belongs to another request: a defect of the caller, whose key does not name one effect."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(
            f"{attempt.integration}: the key {attempt.key!r} was used for another {attempt.action!r} request. "
            "Nothing was sent; use a key of its own for each effect"
        )


class AlreadyDone(Conflict):
    """The call was made before and succeeded, and its answer cannot be had again: the system does not replay it now."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        super().__init__(
            f"{attempt.integration}: {attempt.action!r} with the key {attempt.key!r} was done on "
            f"{attempt.sent_at:%Y-%m-%d %H:%M:%S} UTC, and its answer is not available. Read the result from the system"
        )
