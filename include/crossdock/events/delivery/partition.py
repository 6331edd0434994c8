"""Delivers one key partition to one subscriber: the next events, and those that failed before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.events import store as event_log
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import consumer_leases as event_readers
from crossdock.events.delivery import failures
from crossdock.events.delivery import retry_repository as event_retries
from crossdock.events.delivery.attempt import BatchFailed, Outcome, Recipient, at_once, attempt, blamed
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.external_effect import told_once
from crossdock.events.delivery.failures import Tried
from crossdock.events.delivery.lease_renewal import Holding, Keeper
from crossdock.events.delivery.retries import Retries
from crossdock.events.delivery.retry_repository import Kept
from crossdock.events.model import Event, Position

How = Callable[[Work], Outcome]


@dataclass(frozen=True)
class Pace:
    """How delivery is done here."""

    #: Events in one transaction.
    batch: int = 2_000
    #: Of an effect outside, in one call: all of them have to be had within the time that it may take.
    batch_outside: int = 200
    #: How long a worker may be silent before another takes its partitions.
    lease_life: timedelta = timedelta(seconds=5)
    #: How long a thread rests that ended by a defect of ours, which the same events may well bring about again.
    after_a_defect_s: float = 5.0


@dataclass(frozen=True)
class Connections:
    """What a thread has for all its partitions."""

    store: Store
    #: Of event_log.READER_SESSION.
    reads: Store
    keeper: Keeper


class Partition:
    """A claimed partition and what its reader remembers of it."""

    def __init__(self, connections: Connections, claim: Claim, recipient: Recipient, pace: Pace) -> None:
        self.claim = claim
        #: Whether the worker whose own partition this is has asked for it.
        self.wanted = False
        self._store, self._reads, self._recipient, self._pace = connections.store, connections.reads, recipient, pace
        self._holding = Holding(connections.keeper, self._renew)
        self._subscriber = recipient.subscriber
        self._cursor = claim.cursor
        with self._store.transaction() as work:
            self._epoch = event_log.epoch(work)
        self._retries = Retries(self._store, claim, recipient, self._effect, pace.lease_life)
        self._careful = claim.after_a_death
        self._renew_at = time.monotonic()

    def step(self) -> int:
        """
        How many events were dealt with; 0 when there was nothing to do.

        Raises:
            LeaseLost: another worker has the partition; nothing was committed.
            StoreUnavailable: the database was in the way; call it again after a moment.

        """
        dealt = self._retries.try_again()
        events, cursor = self._read()
        failpoint("deliver.read")
        if events and self._careful:
            self._deliver_carefully(events)
        elif events:
            self._deliver(events, cursor)
        else:
            self._cursor = cursor
        self._careful = False
        self._renew()
        return dealt + len(events)

    def _read(self) -> tuple[list[Event], Position]:
        limit = min(self._pace.batch, self._pace.batch_outside) if self._recipient.is_outside else self._pace.batch
        with self._reads.question() as work:
            return event_log.read(
                work,
                self._cursor,
                types=self._subscriber.types,
                partition=self.claim.partition,
                partitions=self.claim.partitions,
                limit=limit,
                now_epoch=self._epoch,
            )

    def _deliver(self, events: list[Event], cursor: Position) -> None:
        """Effects, inbox, failures and the cursor at one commit, or nothing; effects elsewhere ahead of it."""
        ready = self._ready(events)
        if self._recipient.is_outside:
            self._commit(events, cursor, self._effect(ready, self._retries.out))
            return
        try:
            self._commit(events, cursor, partial(at_once, recipient=self._recipient, events=ready))
        except BatchFailed as failed:
            outcome = blamed(self._recipient, ready, failed.error)
            self._commit(events, cursor, self._effect(ready, {}) if len(ready) > 1 else lambda _: outcome)

    def _effect(self, events: Sequence[Event], out: Mapping[str, Failure]) -> How:
        """What delivers *events*, whichever of them may fail: elsewhere now, in the hub in the transaction that it is given."""
        if self._recipient.is_outside:
            return told_once(self._store, self._recipient, events, self._holding, out)
        return partial(attempt, recipient=self._recipient, events=events)

    def _commit(self, events: list[Event], cursor: Position, how: How) -> None:
        with self._store.transaction() as work:
            outcome = how(work)
            blocked = self._retries.blocked
            outcome.behind += [event for event in events if event.partition_key in blocked] if blocked else []
            failures.keep(work, self.claim, self._subscriber, outcome, self._tried)
            failures.begin_outages(work, self.claim, self._subscriber, outcome, self._retries.out)
            if self._careful:
                event_retries.forget(work, self.claim, outcome.delivered)
            advanced = event_readers.advance(
                work, self.claim, cursor, delivered=len(outcome.delivered), life=self._pace.lease_life
            )
            self.wanted = advanced.wanted
            if advanced.has_dead and self._subscriber.newer_replaces_older:
                event_retries.supersede(work, self.claim.subscriber, outcome.delivered)
            failpoint("deliver.before_commit")
        failpoint("deliver.committed")
        self._moved(cursor)
        self._retries.learn(outcome)

    def _ready(self, events: list[Event]) -> list[Event]:
        """Those of *events* that need not wait for an earlier one of their key."""
        blocked = self._retries.blocked
        return [event for event in events if event.partition_key not in blocked] if blocked else events

    def _tried(self, event: Event) -> Tried:
        return Tried(event, attempts=1, is_noted=self._careful)

    def _deliver_carefully(self, events: list[Event]) -> None:
        """
        The same, one by one, each try noted before it is made: one of these may have ended the last worker.

        Two commits an event: only for the one batch in which a worker died.
        """
        for event in events:
            if self._ready([event]):
                with self._store.transaction() as work:
                    event_readers.renew(work, self.claim, self._pace.lease_life)
                    event_retries.keep(work, self.claim, [Kept(event=event, state="trying", tries=1)])
                failpoint("deliver.noted")
            self._deliver([event], event.at)

    def _moved(self, cursor: Position) -> None:
        self._cursor = cursor
        self._renew_at = time.monotonic() + self._pace.lease_life.total_seconds() / 4

    def _renew(self) -> None:
        """Keeps the lease, and the cursor where others' events have passed by, four times in the lease's life."""
        if time.monotonic() < self._renew_at:
            return
        self.keep_cursor()

    def keep_cursor(self) -> None:
        life = self._pace.lease_life
        with self._store.transaction() as work:
            self.wanted = event_readers.advance(work, self.claim, self._cursor, delivered=0, life=life).wanted
        self._moved(self._cursor)
