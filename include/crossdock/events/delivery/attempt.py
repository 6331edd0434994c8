"""One attempt to deliver events to one subscriber, and which of them failed."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import psycopg

from crossdock.core.errors import (
    AccessRefused,
    AddressRefused,
    HubError,
    HubUnavailable,
    IntegrationPaused,
    IntegrationUnusable,
    LeaseHeld,
    LeaseLost,
    OutcomeUnknown,
    Terminal,
    Transient,
)
from crossdock.db.database import StoreUnavailable, Work, is_transient
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import inbox
from crossdock.events.delivery.handler_errors import place_of, tracebacks
from crossdock.events.model import Event
from crossdock.events.schemas import upcast
from crossdock.events.subscriber import Subscriber

#: The same for each event of a source, until somebody changes its integration: its credentials, or where it is called.
_REFUSALS = (AccessRefused, AddressRefused, IntegrationUnusable)
#: Their causes, as failures and outages name them.
REFUSAL_CAUSES = tuple(kind.__name__ for kind in _REFUSALS)
#: Errors of the system that are of no event: no space, no descriptors, no memory, a pipe of Airflow's that is closed.
_OWN_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPIPE}
)

#: The cause of failures where another run has the record, however that was found out.
RECORD_IN_USE = "RecordInUse"


class SubscriberNotConfigured(Terminal):
    """A defect of ours: a subscriber has no function for this kind of effect."""


@dataclass(frozen=True)
class Recipient:
    """A subscriber under its name."""

    name: str
    subscriber: Subscriber

    @property
    def is_external(self) -> bool:
        """True for a subscriber with an external side effect, that is, one that is not in the hub's database."""
        return self.subscriber.apply is None


class Verdict(Enum):
    """The consequence of a failure for the next attempt."""

    #: Retry until the attempts are used up.
    TRANSIENT = auto()
    #: A person has to look: the event becomes a dead letter at once.
    TERMINAL = auto()
    #: The same, because the effect may have happened: the call is not repeated, not even to find the event that failed.
    UNKNOWN = auto()
    #: The external system fails, not the event: all events of the source wait until it recovers; no attempt is counted.
    SOURCE_OUTAGE = auto()
    #: The system refuses us, whatever the event: all events of the source wait until its integration is changed.
    SOURCE_REFUSES = auto()
    #: The hub's own surroundings fail: as an outage, and never the fault of the event.
    HUB_OUTAGE = auto()
    #: Another run has these very records: only these events wait; no attempt is counted.
    IN_USE = auto()

    @property
    def blames_the_event(self) -> bool:
        """True where the attempt counts against the event."""
        return self in (Verdict.TRANSIENT, Verdict.TERMINAL, Verdict.UNKNOWN)

    @property
    def may_be_of_one_event(self) -> bool:
        """True where it looks as if all events of the source failed, and may be one record that always fails alike."""
        return self in (Verdict.SOURCE_OUTAGE, Verdict.SOURCE_REFUSES)

    @property
    def pauses_the_source(self) -> bool:
        """True where all events of the source wait, since each would fail alike."""
        return self in (Verdict.SOURCE_OUTAGE, Verdict.SOURCE_REFUSES, Verdict.HUB_OUTAGE)


@dataclass(frozen=True)
class Failed:
    """An event that failed, the reason, and what the failure means."""

    event: Event
    failure: Failure
    verdict: Verdict
    #: The wait in seconds that the external system asked for.
    retry_in_s: float = 0.0


@dataclass
class Outcome:
    """The result of an attempt, event by event."""

    delivered: list[Event] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    #: Events whose key has an earlier event that failed in this attempt (head-of-line blocking).
    blocked: list[Event] = field(default_factory=list)

    def without_blocked(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return *events* without the events of failed keys, and record these as blocked."""
        if not self.failed:
            return events
        failed = {failure.event.partition_key for failure in self.failed}
        self.blocked += [event for event in events if event.partition_key in failed]
        return [event for event in events if event.partition_key not in failed]

    def fail(self, events: Sequence[Event], failure: Failure, verdict: Verdict, retry_in_s: float = 0.0) -> None:
        """Record the first event of each key as failed and the later ones as blocked."""
        first: dict[str, Event] = {}
        for event in events:
            if first.setdefault(event.partition_key, event) is not event:
                self.blocked.append(event)
        self.failed += [Failed(event, failure, verdict, retry_in_s) for event in first.values()]


class MachineFailed(HubUnavailable):
    """The machine that the hub runs on has no space, memory or descriptors left."""


class BatchFailed(Exception):
    """One event of a batch failed. Nothing of the batch may be committed, and it is not known yet which event it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def apply_batch(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    """
    Apply *events* with their inbox rows as one batch, without savepoints: the fast path, which nearly always succeeds.

    Raises:
        BatchFailed: roll back and call `attempt`.
        psycopg.OperationalError, HubUnavailable: the database or the machine failed, not an event.

    """
    try:
        _apply_once(work, recipient, events)
    except Exception as error:
        _raise_if_of_the_hub(error)
        raise BatchFailed(error) from error
    return Outcome(delivered=list(events))


def _is_of_the_hub(error: Exception) -> bool:
    """Distinguish a passing failure of the database or the machine from that of an event. A limit of the database is the event's."""
    if isinstance(error, psycopg.Error):
        return is_transient(error)
    return isinstance(error, HubUnavailable) or (isinstance(error, OSError) and error.errno in _OWN_ERRNOS)


def _raise_if_of_the_hub(error: Exception) -> None:
    """Raise *error* if no event is to blame for it, so that nothing of the transaction is committed."""
    if isinstance(error, OSError) and _is_of_the_hub(error):
        raise MachineFailed(f"{type(error).__name__}: {error.strerror}") from error
    if _is_of_the_hub(error):
        raise error


def attempt(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    """
    Apply *events* in order in the caller's transaction, each together with its inbox row or not at all.

    Raises:
        psycopg.OperationalError: the database failed, not an event; nothing may be committed.

    """

    def act(some: Sequence[Event]) -> None:
        with work.transaction():
            _apply_once(work, recipient, some)

    outcome = Outcome()
    bisect(recipient, events, outcome, act)
    return outcome


def bisect(
    recipient: Recipient,
    events: Sequence[Event],
    outcome: Outcome,
    act: Callable[[Sequence[Event]], None],
    before: Callable[[], None] = lambda: None,
) -> None:
    """
    Call *act* with *events* and record the result in *outcome*; where a batch fails, bisect it to find the failed event.

    One bad event among a thousand costs twenty more calls, not a thousand. Where no event is to blame, no half would
    succeed either, so all of them fail alike. *before* runs ahead of each call; an error of it ends everything and
    counts against no event.

    Raises:
        psycopg.OperationalError, HubUnavailable: the database or the machine failed during an effect in the hub, not an
            event.

    """
    ready = outcome.without_blocked(events)
    if not ready:
        return
    before()
    try:
        act(ready)
    except Exception as error:  # noqa: BLE001  of any subscriber
        if not recipient.is_external:
            _raise_if_of_the_hub(error)
        verdict = verdict_on(recipient, error)
        if len(ready) == 1 or verdict is Verdict.UNKNOWN or not verdict.blames_the_event:
            if verdict.blames_the_event:
                tracebacks.add(recipient.name, ready[0], error)
            outcome.fail(ready, _failure_by(verdict, error), verdict, _requested_wait_s(verdict, error))
            return
        half = len(ready) // 2
        bisect(recipient, ready[:half], outcome, act, before)
        bisect(recipient, ready[half:], outcome, act, before)
    else:
        outcome.delivered += ready


def _apply_once(work: Work, recipient: Recipient, events: Sequence[Event]) -> None:
    """Apply the events that are new to the inbox, in one transaction with their inbox rows: idempotent by the inbox."""
    fresh = inbox.add(work, recipient.name, events)
    if fresh:
        apply(work, recipient, fresh)


def apply(work: Work, recipient: Recipient, events: Sequence[Event]) -> None:
    """Call the subscriber with *events*, upcast to their newest version, without regard to the inbox."""
    if recipient.subscriber.apply is None:
        raise SubscriberNotConfigured("This subscriber has no effect in the hub's database")
    recipient.subscriber.apply(work, [upcast(event) for event in events])


def fail_single(recipient: Recipient, event: Event, error: Exception) -> Outcome:
    """Turn the failure of a batch of one into an outcome: a second attempt is not needed to know which event it was."""
    outcome, verdict = Outcome(), verdict_on(recipient, error)
    if verdict.blames_the_event:
        tracebacks.add(recipient.name, event, error)
    outcome.fail([event], failure_of(error), verdict)
    return outcome


def verdict_on(recipient: Recipient, error: Exception) -> Verdict:
    """Classify *error*: the fault of the event, of its record, or of the external system."""
    if isinstance(error, OutcomeUnknown):
        return Verdict.UNKNOWN
    if recipient.is_external:
        if isinstance(error, LeaseHeld | LeaseLost | StoreUnavailable):
            return Verdict.IN_USE
        if _is_of_the_hub(error):
            return Verdict.HUB_OUTAGE
        if isinstance(error, _REFUSALS):
            return Verdict.SOURCE_REFUSES
        # A pause is Terminal for a sync; an event can wait until the integration is resumed.
        if isinstance(error, Transient | IntegrationPaused):
            return Verdict.SOURCE_OUTAGE
    return Verdict.TERMINAL if isinstance(error, Terminal) else Verdict.TRANSIENT


def _requested_wait_s(verdict: Verdict, error: Exception) -> float:
    # A lease asks to wait for its whole lifetime, and is nearly always free long before.
    return (error.retry_in_s or 0.0) if verdict is Verdict.SOURCE_OUTAGE and isinstance(error, Transient) else 0.0


def _failure_by(verdict: Verdict, error: Exception) -> Failure:
    failure = failure_of(error)
    return Failure(cause=RECORD_IN_USE, reason=failure.reason) if verdict is Verdict.IN_USE else failure


def failure_of(error: BaseException) -> Failure:
    """
    Describe *error* by its type and message.

    The message of a foreign error may quote a row's values, so only its type and where it was raised are kept.
    """
    reason = str(error) if isinstance(error, HubError) else place_of(error)
    if isinstance(error, psycopg.Error) and not isinstance(error, psycopg.DataError) and error.diag.message_primary:
        reason = f"{reason}: {error.diag.message_primary}"
    return Failure(cause=type(error).__name__, reason=reason[:1000])
