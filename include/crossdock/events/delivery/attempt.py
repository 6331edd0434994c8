"""One try at delivering events to one subscriber, and what failed of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import psycopg

from crossdock.core.errors import HubError, IntegrationPaused, LeaseHeld, LeaseLost, Terminal, Transient
from crossdock.db.database import StoreUnavailable, Work, is_transient
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import inbox as event_inbox
from crossdock.events.model import Event
from crossdock.events.ports import KeyPuller
from crossdock.events.schemas import upcast
from crossdock.events.subscriber import Subscriber

#: The cause of letters that wait because somebody else is at their record, in whichever way that was found out.
RECORD_IN_USE = "RecordInUse"


class SubscriberUnable(Terminal):
    """A defect of ours: a subscriber's port is not wired."""


@dataclass(frozen=True)
class Recipient:
    """A subscriber under its name, and what its reaction may need."""

    name: str
    subscriber: Subscriber
    puller: KeyPuller | None = None

    @property
    def is_outside(self) -> bool:
        """Whether its effect is not in the hub's database."""
        return self.subscriber.apply is None


class Verdict(Enum):
    """What a failure means for the next try."""

    #: Tried again, until the tries are used up.
    PASSING = auto()
    #: A person has to look.
    FINAL = auto()
    #: The system outside fails, not the event: all of its source waits for as long as that takes, and no try is counted.
    OUTAGE = auto()
    #: Somebody else is at these very records: they alone wait, and no try is counted.
    IN_USE = auto()

    @property
    def blames_the_event(self) -> bool:
        return self in (Verdict.PASSING, Verdict.FINAL)


@dataclass(frozen=True)
class Failed:
    """An event, why it failed, and what that means."""

    event: Event
    failure: Failure
    verdict: Verdict
    #: What the other side asked us to wait, in seconds.
    retry_in_s: float = 0.0


@dataclass
class Outcome:
    """What became of the events of a try."""

    delivered: list[Event] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    #: Of a key whose earlier event failed in this try.
    behind: list[Event] = field(default_factory=list)

    def held_back(self, events: Sequence[Event]) -> Sequence[Event]:
        """*events* without those of keys that have failed; the others wait behind them."""
        if not self.failed:
            return events
        failed = {each.event.partition_key for each in self.failed}
        self.behind += [event for event in events if event.partition_key in failed]
        return [event for event in events if event.partition_key not in failed]

    def fail(self, events: Sequence[Event], failure: Failure, verdict: Verdict, retry_in_s: float = 0.0) -> None:
        """The first of each key failed, and the others wait behind it."""
        first: dict[str, Event] = {}
        for event in events:
            if first.setdefault(event.partition_key, event) is not event:
                self.behind.append(event)
        self.failed += [Failed(event, failure, verdict, retry_in_s) for event in first.values()]


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
    except Exception as error:
        if _is_in_the_way(error):
            raise
        raise BatchFailed(error) from error
    return Outcome(delivered=list(events))


def _is_in_the_way(error: Exception) -> bool:
    """Whether it was the database's moment, and no event's fault. A limit of the database is an event's."""
    return isinstance(error, StoreUnavailable) or (isinstance(error, psycopg.Error) and is_transient(error))


def attempt(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    """
    *events*, in order, each with its effect and its inbox row or with neither, in the caller's transaction.

    Raises:
        psycopg.OperationalError: the database was in the way, not an event; nothing may be committed.

    """

    def act(some: Sequence[Event]) -> None:
        with work.transaction():
            _have_effect_once(work, recipient, some)

    outcome = Outcome()
    halved(recipient, events, outcome, act)
    return outcome


def halved(
    recipient: Recipient,
    events: Sequence[Event],
    outcome: Outcome,
    act: Callable[[Sequence[Event]], None],
    before: Callable[[], None] = lambda: None,
) -> None:
    """
    What *act* does of *events*, noted in *outcome*: all at once, or each half by itself where the whole fails, and so on.
    What *before* raises, ahead of each call, is no event's failure and ends it all.

    One that cannot be delivered among a thousand costs twenty more calls, not a thousand. Where not an event is to
    blame, no half would do better: then all fail alike.

    Raises:
        psycopg.OperationalError, StoreUnavailable: the database was in the way of an effect in the hub, not an event.

    """
    ready = outcome.held_back(events)
    if not ready:
        return
    before()
    try:
        act(ready)
    except Exception as error:
        if _is_in_the_way(error) and not recipient.is_outside:
            raise
        verdict = verdict_on(recipient, error)
        if len(ready) == 1 or not verdict.blames_the_event:
            outcome.fail(ready, _failure_by(verdict, error), verdict, _asked_wait_s(verdict, error))
            return
        half = len(ready) // 2
        halved(recipient, ready[:half], outcome, act, before)
        halved(recipient, ready[half:], outcome, act, before)
    else:
        outcome.delivered += ready


def _have_effect_once(work: Work, recipient: Recipient, events: Sequence[Event]) -> None:
    """The effect and its inbox rows, at one commit. Who has had an event before has no second effect of it."""
    fresh = event_inbox.add(work, recipient.name, events)
    if fresh:
        have_effect(work, recipient, fresh)


def have_effect(work: Work, recipient: Recipient, events: Sequence[Event]) -> None:
    """The subscriber's reaction to *events* in the hub's database, in their newest version, whatever the inbox has."""
    if recipient.subscriber.apply is None:
        raise SubscriberUnable("This subscriber has no effect in the hub's database")
    recipient.subscriber.apply(work, [upcast(event) for event in events])


def blamed(recipient: Recipient, events: Sequence[Event], error: Exception) -> Outcome:
    """Of a batch of one that failed: it need not be tried again to know which it was."""
    outcome = Outcome()
    outcome.fail(events, failure_of(error), verdict_on(recipient, error))
    return outcome


def verdict_on(recipient: Recipient, error: Exception) -> Verdict:
    """What *error* says of the events that were being delivered, or of the system that was asked."""
    if recipient.is_outside:
        if isinstance(error, LeaseHeld | LeaseLost | StoreUnavailable):
            return Verdict.IN_USE
        # A pause is Terminal for whoever asks for a sync; an event can wait until the integration is resumed.
        if isinstance(error, Transient | IntegrationPaused):
            return Verdict.OUTAGE
    return Verdict.FINAL if isinstance(error, Terminal) else Verdict.PASSING


def _asked_wait_s(verdict: Verdict, error: Exception) -> float:
    # What a lease says is how long it lives, and it is nearly always free long before.
    return (error.retry_in_s or 0.0) if verdict is Verdict.OUTAGE and isinstance(error, Transient) else 0.0


def _failure_by(verdict: Verdict, error: Exception) -> Failure:
    failure = failure_of(error)
    return Failure(cause=RECORD_IN_USE, reason=failure.reason) if verdict is Verdict.IN_USE else failure


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
