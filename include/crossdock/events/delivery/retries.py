"""Retry the failed deliveries of one key partition when they are due, each with the events that it blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from crossdock.core.failpoints import failpoint
from crossdock.core.log import logger
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters.repository import DeadLetter, Failure
from crossdock.events.delivery import consumer_leases, failures, retry_repository, source_outages
from crossdock.events.delivery.attempt import RECORD_IN_USE, Outcome, Recipient, Verdict
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.failures import Attempt
from crossdock.events.delivery.retry_repository import RetryRecord
from crossdock.events.delivery.source_outages import Probe
from crossdock.events.model import Event, Position

log = logger(__name__)

#: Gives events their effect, except events of paused sources: now, or when the result is called with the transaction
#: that records them.
Effect = Callable[[Sequence[Event], Mapping[str, Failure]], Callable[[Work], Outcome]]
#: Updates source outages in the transaction of an outcome.
_UpdateOutages = Callable[[Work, Outcome], None]

#: Between two polls for due retries; more where the query itself takes long.
_LOOK_EVERY_S = 0.2
_LOOKING_SHARE = 0.1
#: Keys retried in one batch. After an outage the first batch is small, and each one that succeeds is followed by a larger
#: one: a system that has just recovered is not flooded, and one record that looks like an outage does not stop them all.
_KEYS_AT_ONCE = 100
_KEYS_AFTER_OUTAGE = 4
_ALONE_S = 1.0
_WORKER_ENDED = Failure(
    cause="WorkerEnded", reason="The subscriber killed or hung its worker in each attempt with this event"
)


class Retries:
    """Retries the failed deliveries of one partition, and remembers what it needs between retries."""

    def __init__(self, store: Store, claim: Claim, recipient: Recipient, effect: Effect, lease_life: timedelta) -> None:
        self._store, self._claim, self._recipient, self._effect = store, claim, recipient, effect
        self._subscriber, self._life = recipient.subscriber, lease_life
        self._look_at, self._keys_at_once = 0.0, _KEYS_AT_ONCE
        #: Keys whose next event must wait for a failed one (head-of-line blocking). May name too many keys, never too few.
        self.blocked_keys: set[str] = set()
        #: Paused sources, as of the last look.
        self.paused: dict[str, Failure] = {}
        #: Sources that have answered since their last event that met an outage; and the events that have met one.
        self._answered: set[str] = set()
        self._met_outage: set[Position] = set()
        with store.transaction() as work:
            self._look(work)
        if self.paused:
            self._keys_at_once = _KEYS_AFTER_OUTAGE

    def retry_due(self) -> int:
        """
        Retry the events whose backoff is over; return how many, also 0 when it is too early to look.

        Raises:
            LeaseLost: another worker has the partition; nothing was committed.

        """
        if not self.blocked_keys or time.monotonic() < self._look_at:
            return 0
        began = time.monotonic()
        with self._store.transaction() as work:
            heads = retry_repository.heads_of_line(work, self._claim)
            self._look(work)
            # Last, since it writes: an open write transaction delays all consumers.
            probe = self._claim_probe(work)
        self._look_at = time.monotonic() + max(_LOOK_EVERY_S, (time.monotonic() - began) / _LOOKING_SHARE)
        tried = self._probe(*probe) if probe else 0
        together = [head for head in heads if not _goes_alone(head)][: self._keys_at_once]
        tried += self._retry_together(together) if together else 0
        return tried + self._retry_alone([head for head in heads if _goes_alone(head)])

    def look_soon(self) -> None:
        """Look for due retries at the next step, without waiting for the usual interval."""
        self._look_at = 0.0

    def learn(self, outcome: Outcome) -> None:
        """Remember the blocked keys and paused sources of a committed attempt; the next look would find them anyway."""
        self.blocked_keys |= {failed.event.partition_key for failed in outcome.failed}
        if self._recipient.is_external:
            self._learn_outages(outcome)

    def _learn_outages(self, outcome: Outcome) -> None:
        self._answered |= {event.source for event in outcome.delivered}
        self._met_outage -= {event.at for event in outcome.delivered}
        paused = {failed.event.source: failed.failure for failed in outcome.failed if failed.verdict.pauses_the_source}
        if paused:
            self._answered -= paused.keys()
            self._met_outage |= {failed.event.at for failed in outcome.failed if failed.verdict.may_be_of_one_event}
            self.paused |= paused
            self._keys_at_once = _KEYS_AFTER_OUTAGE

    def _blame_the_only_one(self, outcome: Outcome) -> None:
        """
        Count an apparent outage or refusal against the event when it alone meets one while others of its source succeed.

        Otherwise that one event would pause its source for ever.
        """
        if len(outcome.failed) != 1 or outcome.delivered:
            return
        (failed,) = outcome.failed
        is_its_own = failed.event.at in self._met_outage and failed.event.source in self._answered
        if failed.verdict.may_be_of_one_event and is_its_own:
            outcome.failed = [replace(failed, verdict=Verdict.TRANSIENT)]

    def _look(self, work: Work) -> None:
        self.blocked_keys = retry_repository.blocked_keys(work, self._claim)
        if self._recipient.is_external:
            self.paused = source_outages.paused(work, self._claim.subscriber)

    def _claim_probe(self, work: Work) -> tuple[Probe, DeadLetter] | None:
        if not self._recipient.is_external:
            return None
        life = timedelta(seconds=self._subscriber.effect_timeout_s) + self._life
        probe = source_outages.claim_probe(work, self._claim, life)
        dead_letter = retry_repository.probe_event(work, self._claim, probe.source) if probe else None
        return (probe, dead_letter) if probe and dead_letter else None

    def _probe(self, probe: Probe, dead_letter: DeadLetter) -> int:
        """Deliver one event of a paused source, to find out whether its outage is over."""

        def update(work: Work, outcome: Outcome) -> None:
            for failed in outcome.failed:
                if not failed.verdict.blames_the_event:
                    wait = failures.probe_wait(self._subscriber, failed, probe.probes)
                    source_outages.reschedule(work, self._claim.subscriber, probe.source, failed.failure, wait)
                    return
            # Any other result means that the source has answered.
            source_outages.end(work, self._claim.subscriber, probe.source)
            log.info("%s: %s has recovered", self._claim.subscriber, probe.source)

        others = {source: failure for source, failure in self.paused.items() if source != probe.source}
        tried = self._retry([dead_letter], others, update)
        if not tried:  # A person has closed it meanwhile; let another event probe.
            with self._store.transaction() as work:
                failure = self.paused[probe.source]
                source_outages.reschedule(work, self._claim.subscriber, probe.source, failure, timedelta(0))
        return tried

    def _retry_together(self, heads: Sequence[DeadLetter]) -> int:
        """Retry, in one batch, the keys that were never retried on their own, each with all its waiting events."""
        with self._store.question() as work:
            keys = [head.event.partition_key for head in heads]
            dead_letters = retry_repository.pending_of_keys(work, self._claim, keys)
        return self._retry(dead_letters, self.paused)

    def _retry_alone(self, heads: Sequence[DeadLetter]) -> int:
        """Retry one after the other, for a moment, since new events wait for these. The rest is due at the next look."""
        tried, until = 0, time.monotonic() + _ALONE_S
        for head in heads:
            if head.event.source not in self.paused and time.monotonic() < until:
                tried += self._retry([head], self.paused)
        return tried

    def _retry(
        self, dead_letters: Sequence[DeadLetter], paused: Mapping[str, Failure], update: _UpdateOutages | None = None
    ) -> int:
        """
        Retry *dead_letters* in order; return how many were tried.

        The first of each key is recorded before it is tried, since it may kill its worker. Keys that a person has closed
        meanwhile are left out.
        """
        attempts = self._record_attempts(dead_letters)
        dead_letters = [candidate for candidate in dead_letters if candidate.event.partition_key in attempts]
        if not dead_letters:
            return 0
        by_position = {candidate.event.at: candidate for candidate in dead_letters}

        def attempt_of(event: Event) -> Attempt:
            dead_letter = by_position[event.at]
            dead_letter_id, recorded = attempts[event.partition_key]
            is_recorded = dead_letter_id == dead_letter.dead_letter_id
            return Attempt(dead_letter.event, recorded if is_recorded else dead_letter.attempts + 1, is_recorded)

        effect = self._effect([candidate.deliverable for candidate in dead_letters], paused)
        with self._store.transaction() as work:
            outcome = effect(work)
            self._blame_the_only_one(outcome)
            delivered = [by_position[event.at].dead_letter_id for event in outcome.delivered]
            retry_repository.mark_recovered(work, delivered)
            failures.record(work, self._claim, self._subscriber, outcome, attempt_of)
            (update or self._begin_outages)(work, outcome)
            self._supersede_older(work, outcome)
            consumer_leases.renew(work, self._claim, self._life)
            failpoint("deliver.before_commit")
        self.learn(outcome)
        if outcome.delivered:
            self._keys_at_once = min(_KEYS_AT_ONCE, self._keys_at_once * _KEYS_AFTER_OUTAGE)
            self.look_soon()
        return len(dead_letters)

    def _record_attempts(self, dead_letters: Sequence[DeadLetter]) -> dict[str, tuple[int, int]]:
        """
        Record the coming attempt of the first event of each key; return key → its dead letter id and attempts.

        An event whose attempts are used up becomes a dead letter and is left out.
        """
        first: dict[str, DeadLetter] = {}
        for dead_letter in dead_letters:
            first.setdefault(dead_letter.event.partition_key, dead_letter)
        waits_s = {head.dead_letter_id: failures.wait_s(self._subscriber, head.attempts + 1) for head in first.values()}
        with self._store.transaction() as work:
            consumer_leases.renew(work, self._claim, self._life)
            attempts = retry_repository.record_attempts(work, waits_s)
            # Its last attempt killed the worker, or it would be dead already.
            spent = {id_ for id_, number in attempts.items() if number > self._subscriber.attempts}
            killers = [head.event for head in first.values() if head.dead_letter_id in spent]
            retry_repository.upsert(work, self._claim, [_killed_its_worker(event) for event in killers])
        failpoint("deliver.recorded")
        return {
            key: (head.dead_letter_id, attempts[head.dead_letter_id])
            for key, head in first.items()
            if head.dead_letter_id in attempts and head.dead_letter_id not in spent
        }

    def _begin_outages(self, work: Work, outcome: Outcome) -> None:
        failures.begin_outages(work, self._claim, self._subscriber, outcome, self.paused)

    def _supersede_older(self, work: Work, outcome: Outcome) -> None:
        name = self._claim.subscriber
        if self._subscriber.newer_replaces_older and outcome.delivered and retry_repository.any_dead(work, name):
            retry_repository.supersede(work, name, outcome.delivered)


def _goes_alone(head: DeadLetter) -> bool:
    """
    Decide whether an event is retried on its own.

    It is if it was tried before: should it kill the worker, no other event is blamed. It also is if its record is in use, or
    all events of the same call would wait for it.
    """
    return head.attempts > 0 or head.cause == RECORD_IN_USE


def _killed_its_worker(event: Event) -> RetryRecord:
    return RetryRecord(event=event, state="dead", failure=_WORKER_ENDED)
