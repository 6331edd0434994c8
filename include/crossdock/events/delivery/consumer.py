"""Consume events for one subscriber: claim key partitions, deliver from each in turn, and release them at the end."""

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from crossdock.core.errors import LeaseLost, Transient
from crossdock.core.log import logger
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.delivery import consumer_leases
from crossdock.events.delivery.attempt import Recipient
from crossdock.events.delivery.doorbell import Doorbell
from crossdock.events.delivery.lease_renewal import LeaseRenewal
from crossdock.events.delivery.partition import Connections, Partition, PollingConfig

log = logger(__name__)

#: An idle consumer waits for its bell. So often, it also looks for what is to be retried, renewed or claimed.
_IDLE_S = 0.05
#: A poll costs six queries and a flush of the log, whatever it delivers: after a small batch, let some events gather.
_SMALL_BATCH = 200
_GATHER_S = 0.005
#: Between two attempts to claim partitions that other workers have.
_CLAIM_EVERY_S = 1.0
_AFTER_AN_ERROR_S = 0.5
#: A borrowed partition is released when its assigned worker requests it, and not claimed again for this many seconds.
_PAUSE_AFTER_RELEASE_S = 5.0


@dataclass(frozen=True)
class PartitionAssignment:
    """The key partitions assigned to a worker: their number modulo *workers* is *worker_no*."""

    worker_no: int = 0
    workers: int = 1
    #: Key partitions of each subscriber. When the number changes, all begin at the slowest cursor.
    partitions: int = 2

    def lifetime(self, usual: timedelta, now: datetime) -> timedelta:
        """
        Compute how long this worker lives, so that no two workers end together.

        A worker ends at a fixed offset in each *usual* period of the clock. It lives from half of *usual* to one and a
        half, so that workers that start together end apart from the first time on.
        """
        usual_s = usual.total_seconds()
        offset_s = usual_s * self.worker_no / self.workers
        until_s = (offset_s - now.timestamp()) % usual_s
        return timedelta(seconds=until_s if until_s >= usual_s / 2 else until_s + usual_s)


@dataclass(frozen=True)
class ShutdownToken:
    """Signals all threads of a worker when to end: at a time, or when *stop* is set."""

    stop: threading.Event
    #: Of time.monotonic().
    ends_at: float

    @property
    def over(self) -> bool:
        """True when the worker has to end."""
        return self.stop.is_set() or time.monotonic() >= self.ends_at


class Consumer:
    """One subscriber's part of a worker: a thread, with the partitions that it could claim."""

    def __init__(
        self,
        store: Store,
        assignment: PartitionAssignment,
        shutdown: ShutdownToken,
        polling: PollingConfig,
        recipient: Recipient,
        *,
        doorbell: Doorbell,
    ) -> None:
        self._doorbell, self._bell = doorbell, doorbell.bell(recipient.subscriber.types)
        self._assignment, self._recipient, self.name = assignment, recipient, recipient.name
        #: The number of events that it processed.
        self.processed = 0
        #: Set when it hangs and another consumer has replaced it: it ends as soon as its subscriber returns.
        self.abandoned = False
        self._heartbeat_at = time.monotonic()
        self._shutdown, self._polling = shutdown, polling
        self._store = store.another(session=consumer_leases.ended_when_idle(2 * polling.lease_life))
        self._reads = store.another(session=event_store.READER_SESSION)
        self._renewal = LeaseRenewal(store.another(), self._renew_held, polling.lease_life, of=recipient.name)
        self._connections = Connections(self._store, self._reads, self._renewal)
        self._worker = f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._held: dict[int, Partition] = {}
        self._registered = False
        self._claim_at: dict[int, float] = {}

    @property
    def over(self) -> bool:
        """True when it has to end."""
        return self._shutdown.over or self.abandoned

    @property
    def hangs(self) -> bool:
        """True when one call of the subscriber takes longer than it may, so that its leases have expired."""
        last = max(self._heartbeat_at, self._renewal.called_at)
        allowed_s = self._recipient.subscriber.effect_timeout_s + 2 * self._polling.lease_life.total_seconds()
        return time.monotonic() - last > allowed_s

    def run(self) -> None:
        """Deliver until shutdown."""
        try:
            self._run()
        finally:
            # After a defect it runs again, and still waits at its bell.
            if self.over:
                self._doorbell.remove(self._bell)

    def _run(self) -> None:
        with self._store, self._reads, closing(self._renewal):
            while not self.over:
                try:
                    processed = self._poll()
                except Transient as error:
                    self._heartbeat_at = time.monotonic()
                    log.warning("Delivery to %s is waiting: %s", self.name, error)
                    self._reclaim_all()
                    self._shutdown.stop.wait(_AFTER_AN_ERROR_S)
                    continue
                self.processed += processed
                if processed == 0:
                    self._bell.wait(_IDLE_S)
                elif processed < _SMALL_BATCH:
                    self._shutdown.stop.wait(_GATHER_S)
            self._release(list(self._held))

    def _reclaim_all(self) -> None:
        """
        Claim all partitions again after an error of the database.

        A lost connection may come back to another store, where a dump was restored in its place: what this consumer
        remembers of the epoch and of its cursors is not true there.
        """
        self._claim_at.update(dict.fromkeys(self._held, 0.0))
        self._held.clear()
        self._registered = False

    def reset(self) -> None:
        """Drop work that a defect may have left half done, and release all partitions for the first worker that claims them."""
        held, self._held = self._held, {}
        self._registered = False
        self._claim_at.clear()
        with self._store, self._store.transaction() as work:
            consumer_leases.release(work, [partition.claim for partition in held.values()])

    def _renew_held(self, work: Work) -> None:
        """Renew all leases of this thread: during the effect of one partition, nothing else renews the others."""
        for partition in self._held.values():
            with suppress(LeaseLost):
                consumer_leases.renew(work, partition.claim, self._polling.lease_life)

    def _poll(self) -> int:
        """Run one step of each claimed partition; return the number of events."""
        self._claim_due()
        processed = 0
        for number, partition in list(self._held.items()):
            self._heartbeat_at = time.monotonic()
            try:
                processed += partition.step()
            except LeaseLost as error:
                log.warning("%s", error)
                del self._held[number]
                continue
            if partition.is_requested and not self._is_assigned(number):
                self._release([number])
                self._claim_at[number] = time.monotonic() + _PAUSE_AFTER_RELEASE_S
        return processed

    def _claim_due(self) -> None:
        """Claim the assigned partitions, and partitions whose leases have expired."""
        now = time.monotonic()
        for number in range(self._assignment.partitions):
            if number in self._held or now < self._claim_at.get(number, 0.0):
                continue
            # After a start, leave the others a moment to claim what they are assigned.
            if number not in self._claim_at and not self._is_assigned(number):
                self._claim_at[number] = now + self._polling.lease_life.total_seconds()
                continue
            self._claim_at[number] = now + _CLAIM_EVERY_S
            self._claim(number)

    def _claim(self, number: int) -> None:
        with self._store.transaction() as work:
            if not self._registered:
                consumer_leases.register(work, self.name, self._assignment.partitions)
            claim = consumer_leases.claim(work, self.name, number, self._worker, self._polling.lease_life)
            if claim is None and self._is_assigned(number):
                consumer_leases.request(work, self.name, number, self._worker)
        self._registered = True
        if claim is not None and claim.partitions == self._assignment.partitions:
            if claim.after_a_death:
                log.warning("%s takes over %s from a worker that stopped sending heartbeats", self._worker, claim)
            self._held[number] = Partition(self._connections, claim, self._recipient, self._polling, bell=self._bell)

    def _is_assigned(self, number: int) -> bool:
        return number % self._assignment.workers == self._assignment.worker_no

    def _release(self, numbers: list[int]) -> None:
        """Release partitions at once, with their cursors stored; a lease that cannot be released expires."""
        for number in numbers:
            partition = self._held.pop(number)
            try:
                partition.save_cursor()
                with self._store.transaction() as work:
                    consumer_leases.release(work, [partition.claim])
            except (LeaseLost, Transient) as error:
                log.info("%s", error)
