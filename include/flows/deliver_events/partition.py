"""Delivers one key partition to one subscriber: the next events, and those that failed before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from include.flows.crash_points import crash_point
from include.flows.deliver_events.attempt import BatchFailed, Outcome, Recipient, Verdict, at_once, attempt, blaming
from include.model.events import Event, Position
from include.store import event_log, event_readers, failed_deliveries
from include.store.database import Store, Work
from include.store.event_readers import Claim
from include.store.failed_deliveries import Failure, Letter

How = Callable[[Work, Recipient, Sequence[Event]], Outcome]

_AT_ONCE = timedelta(0)
#: Between two looks for failed deliveries whose time has come.
_LOOK_EVERY_S = 0.2
_LONGEST_WAIT = timedelta(minutes=10)
#: Of what waits for a person, who hastens it by what they do: a look that nobody should have to wait for.
_POSTPONED = timedelta(minutes=1)
_WORKER_ENDED = Failure(
    cause="WorkerEnded", reason="The handler ended or hung its worker each time it was called with this event"
)


@dataclass(frozen=True)
class Pace:
    """How delivery is done here."""

    #: Events in one transaction.
    batch: int = 2_000
    #: How long a worker may be silent before another takes its partitions.
    lease_life: timedelta = timedelta(seconds=5)


class Partition:
    """A claimed partition and what its reader remembers of it."""

    def __init__(self, store: Store, reads: Store, claim: Claim, recipient: Recipient, pace: Pace) -> None:
        """*reads*: of event_log.READER_SESSION, the same for all partitions of a thread."""
        self.claim = claim
        #: Whether the worker whose own partition this is has asked for it.
        self.wanted = False
        self._store, self._reads, self._recipient, self._pace = store, reads, recipient, pace
        self._subscriber = recipient.subscriber
        self._cursor = claim.cursor
        with store.transaction() as work:
            self._epoch = event_log.epoch(work)
            self._blocked = failed_deliveries.blocked_keys(work, claim)
            if recipient.subscriber.apply is not None:  # What is done elsewhere has written nothing here yet.
                event_readers.end_when_idle(work, 2 * pace.lease_life)
        self._careful = claim.after_a_death
        self._look_at = 0.0
        self._renew_at = time.monotonic()

    def step(self) -> int:
        """
        How many events were dealt with; 0 when there was nothing to do.

        Raises:
            LeaseLost: another worker has the partition; nothing was committed.
            StoreUnavailable: the database was in the way; call it again after a moment.

        """
        dealt = self._try_again() if self._blocked else 0
        with self._reads.question() as work:
            events, cursor = event_log.read(
                work,
                self._cursor,
                types=self._subscriber.types,
                partition=self.claim.partition,
                partitions=self.claim.partitions,
                limit=self._pace.batch,
                now_epoch=self._epoch,
            )
        crash_point("deliver.read")
        if events and self._careful:
            self._deliver_carefully(events)
        elif events:
            self._deliver(events, cursor)
        else:
            self._cursor = cursor
        self._careful = False
        self._renew()
        return dealt + len(events)

    def _deliver(self, events: list[Event], cursor: Position) -> None:
        """One transaction: effects, inbox, failures and the cursor, or nothing."""
        try:
            self._commit(events, cursor, at_once)
        except BatchFailed as failed:
            self._commit(events, cursor, attempt if len(events) > 1 else blaming(failed))

    def _commit(self, events: list[Event], cursor: Position, how: How) -> None:
        ready = [event for event in events if event.partition_key not in self._blocked] if self._blocked else events
        with self._store.transaction() as work:
            outcome = how(work, self._recipient, ready)
            if len(ready) < len(events):
                outcome.behind += [event for event in events if event.partition_key in self._blocked]
            self._keep_failures(work, outcome)
            if self._careful:
                failed_deliveries.forget(work, self.claim, outcome.delivered)
            advanced = event_readers.advance(
                work, self.claim, cursor, delivered=len(outcome.delivered), life=self._pace.lease_life
            )
            self.wanted = advanced.wanted
            if advanced.has_dead and self._subscriber.newer_replaces_older:
                failed_deliveries.supersede(work, self.claim.subscriber, outcome.delivered)
            crash_point("deliver.before_commit")
        crash_point("deliver.committed")
        self._moved(cursor)
        self._blocked |= {event.partition_key for event, _, _ in outcome.failed}

    def _deliver_carefully(self, events: list[Event]) -> None:
        """
        The same, one by one, each try noted before it is made: one of these may have ended the last worker.

        Two commits an event: only for the one batch in which a worker died.
        """
        for event in events:
            if event.partition_key not in self._blocked:
                with self._store.transaction() as work:
                    event_readers.renew(work, self.claim, self._pace.lease_life)
                    failed_deliveries.keep(work, self.claim, event, "trying", wait=_AT_ONCE)
                crash_point("deliver.noted")
            self._deliver([event], event.at)

    def _bury(self, event: Event) -> None:
        with self._store.transaction() as work:
            failed_deliveries.keep(work, self.claim, event, "dead", failure=_WORKER_ENDED, wait=_AT_ONCE, tries=0)
            event_readers.renew(work, self.claim, self._pace.lease_life)

    def _try_again(self) -> int:
        """Failed deliveries whose time has come, and what waits behind them."""
        if time.monotonic() < self._look_at:
            return 0
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        with self._store.transaction() as work:
            heads = failed_deliveries.heads(work, self.claim)
            self._blocked = failed_deliveries.blocked_keys(work, self.claim)
        for head in heads:
            if self._try_key(head):
                break  # What waits for the same was put off with it, and may be among these.
        return len(heads)

    def _try_key(self, head: Letter) -> bool:
        """
        Whether it was put off. The head first, its try noted before it is made; then, with it delivered or dead,
        those behind it.
        """
        if head.state != "waiting":
            with self._store.transaction() as work:
                event_readers.renew(work, self.claim, self._pace.lease_life)
                wait = timedelta(seconds=self._wait_s(head.attempts + 1))
                tries = failed_deliveries.keep(work, self.claim, head.event, "retrying", wait=wait)
            crash_point("deliver.noted")
            if tries > self._subscriber.attempts:
                # Its last try ended the worker, or it would be dead already.
                self._bury(head.event)
                return False
        with self._store.transaction() as work:
            waiting = failed_deliveries.of_key(work, self.claim, head.event.partition_key)
            letters = {letter.event.at: letter for letter in waiting}
            outcome = attempt(work, self._recipient, [each.deliverable for each in waiting])
            failed_deliveries.recover(work, [letters[event.at].letter_id for event in outcome.delivered])
            self._keep_retried(work, outcome, letters)
            self._close_older(work, outcome)
            is_put_off = self._put_off_alike(work, outcome)
            event_readers.renew(work, self.claim, self._pace.lease_life)
            crash_point("deliver.before_commit")
        return is_put_off

    def _put_off_alike(self, work: Work, outcome: Outcome) -> bool:
        """A thousand webhooks of a paused integration ask once a minute whether it still is, not a thousand times."""
        put_off = [(event, failure) for event, failure, verdict in outcome.failed if verdict is Verdict.POSTPONED]
        for event, failure in put_off:
            failed_deliveries.put_off(work, self.claim, event.source, failure.cause, _POSTPONED)
        return bool(put_off)

    def _keep_failures(self, work: Work, outcome: Outcome) -> None:
        for event, failure, verdict in outcome.failed:
            tries = 0 if self._careful else 1
            self._keep_failure(work, event, failure, verdict, attempts=1, tries=tries)
        for event in outcome.behind:
            failed_deliveries.keep(work, self.claim, event, "waiting", wait=_AT_ONCE, tries=0)

    def _keep_retried(self, work: Work, outcome: Outcome, letters: dict[Position, Letter]) -> None:
        for event, failure, verdict in outcome.failed:
            before = letters[event.at]
            tries = 0 if before.state != "waiting" else 1  # Its try was noted before it was made, or now.
            self._keep_failure(work, before.event, failure, verdict, attempts=before.attempts + tries, tries=tries)

    def _keep_failure(
        self, work: Work, event: Event, failure: Failure, verdict: Verdict, *, attempts: int, tries: int
    ) -> None:
        """The event with what became of its try, of which *tries* are still to be counted; *attempts* in all."""
        state, wait = "retrying", timedelta(seconds=self._wait_s(attempts))
        if verdict is Verdict.POSTPONED:
            wait, tries = _POSTPONED, tries - 1
        elif verdict is Verdict.FINAL or attempts >= self._subscriber.attempts:
            state = "dead"
        failed_deliveries.keep(work, self.claim, event, state, failure=failure, wait=wait, tries=tries)

    def _close_older(self, work: Work, outcome: Outcome) -> None:
        name = self.claim.subscriber
        if self._subscriber.newer_replaces_older and outcome.delivered and failed_deliveries.any_dead(work, name):
            failed_deliveries.supersede(work, name, outcome.delivered)

    def _wait_s(self, attempts: int) -> float:
        return min(self._subscriber.first_wait_s * 2.0 ** (attempts - 1), _LONGEST_WAIT.total_seconds())

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
