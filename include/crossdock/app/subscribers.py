"""
Who reacts to what: HANDLERS is the one list of subscribers.

Adding one is a module `<verb>_<object>.py` here and a line in HANDLERS; whoever publishes is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crossdock.app import on_webhook_received as pull_changed_record
from crossdock.commerce.inventory import subscribers as keep_availability
from crossdock.db.database import Work
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED, Event
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


HANDLERS: Mapping[str, Subscriber] = {
    "availability": Subscriber(types=(STOCK_CHANGED,), apply=keep_availability.apply),
    "changed_record": Subscriber(
        types=(WEBHOOK_RECEIVED,), apply_elsewhere=pull_changed_record.apply, attempts=8, first_wait_s=0.5
    ),
}
