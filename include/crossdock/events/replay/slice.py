"""A slice of a replay: some events or letters told again, and noted in one transaction with how far the replay is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from crossdock.core.errors import NotFound, ReplayStopped, Transient
from crossdock.core.failpoints import crash_point
from crossdock.db.database import Store, Work
from crossdock.events import store as event_log
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.dead_letters.repository import AT_WORK, Failure, Letter
from crossdock.events.delivery import inbox as event_inbox
from crossdock.events.delivery import retry_repository as event_retries
from crossdock.events.delivery.attempt import Failed, Outcome, Recipient, halved, have_effect
from crossdock.events.delivery.external_effect import tell
from crossdock.events.delivery.lease_renewal import Holding, Keeper
from crossdock.events.model import Event, Position
from crossdock.events.ports import KeyPuller
from crossdock.events.replay import repository as event_replays
from crossdock.events.replay.repository import Replay
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.observability import audit

#: How long a replay's worker may be silent before another goes on with it.
WORKER_LIFE = timedelta(seconds=30)
#: A person who stops a replay waits no longer than this, and a call of the system outside.
_LOOK_EVERY_S = 1.0
#: Letters are told one by one; so much time of it in one slice, or a worker's death would have them all told twice.
_SLICE_S = 1.0
_NO_PULLER = "it reaches outside the hub, which a worker of the delivery does"


class ReplayWaits(Transient):
    """What a replay reaches outside is out, or in use; it goes on later where it is now."""


@dataclass(frozen=True)
class Reactions:
    """Who is told, and what they may need."""

    subscribers: Mapping[str, Subscriber]
    puller: KeyPuller | None

    def of(self, name: str) -> Recipient:
        """
        The subscriber of that name.

        Raises:
            ReplayWaits: its effect is outside, and this worker has not what that takes.

        """
        recipient = Recipient(name, self.subscribers[name], self.puller)
        if recipient.is_outside and self.puller is None:
            raise ReplayWaits(f"{name} is not told here: {_NO_PULLER}", retry_in_s=0)
        return recipient


@dataclass
class Hold:
    """A worker's claim on a replay, for as long as nobody stops it."""

    store: Store
    replay_id: int
    worker: str
    keeper: Keeper
    _look_at: float = field(default=0.0)

    def check(self) -> None:
        """
        Keeps the claim, and looks whether it is still there, at most once a second.

        Raises:
            ReplayStopped: it is not.

        """
        if time.monotonic() < self._look_at:
            return
        with self.store.transaction() as work:
            self.refuse_lost(work)
        self._look_at = time.monotonic() + _LOOK_EVERY_S

    def refuse_lost(self, work: Work) -> None:
        """The same now, in the transaction of what is to be noted: nobody stops or takes the replay before its end."""
        if not event_replays.renew(work, self.replay_id, self.worker, WORKER_LIFE):
            raise ReplayStopped(self.replay_id)


def some_events(hold: Hold, replay: Replay, reactions: Reactions, size: int) -> int:
    """
    How many tellings there were of the next *size* events; 0 when there are none.

    Killed before its commit, what went outside may be told twice; nothing is left out.

    Raises:
        ReplayStopped: nothing of it was noted.
        ReplayWaits: nothing of it was noted; call it again later.

    """
    names = [name for name in replay.request["subscribers"] if name in reactions.subscribers]
    with hold.store.transaction() as work:
        events = _next_events(work, replay, reactions, names, size)
        theirs = {
            name: failed_deliveries.as_mended(
                work, name, [event for event in events if event.type in reactions.subscribers[name].types]
            )
            for name in names
        }
    if not events:
        return 0
    recipients = [reactions.of(name) for name in names if theirs[name]]
    outside = {
        recipient.name: _told_outside(hold, recipient, theirs[recipient.name])
        for recipient in recipients
        if recipient.is_outside
    }
    crash_point("replay.told")
    failed = 0
    with hold.store.transaction() as work:
        hold.refuse_lost(work)
        for recipient in recipients:
            failed += _note_events(work, recipient, theirs[recipient.name], outside.get(recipient.name))
        dealt = sum(map(len, theirs.values()))
        request = {**replay.request, "cursor": list(events[-1].at)}
        _progress(work, hold, replay, request, dealt=dealt, failed=failed)
    crash_point("replay.committed")
    return dealt


def _next_events(work: Work, replay: Replay, reactions: Reactions, names: Sequence[str], size: int) -> list[Event]:
    wanted = msgspec.convert(replay.request["selection"], Selection)
    heard = {type_ for name in names for type_ in reactions.subscribers[name].types}
    # Of what nobody hears there is none: no types at all would be read as all of them.
    types = tuple(sorted(heard & set(wanted.types) if wanted.types else heard)) or ("-",)
    after = Position(*replay.request["cursor"])
    return event_log.select(work, msgspec.structs.replace(wanted, after=after, types=types), limit=size)


def _told_outside(hold: Hold, recipient: Recipient, events: Sequence[Event]) -> list[Failed]:
    holding = Holding(hold.keeper, hold.check)
    failed = _all_told(events, lambda some: tell(recipient, some, holding))
    for each in failed:
        if not each.verdict.blames_the_event:
            raise ReplayWaits(f"{recipient.name}: {each.failure.reason}", retry_in_s=each.retry_in_s or None)
    return failed


def _note_events(work: Work, recipient: Recipient, events: Sequence[Event], told: list[Failed] | None) -> int:
    """How many of *events* failed and are dead letters now. The effect comes again, whatever the inbox has."""
    if told is None:
        told = _all_told(events, lambda some: _told_here(work, recipient, some))
    places = {each.event.at for each in told}
    event_inbox.add(work, recipient.name, [event for event in events if event.at not in places])
    for each in told:
        event_retries.bury(work, recipient.name, each.event, each.failure)
    return len(told)


def _told_here(work: Work, recipient: Recipient, events: Sequence[Event]) -> Outcome:
    def act(some: Sequence[Event]) -> None:
        with work.transaction():
            have_effect(work, recipient, some)

    outcome = Outcome()
    halved(recipient, events, outcome, act)
    return outcome


def _all_told(events: Sequence[Event], tell_some: Callable[[Sequence[Event]], Outcome]) -> list[Failed]:
    """What failed of *events*. Nothing waits behind it: in a replay it is a dead letter at once, and its key goes on."""
    failed: list[Failed] = []
    while events:
        outcome = tell_some(events)
        failed += outcome.failed
        if any(not each.verdict.blames_the_event for each in outcome.failed):
            break
        events = outcome.behind
    return failed


def some_letters(hold: Hold, replay: Replay, reactions: Reactions, size: int) -> int:
    """
    How many of the next *size* letters were told, as mended; 0 when there are none.

    Killed before its commit, what went outside may be told twice; nothing is left out.

    Raises:
        ReplayStopped: nothing of it was noted.
        ReplayWaits: none could be told; call it again later.

    """
    first = int(replay.request["next"])
    with hold.store.transaction() as work:
        numbers = event_replays.chosen(work, replay.replay_id, first, size)
    told: dict[int, Failure | None] = {}
    dealt = 0
    until = time.monotonic() + _SLICE_S
    for number in numbers:
        try:
            told |= _letter_told_outside(hold, replay, reactions, number)
        except ReplayWaits:
            if not dealt:
                raise
            break  # What was told before it is noted first.
        dealt += 1
        if time.monotonic() >= until:
            break
    if not dealt:
        return 0
    crash_point("replay.told")
    with hold.store.transaction() as work:
        hold.refuse_lost(work)
        failed = sum(not _note_letter(work, replay, reactions, number, told) for number in numbers[:dealt])
        _progress(work, hold, replay, {**replay.request, "next": first + dealt}, dealt=dealt, failed=failed)
    crash_point("replay.committed")
    return dealt


def _letter_told_outside(
    hold: Hold, replay: Replay, reactions: Reactions, dead_letter_id: int
) -> dict[int, Failure | None]:
    """Number → why it failed, or None; nothing at all when its effect is in the hub, or it is not to be told."""
    try:
        with hold.store.question() as work:
            letter = failed_deliveries.get(work, dead_letter_id)
    except NotFound:
        return {}
    if letter.state in AT_WORK or _is_closed_since(letter, replay) or letter.subscriber not in reactions.subscribers:
        return {}
    recipient = reactions.of(letter.subscriber)
    if not recipient.is_outside:
        return {}
    failed = _told_outside(hold, recipient, [letter.deliverable])
    return {dead_letter_id: failed[0].failure if failed else None}


def _note_letter(
    work: Work, replay: Replay, reactions: Reactions, dead_letter_id: int, told: Mapping[int, Failure | None]
) -> bool:
    """Whether the letter's event, as mended, had its effect, or needs none any more."""
    try:
        letter = failed_deliveries.get(work, dead_letter_id, lock=True)
    except NotFound:
        return False  # It was chosen, and is past its time by now.
    if letter.state in AT_WORK:
        return False  # Replayed elsewhere meanwhile, and at work now; it is tried again by itself.
    if _is_closed_since(letter, replay):
        return True
    if dead_letter_id in told:
        failure = told[dead_letter_id]
        if failure is None:
            event_inbox.add(work, letter.subscriber, [letter.event])
    else:
        failure = _letter_told_here(work, reactions, letter)
    if failure is None:
        failed_deliveries.close(work, dead_letter_id, "replayed", f"{replay.actor} in replay {replay.replay_id}")
    else:
        failed_deliveries.fail_again(work, dead_letter_id, failure)
    detail = {"replay": replay.replay_id, "edited": letter.edited_data is not None, "failed": failure and failure.cause}
    audit.add(work, actor=replay.actor, act="letter.replay", subject=f"dead-letters/{dead_letter_id}", detail=detail)
    return failure is None


def _is_closed_since(letter: Letter, replay: Replay) -> bool:
    """Whether a person, or a later event, has settled it after the replay was asked for: that was said last, and stands."""
    return letter.closed_at is not None and letter.closed_at > replay.requested_at


def _letter_told_here(work: Work, reactions: Reactions, letter: Letter) -> Failure | None:
    if letter.subscriber not in reactions.subscribers:
        return Failure(cause="NoSubscriber", reason=f"There is no subscriber {letter.subscriber} now")
    recipient = reactions.of(letter.subscriber)
    outcome = _told_here(work, recipient, [letter.deliverable])
    if outcome.failed:
        return outcome.failed[0].failure
    event_inbox.add(work, letter.subscriber, [letter.event])
    return None


def _progress(work: Work, hold: Hold, replay: Replay, request: dict[str, Any], *, dealt: int, failed: int) -> None:
    done = dealt - failed
    if not event_replays.progress(work, replay, hold.worker, request, done=done, failed=failed, life=WORKER_LIFE):
        raise ReplayStopped(replay.replay_id)
    crash_point("replay.before_commit")
