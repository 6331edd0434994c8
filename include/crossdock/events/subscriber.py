"""A subscriber: one reaction to events, with its own consumers, failures and pace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdock.db.database import Work
from crossdock.events.model import Event
from crossdock.events.ports import KeyPuller

#: Does what a subscriber does with *events*, in order, in the transaction that notes them as had. It must not mind
#: an older event after a newer one. Any exception is the failure of one of them: the reader finds out of which.
Apply = Callable[[Work, Sequence[Event]], None]

#: The same for an effect that is not in the hub's database: it comes before the inbox row, so it may come twice. Events of
#: one source a call. A Transient says that the source is out: then all its events wait, and no try is counted.
ApplyElsewhere = Callable[[KeyPuller, Sequence[Event]], None]


@dataclass(frozen=True)
class Subscriber:
    """One reaction, with its own place in the store, its own failures and its own pace."""

    #: The types it hears.
    types: tuple[str, ...]
    #: One of the two.
    apply: Apply | None = None
    apply_elsewhere: ApplyElsewhere | None = None
    #: A newer event tells all that an older one of the same subject told: then its success closes the older's letter.
    newer_replaces_older: bool = True
    #: Tries before an event becomes a dead letter, and the wait after the first, which doubles.
    attempts: int = 5
    first_wait_s: float = 1.0
    #: Seconds that one call may take, all of a batch. Longer, and it hangs: its events are tried again by others, which
    #: counts, and its thread is left behind.
    effect_timeout_s: float = 60.0
