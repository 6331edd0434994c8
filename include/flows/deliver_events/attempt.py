"""One try at delivering events to one subscriber, in the caller's transaction, and what failed of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import psycopg

from include.handlers import Subscriber
from include.model.errors import HubError, IntegrationPaused, Terminal
from include.model.event_contracts import upcast
from include.model.events import Event
from include.model.outside import KeyPuller
from include.store import event_inbox
from include.store.database import Work
from include.store.failed_deliveries import Failure

#: Not the event's fault: the connection is gone, the server is stopping, another transaction was in the way.
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError)


class SubscriberUnable(Terminal):
    """A defect of ours: a subscriber's port is not wired."""


@dataclass(frozen=True)
class Recipient:
    """A subscriber under its name, and what its reaction may need."""

    name: str
    subscriber: Subscriber
    puller: KeyPuller | None = None


class Verdict(Enum):
    """What a failure means for the next try."""

    #: Tried again, until the tries are used up.
    PASSING = auto()
    #: A person has to look.
    FINAL = auto()
    #: Somebody wants it to wait: tried again for as long as that takes, and no try is counted.
    POSTPONED = auto()


@dataclass
class Outcome:
    """What became of the events of a try."""

    delivered: list[Event] = field(default_factory=list)
    failed: list[tuple[Event, Failure, Verdict]] = field(default_factory=list)
    #: Of a key whose earlier event failed in this try.
    behind: list[Event] = field(default_factory=list)


class BatchFailed(Exception):
    """One of the events of a batch failed; nothing of it may be committed, and nobody knows yet which."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def at_once(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    """
    *events* with their effects and inbox rows, the way it nearly always goes: no savepoint, no second look.

    Raises:
        BatchFailed: roll back and `attempt` it.
        psycopg.OperationalError: the database was in the way, not an event.

    """
    try:
        _have_effect_once(work, recipient, events)
    except _PASSING:
        raise
    except Exception as error:
        raise BatchFailed(error) from error
    return Outcome(delivered=list(events))


def attempt(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    """
    *events*, in order, each with its effect and its inbox row or with neither.

    Each half by itself where the whole fails, and so on: one that cannot be delivered among a thousand
    costs ten more statements, not a thousand.

    Raises:
        psycopg.OperationalError: the database was in the way, not an event; nothing may be committed.

    """
    outcome = Outcome()
    _deliver(work, recipient, events, outcome)
    return outcome


def _deliver(work: Work, recipient: Recipient, events: Sequence[Event], outcome: Outcome) -> None:
    ready = _not_behind(events, outcome)
    if not ready:
        return
    try:
        with work.transaction():
            _have_effect_once(work, recipient, ready)
    except _PASSING:
        raise
    except Exception as error:  # noqa: BLE001  a handler may raise anything, and must stop nobody else
        if len(ready) == 1:
            outcome.failed.append(_blamed(ready[0], error))
            return
        half = len(ready) // 2
        _deliver(work, recipient, ready[:half], outcome)
        _deliver(work, recipient, ready[half:], outcome)
    else:
        outcome.delivered += ready


def _have_effect_once(work: Work, recipient: Recipient, events: Sequence[Event]) -> None:
    """
    The effect and its inbox rows, at one commit. Who has had an event before has no second effect of it.

    An effect elsewhere comes first, before this transaction has written anything: it may take long, and
    an open write transaction would keep every reader waiting. It may then come twice, and must not mind.
    """
    if recipient.subscriber.apply_elsewhere:
        fresh = event_inbox.unseen(work, recipient.name, events)
        if fresh:
            have_effect(work, recipient, fresh)
        event_inbox.add(work, recipient.name, fresh)
    else:
        fresh = event_inbox.add(work, recipient.name, events)
        if fresh:
            have_effect(work, recipient, fresh)


def have_effect(work: Work, recipient: Recipient, events: Sequence[Event]) -> None:
    """The subscriber's reaction to *events*, in their newest version, whatever the inbox has."""
    current = [upcast(event) for event in events]
    subscriber = recipient.subscriber
    if subscriber.apply is not None:
        subscriber.apply(work, current)
    elif subscriber.apply_elsewhere is not None and recipient.puller is not None:
        subscriber.apply_elsewhere(recipient.puller, current)
    else:
        raise SubscriberUnable("This subscriber needs what this worker was not given")


def blaming(failed: BatchFailed) -> Callable[[Work, Recipient, Sequence[Event]], Outcome]:
    """For a batch of one that failed: it need not be tried again to know which it was."""

    def blame(_: Work, __: Recipient, events: Sequence[Event]) -> Outcome:
        return Outcome(failed=[_blamed(event, failed.error) for event in events])

    return blame


def _blamed(event: Event, error: Exception) -> tuple[Event, Failure, Verdict]:
    return event, failure_of(error), _verdict(error)


def _verdict(error: Exception) -> Verdict:
    # A Terminal too, for whoever asks for a sync; an event can wait until the integration is resumed.
    if isinstance(error, IntegrationPaused):
        return Verdict.POSTPONED
    return Verdict.FINAL if isinstance(error, Terminal) else Verdict.PASSING


def _not_behind(events: Sequence[Event], outcome: Outcome) -> Sequence[Event]:
    """*events* without those of keys that have failed; the others wait behind them."""
    if not outcome.failed:
        return events
    failed = {event.partition_key for event, _, _ in outcome.failed}
    outcome.behind += [event for event in events if event.partition_key in failed]
    return [event for event in events if event.partition_key not in failed]


def failure_of(error: BaseException) -> Failure:
    """The error by its kind and words. Others' errors may quote a row's values: of those the kind, and where it was raised."""
    if isinstance(error, HubError):
        said = str(error)
    else:
        frames = traceback.extract_tb(error.__traceback__)
        said = f"{type(error).__name__} in {frames[-1].name}, line {frames[-1].lineno}" if frames else "no traceback"
    if isinstance(error, psycopg.Error) and not isinstance(error, psycopg.DataError):
        said = error.diag.message_primary or said
    return Failure(cause=type(error).__name__, reason=said[:1000])
