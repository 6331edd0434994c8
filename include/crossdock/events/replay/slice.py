"""One slice of a replay: deliver some events or dead letters, and record them with the progress in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound, ReplayStopped, Transient
from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.dead_letters.repository import AT_WORK, DeadLetter, Failure
from crossdock.events.delivery import inbox, retry_repository
from crossdock.events.delivery.attempt import Failed, Outcome, Recipient, apply, bisect
from crossdock.events.delivery.external_effect import deliver
from crossdock.events.delivery.lease_renewal import LeaseGuard, LeaseRenewal
from crossdock.events.model import Event, Position
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay.repository import Replay
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.observability import audit

prepare(Selection)

#: How long a replay's worker may send no heartbeat before another worker continues the replay.
WORKER_LIFE = timedelta(seconds=30)
#: A person who stops a replay waits no longer than this, plus one call of the external system.
_LOOK_EVERY_S = 1.0
#: Dead letters are delivered one by one. A slice ends after this time, or a crash would repeat all of them.
_SLICE_S = 1.0


class ReplayWaits(Transient):
    """The replay has to call an external system, which is down or in use; it continues later."""


@dataclass
class ReplayClaim:
    """A worker's claim on a replay, valid until somebody stops the replay or another worker takes it over."""

    store: Store
    replay_id: int
    worker: str
    renewal: LeaseRenewal
    _look_at: float = field(default=0.0)

    def check(self) -> None:
        """
        Renew the claim and check that it is still valid, at most once a second.

        Raises:
            ReplayStopped: it is not.

        """
        if time.monotonic() < self._look_at:
            return
        with self.store.transaction() as work:
            self.refuse_lost(work)
        self._look_at = time.monotonic() + _LOOK_EVERY_S

    def refuse_lost(self, work: Work) -> None:
        """
        Check the claim in the transaction of a slice: nobody stops or takes over the replay before its commit.

        Raises:
            ReplayStopped: the claim is no longer valid.

        """
        if not replay_repository.renew(work, self.replay_id, self.worker, WORKER_LIFE):
            raise ReplayStopped(self.replay_id)


def replay_events(claim: ReplayClaim, replay: Replay, subscribers: Mapping[str, Subscriber], size: int) -> int:
    """
    Replay the next *size* events; return the number of deliveries, 0 when none is left.

    Killed before its commit, it repeats the external side effects of the slice; no event is left out.

    Raises:
        ReplayStopped: nothing of the slice was recorded.
        ReplayWaits: nothing of the slice was recorded; call it again later.

    """
    names = [name for name in replay.request["subscribers"] if name in subscribers]
    with claim.store.transaction() as work:
        events = _next_events(work, replay, subscribers, names, size)
        theirs = {
            name: dead_letter_repository.with_edits(
                work, name, [event for event in events if event.type in subscribers[name].types]
            )
            for name in names
        }
    if not events:
        return 0
    due = [Recipient(name, subscribers[name]) for name in names if theirs[name]]
    external = {
        recipient.name: _deliver_external(claim, recipient, theirs[recipient.name])
        for recipient in due
        if recipient.is_external
    }
    failpoint("replay.delivered")
    failed = 0
    with claim.store.transaction() as work:
        claim.refuse_lost(work)
        for recipient in due:
            failed += _record_events(work, recipient, theirs[recipient.name], external.get(recipient.name))
        processed = sum(map(len, theirs.values()))
        request = {**replay.request, "cursor": list(events[-1].at)}
        _progress(work, claim, replay, request, processed=processed, failed=failed)
    failpoint("replay.committed")
    return processed


def _next_events(
    work: Work, replay: Replay, subscribers: Mapping[str, Subscriber], names: Sequence[str], size: int
) -> list[Event]:
    selection = msgspec.convert(replay.request["selection"], Selection)
    subscribed = {type_ for name in names for type_ in subscribers[name].types}
    # A type that does not exist where there is none in common: an empty selection would mean all types.
    types = tuple(sorted(subscribed & set(selection.types) if selection.types else subscribed)) or ("-",)
    after = Position(*replay.request["cursor"])
    return event_store.select(work, msgspec.structs.replace(selection, after=after, types=types), limit=size)


def _deliver_external(claim: ReplayClaim, recipient: Recipient, events: Sequence[Event]) -> list[Failed]:
    guard = LeaseGuard(claim.renewal, claim.check)
    failed = _deliver_all(events, lambda some: deliver(recipient, some, guard))
    for failure in failed:
        if not failure.verdict.blames_the_event:
            raise ReplayWaits(f"{recipient.name}: {failure.failure.reason}", retry_in_s=failure.retry_in_s or None)
    return failed


def _record_events(work: Work, recipient: Recipient, events: Sequence[Event], failed: list[Failed] | None) -> int:
    """
    Record *events* and move the failed ones to the dead letters; return how many failed.

    Without *failed* the events are applied here, again, without regard to the inbox.
    """
    if failed is None:
        failed = _deliver_all(events, lambda some: _apply_here(work, recipient, some))
    positions = {failure.event.at for failure in failed}
    inbox.add(work, recipient.name, [event for event in events if event.at not in positions])
    for failure in failed:
        retry_repository.move_to_dead_letters(work, recipient.name, failure.event, failure.failure)
    return len(failed)


def _apply_here(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    def act(some: Sequence[Event]) -> None:
        with work.transaction():
            apply(work, recipient, some)

    outcome = Outcome()
    bisect(recipient, events, outcome, act)
    return outcome


def _deliver_all(events: Sequence[Event], deliver_some: Callable[[Sequence[Event]], Outcome]) -> list[Failed]:
    """
    Deliver *events*; return the failed ones.

    A failed event blocks no other one: in a replay it becomes a dead letter immediately, and the next events of its key are delivered.
    """
    failed: list[Failed] = []
    while events:
        outcome = deliver_some(events)
        failed += outcome.failed
        if any(not failure.verdict.blames_the_event for failure in outcome.failed):
            break
        events = outcome.blocked
    return failed


def replay_dead_letters(claim: ReplayClaim, replay: Replay, subscribers: Mapping[str, Subscriber], size: int) -> int:
    """
    Replay up to *size* of the next dead letters, with their edited data; return how many, 0 when none is left.

    Killed before its commit, it repeats the external side effects of the slice; no dead letter is left out.

    Raises:
        ReplayStopped: nothing of the slice was recorded.
        ReplayWaits: none could be delivered; call it again later.

    """
    first = int(replay.request["next"])
    with claim.store.transaction() as work:
        ids = replay_repository.chosen(work, replay.replay_id, first, size)
    external: dict[int, Failure | None] = {}
    processed = 0
    until = time.monotonic() + _SLICE_S
    for dead_letter_id in ids:
        try:
            external |= _deliver_dead_letter(claim, replay, subscribers, dead_letter_id)
        except ReplayWaits:
            if not processed:
                raise
            break  # Record first what was delivered before.
        processed += 1
        if time.monotonic() >= until:
            break
    if not processed:
        return 0
    failpoint("replay.delivered")
    with claim.store.transaction() as work:
        claim.refuse_lost(work)
        failed = sum(not _record_dead_letter(work, replay, subscribers, id_, external) for id_ in ids[:processed])
        request = {**replay.request, "next": first + processed}
        _progress(work, claim, replay, request, processed=processed, failed=failed)
    failpoint("replay.committed")
    return processed


def _deliver_dead_letter(
    claim: ReplayClaim, replay: Replay, subscribers: Mapping[str, Subscriber], dead_letter_id: int
) -> dict[int, Failure | None]:
    """
    Deliver a dead letter to an external system; return its id with the failure or None.

    Empty where its effect is in the hub, or where it is not to be delivered.
    """
    try:
        with claim.store.question() as work:
            dead_letter = dead_letter_repository.get(work, dead_letter_id)
    except NotFound:
        return {}
    is_settled = dead_letter.state in AT_WORK or _is_closed_since(dead_letter, replay)
    if is_settled or dead_letter.subscriber not in subscribers:
        return {}
    recipient = Recipient(dead_letter.subscriber, subscribers[dead_letter.subscriber])
    if not recipient.is_external:
        return {}
    failed = _deliver_external(claim, recipient, [dead_letter.deliverable])
    return {dead_letter_id: failed[0].failure if failed else None}


def _record_dead_letter(
    work: Work,
    replay: Replay,
    subscribers: Mapping[str, Subscriber],
    dead_letter_id: int,
    external: Mapping[int, Failure | None],
) -> bool:
    """Record the result of one dead letter; False where it failed or could not be delivered."""
    try:
        dead_letter = dead_letter_repository.get(work, dead_letter_id, lock=True)
    except NotFound:
        return False  # It was chosen, and retention has deleted it since.
    if dead_letter.state in AT_WORK:
        return False  # Another replay has failed in the meantime, and the delivery retries it.
    if _is_closed_since(dead_letter, replay):
        return True
    if dead_letter_id in external:
        failure = external[dead_letter_id]
        if failure is None:
            inbox.add(work, dead_letter.subscriber, [dead_letter.event])
    else:
        failure = _apply_dead_letter(work, subscribers, dead_letter)
    if failure is None:
        closed_by = f"{replay.actor} in replay {replay.replay_id}"
        dead_letter_repository.close(work, dead_letter_id, "replayed", closed_by)
    else:
        dead_letter_repository.mark_failed_again(work, dead_letter_id, failure)
    is_edited = dead_letter.edited_data is not None
    detail = {"replay": replay.replay_id, "edited": is_edited, "failed": failure and failure.cause}
    subject = f"dead-letters/{dead_letter_id}"
    audit.add(work, actor=replay.actor, act="dead_letter.replay", subject=subject, detail=detail)
    return failure is None


def _is_closed_since(dead_letter: DeadLetter, replay: Replay) -> bool:
    """Check whether a person or a later event closed it after the replay was requested: the later decision wins."""
    return dead_letter.closed_at is not None and dead_letter.closed_at > replay.requested_at


def _apply_dead_letter(work: Work, subscribers: Mapping[str, Subscriber], dead_letter: DeadLetter) -> Failure | None:
    if dead_letter.subscriber not in subscribers:
        return Failure(cause="NoSubscriber", reason=f"The subscriber {dead_letter.subscriber} no longer exists")
    recipient = Recipient(dead_letter.subscriber, subscribers[dead_letter.subscriber])
    outcome = _apply_here(work, recipient, [dead_letter.deliverable])
    if outcome.failed:
        return outcome.failed[0].failure
    inbox.add(work, dead_letter.subscriber, [dead_letter.event])
    return None


def _progress(
    work: Work, claim: ReplayClaim, replay: Replay, request: dict[str, Any], *, processed: int, failed: int
) -> None:
    done = processed - failed
    if not replay_repository.progress(work, replay, claim.worker, request, done=done, failed=failed, life=WORKER_LIFE):
        raise ReplayStopped(replay.replay_id)
    failpoint("replay.before_commit")
