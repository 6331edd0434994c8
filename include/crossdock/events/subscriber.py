"""A subscriber: one function that reacts to events, with its own consumers, failures and retry settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdock.db.database import Work
from crossdock.events.model import Event

#: Applies events, in order, in the transaction that records them in the inbox. It must tolerate receiving an older event
#: after a newer one. An exception is the failure of one event: the consumer finds out which.
Apply = Callable[[Work, Sequence[Event]], None]

#: Carries out an external side effect, outside the hub's database. It runs before the inbox row is written, so it may run
#: twice and must be idempotent. Each call has events of one source. A Transient means an outage of the source: all its
#: events wait, and no attempt is counted. The services that it needs are bound to it beforehand, where the process is put
#: together; the engine passes events only.
Deliver = Callable[[Sequence[Event]], None]


@dataclass(frozen=True)
class Subscriber:
    """One reaction to events, with its own cursors, failures and retry settings."""

    #: The event types that it receives.
    types: tuple[str, ...]
    #: Exactly one of the two: an effect in the hub's database, or an external side effect.
    apply: Apply | None = None
    deliver: Deliver | None = None
    #: A newer event has the whole state of its subject: its success supersedes the dead letters of older ones.
    newer_replaces_older: bool = True
    #: Attempts before an event becomes a dead letter, and the backoff after the first one, which doubles.
    attempts: int = 5
    first_wait_s: float = 1.0
    #: Seconds that one call may take for a batch. A call that takes longer hangs: its thread is abandoned, and another
    #: consumer retries its events, which counts as an attempt.
    effect_timeout_s: float = 60.0
