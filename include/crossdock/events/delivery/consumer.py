"""Reads for one subscriber: claims key partitions, delivers from them in turns, and gives them back."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from crossdock.core.errors import LeaseLost, Transient
from crossdock.db.database import Store, Work
from crossdock.events import store as event_log
from crossdock.events.delivery import consumer_leases as event_readers
from crossdock.events.delivery.attempt import Recipient
from crossdock.events.delivery.lease_renewal import Keeper
from crossdock.events.delivery.partition import Connections, Pace, Partition

log = logging.getLogger(__name__)

#: Looking for new events costs a fifth of a millisecond. With nothing to do the looks become rarer, up to the last.
_SHORTEST_NAP_S = 0.001
#: A turn costs six questions and a flush of the log, whatever it delivers: after a small one it pays to let some gather.
_WORTH_A_COMMIT = 200
_GATHER_S = 0.005
_LONGEST_NAP_S = 0.05
#: Between two tries at partitions that others have.
_CLAIM_EVERY_S = 1.0
_AFTER_AN_ERROR_S = 0.5
#: A partition on loan is given back when its own worker asks for it.
_OFF_AFTER_RETURN_S = 5.0


@dataclass(frozen=True)
class Place:
    """Which of how many workers this is."""

    worker_no: int = 0
    workers: int = 1
    #: Key partitions of each subscriber. Another number begins where the slowest reader was.
    partitions: int = 2

    def lifetime(self, usual: timedelta, now: datetime) -> timedelta:
        """
        How long this worker lives, so that no two end together: until its own mark in each *usual* time by the clock.

        From half of *usual* to one and a half; workers that begin together are apart from their first end on.
        """
        usual_s = usual.total_seconds()
        mark_s = usual_s * self.worker_no / self.workers
        until_s = (mark_s - now.timestamp()) % usual_s
        return timedelta(seconds=until_s if until_s >= usual_s / 2 else until_s + usual_s)


@dataclass(frozen=True)
class Life:
    """What all threads of a worker share."""

    pace: Pace
    stop: threading.Event
    ends_at: float

    @property
    def over(self) -> bool:
        return self.stop.is_set() or time.monotonic() >= self.ends_at


class Reader:
    """One subscriber's part of a worker, in a thread of its own, with the partitions that it could claim."""

    def __init__(self, store: Store, place: Place, life: Life, recipient: Recipient) -> None:
        self._place, self._recipient, self.name = place, recipient, recipient.name
        #: How many events it dealt with.
        self.dealt = 0
        #: Another reader has its place: it ends when it comes to itself.
        self.abandoned = False
        self._beat_at = time.monotonic()
        self._life, self._pace = life, life.pace
        self._store = store.another(session=event_readers.ended_when_idle(2 * life.pace.lease_life))
        self._reads = store.another(session=event_log.READER_SESSION)
        self._keeper = Keeper(store.another(), self._renew_held, life.pace.lease_life, of=recipient.name)
        self._connections = Connections(self._store, self._reads, self._keeper)
        self._worker = f"{os.uname().nodename}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._held: dict[int, Partition] = {}
        self._registered = False
        self._claim_at: dict[int, float] = {}

    @property
    def over(self) -> bool:
        return self._life.over or self.abandoned

    @property
    def hangs(self) -> bool:
        """Whether one call of its subscriber takes longer than it may, so that its leases have run out."""
        last = max(self._beat_at, self._keeper.called_at)
        allowed_s = self._recipient.subscriber.effect_timeout_s + 2 * self._pace.lease_life.total_seconds()
        return time.monotonic() - last > allowed_s

    def run(self) -> None:
        """Delivers until it is over."""
        nap_s = _SHORTEST_NAP_S
        with self._store, self._reads, closing(self._keeper):
            while not self.over:
                try:
                    dealt = self._turn()
                except Transient as error:
                    self._beat_at = time.monotonic()
                    log.warning("Delivery to %s waits: %s", self.name, error)
                    self._claim_again()
                    self._life.stop.wait(_AFTER_AN_ERROR_S)
                    continue
                self.dealt += dealt
                nap_s = _GATHER_S if dealt else min(nap_s * 1.5, _LONGEST_NAP_S)
                if dealt < _WORTH_A_COMMIT:
                    self._life.stop.wait(nap_s)
            self._give_back(list(self._held))

    def _claim_again(self) -> None:
        """
        All that it holds. A connection that was lost may come back to another store, where a dump took this one's place:
        what is known here of its epoch, and of how far it was read, is not true of that one.
        """
        self._claim_at.update(dict.fromkeys(self._held, 0.0))
        self._held.clear()
        self._registered = False

    def begin_anew(self) -> None:
        """Without what a defect may have left half done. What it held is free for whoever claims it first."""
        held, self._held = self._held, {}
        self._registered = False
        self._claim_at.clear()
        with self._store, self._store.transaction() as work:
            event_readers.release(work, [partition.claim for partition in held.values()])

    def _renew_held(self, work: Work) -> None:
        """All that this thread has: while one partition's effect runs, nobody else keeps the others."""
        for partition in self._held.values():
            with suppress(LeaseLost):
                event_readers.renew(work, partition.claim, self._pace.lease_life)

    def _turn(self) -> int:
        """One step of each partition that is ours now."""
        self._claim()
        dealt = 0
        for number, partition in list(self._held.items()):
            self._beat_at = time.monotonic()
            try:
                dealt += partition.step()
            except LeaseLost as error:
                log.warning("%s", error)
                del self._held[number]
                continue
            if partition.wanted and not self._is_own(number):
                self._give_back([number])
                self._claim_at[number] = time.monotonic() + _OFF_AFTER_RETURN_S
        return dealt

    def _claim(self) -> None:
        """Our own partitions, and those of others whose worker is silent for longer than a lease lives."""
        now = time.monotonic()
        for number in range(self._place.partitions):
            if number in self._held or now < self._claim_at.get(number, 0.0):
                continue
            # A new start leaves the others a moment to claim what is theirs.
            if number not in self._claim_at and not self._is_own(number):
                self._claim_at[number] = now + self._pace.lease_life.total_seconds()
                continue
            self._claim_at[number] = now + _CLAIM_EVERY_S
            self._claim_one(number)

    def _claim_one(self, number: int) -> None:
        with self._store.transaction() as work:
            if not self._registered:
                event_readers.register(work, self.name, self._place.partitions)
            claim = event_readers.claim(work, self.name, number, self._worker, self._pace.lease_life)
            if claim is None and self._is_own(number):
                event_readers.want(work, self.name, number, self._worker)
        self._registered = True
        if claim is not None and claim.partitions == self._place.partitions:
            if claim.after_a_death:
                log.warning("%s takes over %s from a worker that was silent", self._worker, claim)
            self._held[number] = Partition(self._connections, claim, self._recipient, self._pace)

    def _is_own(self, number: int) -> bool:
        return number % self._place.workers == self._place.worker_no

    def _give_back(self, numbers: list[int]) -> None:
        """Free at once, with the cursor kept; what cannot be given back runs out by itself."""
        for number in numbers:
            partition = self._held.pop(number)
            try:
                partition.keep_cursor()
                with self._store.transaction() as work:
                    event_readers.release(work, [partition.claim])
            except (LeaseLost, Transient) as error:
                log.info("%s", error)
