"""Deliver one key partition to one subscriber: the next events, and events whose delivery failed before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.dead_letters.repository import Failure
from crossdock.events.delivery import consumer_leases, failures, retry_repository
from crossdock.events.delivery.attempt import BatchFailed, Outcome, Recipient, apply_batch, attempt, fail_single
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.doorbell import Bell
from crossdock.events.delivery.external_effect import deliver_once
from crossdock.events.delivery.failures import Attempt
from crossdock.events.delivery.lease_renewal import LeaseGuard, LeaseRenewal
from crossdock.events.delivery.retries import Retries
from crossdock.events.delivery.retry_repository import RetryRecord
from crossdock.events.model import Event, Position

#: Applies a batch in the transaction that moves the cursor, or records there what was delivered before.
Effect = Callable[[Work], Outcome]


@dataclass(frozen=True)
class PollingConfig:
    """The settings for reading and delivering events."""

    #: Events in one transaction.
    batch: int = 2_000
    #: Events in one call of an external system: all of them must be done within the subscriber's timeout.
    external_batch_size: int = 200
    #: How long a worker may send no heartbeat before another takes over its partitions.
    lease_life: timedelta = timedelta(seconds=5)
    #: Pause of a thread after a defect of ours, which the same events may well cause again.
    after_a_defect_s: float = 5.0


@dataclass(frozen=True)
class Connections:
    """The connections of one thread, shared by all its partitions."""

    store: Store
    #: Opened with event_store.READER_SESSION.
    reads: Store
    renewal: LeaseRenewal


class Partition:
    """A claimed key partition, with what its consumer remembers of it."""

    def __init__(
        self,
        connections: Connections,
        claim: Claim,
        recipient: Recipient,
        polling: PollingConfig,
        *,
        bell: Bell | None = None,
    ) -> None:
        """Take a partition over. Without a *bell*, it reads at each step."""
        self.claim = claim
        #: True when the worker that this partition is assigned to has asked for it.
        self.is_requested = False
        self._store, self._reads = connections.store, connections.reads
        self._recipient, self._polling = recipient, polling
        self._guard = LeaseGuard(connections.renewal, self._renew)
        self._subscriber = recipient.subscriber
        self._cursor = claim.cursor
        with self._store.transaction() as work:
            self._epoch = event_store.epoch(work)
        self._retries = Retries(self._store, claim, recipient, self._effect, polling.lease_life)
        self._careful = claim.after_a_death
        self._renew_at = time.monotonic()
        self._bell = bell
        #: The rings that were answered by a read. At another number, or at the time, it reads again.
        self._rings_answered: int | None = None
        self._read_at = time.monotonic()

    def step(self) -> int:
        """
        Deliver what is due and the next batch; return the number of events, 0 when there was nothing to do.

        Raises:
            LeaseLost: another worker has the partition; nothing was committed.
            StoreUnavailable: the database failed; call it again after a moment.

        """
        processed = self._retries.retry_due()
        if self._may_have_news():
            processed += self._deliver_next()
        self._renew()
        return processed

    def _deliver_next(self) -> int:
        # Before the read: what comes during it rings once more.
        rings = self._rings()
        events, cursor = self._read()
        failpoint("deliver.read")
        if events and self._careful:
            self._deliver_carefully(events)
        elif events:
            self._deliver(events, cursor)
        else:
            self._cursor = cursor
        self._careful = False
        # A full batch is not all there is. After an error, this is not reached: the same events are read again, rung for or not.
        self._rings_answered = rings if len(events) < self._limit else None
        self._read_at = time.monotonic() + Bell.LOOK_EVERY_S
        return len(events)

    def _may_have_news(self) -> bool:
        return (
            self._rings_answered is None or self._rings_answered != self._rings() or time.monotonic() >= self._read_at
        )

    def _rings(self) -> int | None:
        return self._bell.rings(self.claim.partition) if self._bell else None

    @property
    def _limit(self) -> int:
        """How many events are read at once."""
        if self._recipient.is_external:
            return min(self._polling.batch, self._polling.external_batch_size)
        return self._polling.batch

    def _read(self) -> tuple[list[Event], Position]:
        with self._reads.question() as work:
            return event_store.read(
                work,
                self._cursor,
                types=self._subscriber.types,
                partition=self.claim.partition,
                partitions=self.claim.partitions,
                limit=self._limit,
                now_epoch=self._epoch,
            )

    def _deliver(self, events: list[Event], cursor: Position) -> None:
        """Commit effects, inbox, failures and cursor together or not at all; external side effects come before."""
        ready = self._not_blocked(events)
        if self._recipient.is_external:
            self._commit(events, cursor, self._effect(ready, self._retries.paused))
            return
        try:
            self._commit(events, cursor, partial(apply_batch, recipient=self._recipient, events=ready))
        except BatchFailed as failed:
            if len(ready) == 1:
                outcome = fail_single(self._recipient, ready[0], failed.error)
                self._commit(events, cursor, lambda _: outcome)
            else:
                self._commit(events, cursor, self._effect(ready, {}))

    def _effect(self, events: Sequence[Event], paused: Mapping[str, Failure]) -> Effect:
        """Deliver external *events* now and return a function that records them; for others, return one that applies them."""
        if self._recipient.is_external:
            return deliver_once(self._store, self._recipient, events, self._guard, paused)
        return partial(attempt, recipient=self._recipient, events=events)

    def _commit(self, events: list[Event], cursor: Position, effect: Effect) -> None:
        with self._store.transaction() as work:
            outcome = effect(work)
            blocked = self._retries.blocked_keys
            outcome.blocked += [event for event in events if event.partition_key in blocked] if blocked else []
            failures.record(work, self.claim, self._subscriber, outcome, self._attempt_of)
            failures.begin_outages(work, self.claim, self._subscriber, outcome, self._retries.paused)
            if self._careful:
                retry_repository.delete_attempts(work, self.claim, outcome.delivered)
            advanced = consumer_leases.advance(
                work, self.claim, cursor, delivered=len(outcome.delivered), life=self._polling.lease_life
            )
            self.is_requested = advanced.is_requested
            if advanced.has_dead and self._subscriber.newer_replaces_older:
                retry_repository.supersede(work, self.claim.subscriber, outcome.delivered)
            failpoint("deliver.before_commit")
        failpoint("deliver.committed")
        self._moved(cursor)
        self._retries.learn(outcome)

    def _not_blocked(self, events: list[Event]) -> list[Event]:
        """Leave out events that must wait for an earlier event of their key (head-of-line blocking)."""
        blocked = self._retries.blocked_keys
        return [event for event in events if event.partition_key not in blocked] if blocked else events

    def _attempt_of(self, event: Event) -> Attempt:
        return Attempt(event, attempts=1, is_recorded=self._careful)

    def _deliver_carefully(self, events: list[Event]) -> None:
        """
        Deliver one by one, each attempt recorded before it is made: one of these events may have killed the last worker.

        Costs two commits per event, but only for the one batch in which a worker died.
        """
        for event in events:
            if self._not_blocked([event]):
                with self._store.transaction() as work:
                    consumer_leases.renew(work, self.claim, self._polling.lease_life)
                    retry_repository.upsert(work, self.claim, [RetryRecord(event=event, state="trying", attempts=1)])
                failpoint("deliver.recorded")
            self._deliver([event], event.at)

    def _moved(self, cursor: Position) -> None:
        self._cursor = cursor
        self._renew_at = time.monotonic() + self._polling.lease_life.total_seconds() / 4

    def _renew(self) -> None:
        """Renew the lease four times in its life, and store the cursor, which events of other types may have moved."""
        if time.monotonic() < self._renew_at:
            return
        self.save_cursor()

    def save_cursor(self) -> None:
        """Store the cursor and renew the lease."""
        life = self._polling.lease_life
        with self._store.transaction() as work:
            self.is_requested = consumer_leases.advance(
                work, self.claim, self._cursor, delivered=0, life=life
            ).is_requested
        self._moved(self._cursor)
