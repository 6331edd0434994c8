"""Failed deliveries of one key partition, tried again when their time has come, with what waits behind them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from crossdock.core.failpoints import crash_point
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters.repository import Failure, Letter
from crossdock.events.delivery import consumer_leases as event_readers
from crossdock.events.delivery import failures
from crossdock.events.delivery import retry_repository as event_retries
from crossdock.events.delivery import source_outages as event_outages
from crossdock.events.delivery.attempt import RECORD_IN_USE, Outcome, Recipient, Verdict
from crossdock.events.delivery.consumer_leases import Claim
from crossdock.events.delivery.failures import Tried
from crossdock.events.delivery.retry_repository import Kept
from crossdock.events.delivery.source_outages import Probe
from crossdock.events.model import Event, Position

log = logging.getLogger(__name__)

#: Gives events, but for those of sources that are out, their effect: now, or when it is called with the transaction
#: that notes it.
Effect = Callable[[Sequence[Event], Mapping[str, Failure]], Callable[[Work], Outcome]]
#: What is done about outages in the transaction of an outcome.
_Settle = Callable[[Work, Outcome], None]

#: Between two looks for failed deliveries whose time has come; more where looking itself takes long.
_LOOK_EVERY_S = 0.2
_LOOKING_SHARE = 0.1
#: Keys tried in one go. After an outage it begins with few, and each go that gets through lets in more: a system that
#: has just come back is not flooded, and one record that looks like an outage by itself does not begin it again for all.
_KEYS_AT_ONCE = 100
_KEYS_AFTER_OUTAGE = 4
_ALONE_S = 1.0
_WORKER_ENDED = Failure(
    cause="WorkerEnded", reason="The handler ended or hung its worker each time it was called with this event"
)


class Retries:
    """What a partition's reader remembers of its failed deliveries, and how it tries them again."""

    def __init__(self, store: Store, claim: Claim, recipient: Recipient, effect: Effect, lease_life: timedelta) -> None:
        self._store, self._claim, self._recipient, self._effect = store, claim, recipient, effect
        self._subscriber, self._life = recipient.subscriber, lease_life
        self._look_at, self._keys_at_once = 0.0, _KEYS_AT_ONCE
        #: Keys whose next event must wait for one that failed; complete, at least.
        self.blocked: set[str] = set()
        #: Sources that are out; as of the last look.
        self.out: dict[str, Failure] = {}
        #: Sources that have answered since the last of their events that met an outage; and the events that have met one.
        self._answered: set[str] = set()
        self._met_outage: set[Position] = set()
        with store.transaction() as work:
            self._look(work)
        if self.out:
            self._keys_at_once = _KEYS_AFTER_OUTAGE

    def try_again(self) -> int:
        """
        How many were tried of those whose time has come; 0 too when it is not time to look.

        Raises:
            LeaseLost: another worker has the partition; nothing was committed.

        """
        if not self.blocked or time.monotonic() < self._look_at:
            return 0
        began = time.monotonic()
        with self._store.transaction() as work:
            heads = event_retries.heads(work, self._claim)
            self._look(work)
            # Last, since it writes: an open write transaction keeps all readers waiting.
            probe = self._probe(work)
        self._look_at = time.monotonic() + max(_LOOK_EVERY_S, (time.monotonic() - began) / _LOOKING_SHARE)
        tried = self._ask(*probe) if probe else 0
        together = [head for head in heads if not _goes_alone(head)][: self._keys_at_once]
        tried += self._try_together(together) if together else 0
        return tried + self._try_alone([head for head in heads if _goes_alone(head)])

    def look_soon(self) -> None:
        """Something was let in or became due: do not wait for the usual time."""
        self._look_at = 0.0

    def learn(self, outcome: Outcome) -> None:
        """Of a try that is committed: which keys wait now, and which sources are out. The next look knows it anyway."""
        self.blocked |= {each.event.partition_key for each in outcome.failed}
        if self._recipient.is_outside:
            self._learn_who_answers(outcome)

    def _learn_who_answers(self, outcome: Outcome) -> None:
        self._answered |= {event.source for event in outcome.delivered}
        self._met_outage -= {event.at for event in outcome.delivered}
        out = {each.event.source: each.failure for each in outcome.failed if each.verdict is Verdict.OUTAGE}
        if out:
            self._answered -= out.keys()
            self._met_outage |= {each.event.at for each in outcome.failed if each.verdict is Verdict.OUTAGE}
            self.out |= out
            self._keys_at_once = _KEYS_AFTER_OUTAGE

    def _blame_the_only_one(self, outcome: Outcome) -> None:
        """
        One that met an outage, then others of its source were answered, and now it meets one again, alone: that is the
        event's failure, whatever it looks like, and is counted. Else it would be an outage of its source for ever.
        """
        if len(outcome.failed) != 1 or outcome.delivered:
            return
        (failed,) = outcome.failed
        is_its_own = failed.event.at in self._met_outage and failed.event.source in self._answered
        if failed.verdict is Verdict.OUTAGE and is_its_own:
            outcome.failed = [replace(failed, verdict=Verdict.PASSING)]

    def _look(self, work: Work) -> None:
        self.blocked = event_retries.blocked_keys(work, self._claim)
        if self._recipient.is_outside:
            self.out = event_outages.out(work, self._claim.subscriber)

    def _probe(self, work: Work) -> tuple[Probe, Letter] | None:
        if not self._recipient.is_outside:
            return None
        life = timedelta(seconds=self._subscriber.effect_timeout_s) + self._life
        probe = event_outages.probe(work, self._claim, life)
        letter = event_retries.probe_of(work, self._claim, probe.source) if probe else None
        return (probe, letter) if probe and letter else None

    def _ask(self, probe: Probe, letter: Letter) -> int:
        """One event of a source that is out, to see whether it still is."""

        def settle(work: Work, outcome: Outcome) -> None:
            for failed in outcome.failed:
                if not failed.verdict.blames_the_event:
                    wait = failures.probe_wait(self._subscriber, failed, probe.probes)
                    event_outages.put_off(work, self._claim.subscriber, probe.source, failed.failure, wait)
                    return
            # Whatever it said, it has answered.
            event_outages.end(work, self._claim.subscriber, probe.source)
            log.info("%s: %s is no longer out", self._claim.subscriber, probe.source)

        others = {source: failure for source, failure in self.out.items() if source != probe.source}
        tried = self._try([letter], others, settle)
        if not tried:  # A person has closed it meanwhile; another one may ask.
            with self._store.transaction() as work:
                event_outages.put_off(work, self._claim.subscriber, probe.source, self.out[probe.source], timedelta(0))
        return tried

    def _try_together(self, heads: Sequence[Letter]) -> int:
        """Keys that were never tried by themselves, in one go, each with all that waits of it."""
        with self._store.question() as work:
            letters = event_retries.of_keys(work, self._claim, [head.event.partition_key for head in heads])
        return self._try(letters, self.out)

    def _try_alone(self, heads: Sequence[Letter]) -> int:
        """One after the other, for a while: new events wait for these. The others are due at the next look."""
        tried, until = 0, time.monotonic() + _ALONE_S
        for head in heads:
            if head.event.source not in self.out and time.monotonic() < until:
                tried += self._try([head], self.out)
        return tried

    def _try(self, letters: Sequence[Letter], out: Mapping[str, Failure], settle: _Settle | None = None) -> int:
        """
        How many of *letters* were tried, in order; the first of each key noted before it is: it may end its worker.

        A key that a person has closed meanwhile is left out.
        """
        tries = self._note(letters)
        letters = [each for each in letters if each.event.partition_key in tries]
        if not letters:
            return 0
        by_place = {each.event.at: each for each in letters}

        def tried(event: Event) -> Tried:
            letter = by_place[event.at]
            dead_letter_id, noted = tries[event.partition_key]
            is_noted = dead_letter_id == letter.dead_letter_id
            return Tried(letter.event, noted if is_noted else letter.attempts + 1, is_noted)

        how = self._effect([each.deliverable for each in letters], out)
        with self._store.transaction() as work:
            outcome = how(work)
            self._blame_the_only_one(outcome)
            event_retries.recover(work, [by_place[event.at].dead_letter_id for event in outcome.delivered])
            failures.keep(work, self._claim, self._subscriber, outcome, tried)
            (settle or self._begin_outages)(work, outcome)
            self._close_older(work, outcome)
            event_readers.renew(work, self._claim, self._life)
            crash_point("deliver.before_commit")
        self.learn(outcome)
        if outcome.delivered:
            self._keys_at_once = min(_KEYS_AT_ONCE, self._keys_at_once * _KEYS_AFTER_OUTAGE)
            self.look_soon()
        return len(letters)

    def _note(self, letters: Sequence[Letter]) -> dict[str, tuple[int, int]]:
        """Key → its first letter, and the tries of that one with the coming one. One whose tries are used up is dead."""
        first: dict[str, Letter] = {}
        for letter in letters:
            first.setdefault(letter.event.partition_key, letter)
        waits_s = {each.dead_letter_id: failures.wait_s(self._subscriber, each.attempts + 1) for each in first.values()}
        with self._store.transaction() as work:
            event_readers.renew(work, self._claim, self._life)
            tries = event_retries.note_tries(work, waits_s)
            # Its last try ended the worker, or it would be dead already.
            spent = {dead_letter_id for dead_letter_id, number in tries.items() if number > self._subscriber.attempts}
            buried = [each.event for each in first.values() if each.dead_letter_id in spent]
            event_retries.keep(work, self._claim, [_ended_its_worker(event) for event in buried])
        crash_point("deliver.noted")
        return {
            key: (each.dead_letter_id, tries[each.dead_letter_id])
            for key, each in first.items()
            if each.dead_letter_id in tries and each.dead_letter_id not in spent
        }

    def _begin_outages(self, work: Work, outcome: Outcome) -> None:
        failures.begin_outages(work, self._claim, self._subscriber, outcome, self.out)

    def _close_older(self, work: Work, outcome: Outcome) -> None:
        name = self._claim.subscriber
        if self._subscriber.newer_replaces_older and outcome.delivered and event_retries.any_dead(work, name):
            event_retries.supersede(work, name, outcome.delivered)


def _goes_alone(head: Letter) -> bool:
    """
    One that was tried before: should it end the worker, it takes no other's blame, and no other takes its. And one whose
    record is in use, or all would wait for it that were told in the same call.
    """
    return head.attempts > 0 or head.cause == RECORD_IN_USE


def _ended_its_worker(event: Event) -> Kept:
    return Kept(event=event, state="dead", failure=_WORKER_ENDED)
