"""Events and dead letters told again, because a person asked: counted first, at a rate, stoppable, audited."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from include.flows import replay_quarantine
from include.flows.deliver_events.attempt import Recipient, failure_of, have_effect
from include.flows.desk_rules import refuse_unclear
from include.flows.replay_quarantine import ReplayStopped
from include.handlers import HANDLERS, Subscriber
from include.model import remedies
from include.model.errors import BadRequest, Conflict, NotFound
from include.model.events import Event, Position
from include.model.outside import KeyPuller
from include.store import audit, event_inbox, event_log, event_replays, failed_deliveries
from include.store.database import Store, Work
from include.store.event_log import Selection
from include.store.event_replays import Replay
from include.store.failed_deliveries import Letter

_SLICE = 200
_WORKER_LIFE = timedelta(seconds=30)


@dataclass(frozen=True)
class _Reactions:
    """Who is told, and what they may need."""

    handlers: Mapping[str, Subscriber]
    puller: KeyPuller | None

    def of(self, name: str) -> Recipient:
        return Recipient(name, self.handlers[name], self.puller)


def subscribers_of(name: str | None) -> list[str]:
    """
    The one subscriber, or all.

    Raises:
        NotFound: there is no such subscriber.

    """
    if name is not None and name not in HANDLERS:
        raise NotFound(f"There is no subscriber {name!r}. There are: {', '.join(HANDLERS)}")
    return [name] if name else list(HANDLERS)


def count(store: Store, wanted: Selection, subscribers: Sequence[str]) -> dict[str, int]:
    """The dry run: how many events each subscriber would be told again."""
    with store.transaction() as work:
        return {name: event_log.count(work, _heard(wanted, HANDLERS[name])) for name in subscribers}


def ask_for_events(
    store: Store, wanted: Selection, subscribers: Sequence[str], *, rate: float | None, actor: str
) -> Replay:
    """A replay of events, to be worked off by a reader or by `work_off`."""
    _refuse_rate(rate)
    total = sum(count(store, wanted, subscribers).values())
    request = {
        "selection": msgspec.to_builtins(wanted),
        "subscribers": list(subscribers),
        "cursor": list(wanted.after),
    }
    return _ask(store, "events", request, rate=rate, total=total, actor=actor)


def ask_for_letters(
    store: Store,
    letter_ids: Sequence[int],
    *,
    cause: str | None = None,
    everything: bool = False,
    rate: float | None,
    actor: str,
) -> Replay:
    """
    A replay of the dead letters that were named, one way only; numbers may name closed ones too.

    Raises:
        BadRequest: none or several ways were used.
        NotFound: no such letter, or none is left.
        Conflict: one is still at work.

    """
    _refuse_rate(rate)
    refuse_unclear(letter_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        chosen = [failed_deliveries.get(work, letter_id) for letter_id in dict.fromkeys(letter_ids)]
        if not letter_ids:
            chosen = failed_deliveries.find(work, cause=cause, limit=1_000_000)
    if not chosen:
        raise NotFound("There is no such dead letter", remedy=remedies.LETTERS)
    for letter in chosen:
        if letter.state in ("trying", "retrying", "waiting"):
            raise Conflict(f"Letter {letter.letter_id} is {letter.state}: it is tried again by itself")
    # The numbers are settled now: a letter that dies again in the replay is not replayed again by it.
    request = {"letter_ids": [letter.letter_id for letter in chosen], "next": 0}
    return _ask(store, "letters", request, rate=rate, total=len(chosen), actor=actor)


def stop(store: Store, replay_id: int, *, actor: str) -> Replay:
    """The replay, stopped: what it has done stays done."""
    with store.transaction() as work:
        event_replays.end(work, replay_id, "stopped")
        audit.add(work, actor=actor, act="replay.stop", subject=f"replay/{replay_id}")
        return event_replays.get(work, replay_id)


def work_off(
    store: Store,
    replay_id: int | None = None,
    *,
    handlers: Mapping[str, Subscriber] = HANDLERS,
    puller: KeyPuller | None = None,
    tell: Callable[[Replay], None] = lambda _: None,
    until: Callable[[], bool] = lambda: False,
) -> Replay | None:
    """
    The replay as it ended: the named one, or the oldest open one that nobody works on; None when there is none.

    May be killed at any moment: a slice is done with its count or not at all, and another worker goes on.
    """
    worker = uuid.uuid4().hex
    with store.transaction() as work:
        replay = event_replays.claim(work, worker, _WORKER_LIFE, replay_id=replay_id)
    if replay is None:
        return None
    while replay.state == "open" and not until():
        began = time.monotonic()
        size = _SLICE if replay.rate is None else max(1, min(_SLICE, int(replay.rate / 5)))
        try:
            if replay.what == replay_quarantine.WHAT:
                dealt = replay_quarantine.work_off_some(store, replay, worker, _WORKER_LIFE)
            else:
                with store.transaction() as work:
                    dealt = _slice(work, replay, worker, _Reactions(handlers, puller), size)
        except ReplayStopped:
            # By a person, or another worker has taken it over: either way it is not ours to go on with.
            return replay
        if not dealt:
            _end(store, replay)
        with store.transaction() as work:
            replay = event_replays.get(work, replay.replay_id)
        tell(replay)
        if replay.rate is not None and dealt:
            time.sleep(max(0.0, dealt / replay.rate - (time.monotonic() - began)))
    return replay


def _end(store: Store, replay: Replay) -> None:
    # Refused when somebody stopped it in this instant: then it has ended, too.
    with suppress(Conflict), store.transaction() as work:
        event_replays.end(work, replay.replay_id, "done")


def _slice(work: Work, replay: Replay, worker: str, reactions: _Reactions, size: int) -> int:
    """How many tellings this transaction made."""
    request = dict(replay.request)
    act = _tell_events if replay.what == "events" else _tell_letters
    dealt, failed = act(work, replay, reactions, request, size)
    if dealt and not event_replays.progress(
        work, replay, worker, request, done=dealt - failed, failed=failed, life=_WORKER_LIFE
    ):
        raise ReplayStopped(f"Replay {replay.replay_id} was stopped")
    return dealt


def _tell_events(
    work: Work, replay: Replay, reactions: _Reactions, request: dict[str, Any], size: int
) -> tuple[int, int]:
    wanted = msgspec.convert(request["selection"], Selection)
    names = [name for name in request["subscribers"] if name in reactions.handlers]
    heard = {type_ for name in names for type_ in reactions.handlers[name].types}
    # Of what nobody hears there is none: no types at all would be read as all of them.
    types = tuple(sorted(heard & set(wanted.types) if wanted.types else heard)) or ("-",)
    after = Position(*request["cursor"])
    events = event_log.select(work, msgspec.structs.replace(wanted, after=after, types=types), limit=size)
    dealt = failed = 0
    for name in names:
        theirs = [event for event in events if event.type in reactions.handlers[name].types]
        theirs = failed_deliveries.as_mended(work, name, theirs)
        dealt += len(theirs)
        failed += _tell(work, name, reactions, theirs)
    if events:
        request["cursor"] = list(events[-1].at)
    del replay
    return dealt, failed


def _tell(work: Work, name: str, reactions: _Reactions, events: Sequence[Event]) -> int:
    """How many of *events* failed and are dead letters now. The effect comes again, whatever the inbox has."""
    if not events:
        return 0
    try:
        with work.transaction():
            event_inbox.add(work, name, events)
            have_effect(work, reactions.of(name), events)
        return 0
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001  a handler may raise anything
        if len(events) == 1:
            failed_deliveries.bury(work, name, events[0], failure_of(error))
            return 1
    half = len(events) // 2
    return _tell(work, name, reactions, events[:half]) + _tell(work, name, reactions, events[half:])


def _tell_letters(
    work: Work, replay: Replay, reactions: _Reactions, request: dict[str, Any], size: int
) -> tuple[int, int]:
    first = int(request["next"])
    numbers = request["letter_ids"][first : first + size]
    request["next"] = first + len(numbers)
    failed = sum(not _tell_letter(work, replay, reactions, number) for number in numbers)
    return len(numbers), failed


def _tell_letter(work: Work, replay: Replay, reactions: _Reactions, letter_id: int) -> bool:
    """Whether the letter's event, as mended, had its effect."""
    letter = failed_deliveries.get(work, letter_id, lock=True)
    if letter.state in ("trying", "retrying", "waiting"):
        return False  # Replayed elsewhere meanwhile, and at work now; it is tried again by itself.
    failure = _try_letter(work, reactions, letter)
    if failure is None:
        failed_deliveries.close(work, letter_id, "replayed", f"{replay.actor} in replay {replay.replay_id}")
    else:
        failed_deliveries.fail_again(work, letter_id, failure)
    detail = {"replay": replay.replay_id, "mended": letter.mended is not None, "failed": failure and failure.cause}
    audit.add(work, actor=replay.actor, act="letter.replay", subject=f"dead-letters/{letter_id}", detail=detail)
    return failure is None


def _try_letter(work: Work, reactions: _Reactions, letter: Letter) -> failed_deliveries.Failure | None:
    if letter.subscriber not in reactions.handlers:
        return failed_deliveries.Failure(cause="NoSubscriber", reason=f"There is no subscriber {letter.subscriber} now")
    try:
        with work.transaction():
            event_inbox.add(work, letter.subscriber, [letter.event])
            have_effect(work, reactions.of(letter.subscriber), [letter.deliverable])
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001  a handler may raise anything
        return failure_of(error)
    return None


def _heard(wanted: Selection, subscriber: Subscriber) -> Selection:
    types = tuple(type_ for type_ in subscriber.types if not wanted.types or type_ in wanted.types)
    return msgspec.structs.replace(wanted, types=types or ("-",))


def _ask(store: Store, what: str, request: dict[str, Any], *, rate: float | None, total: int, actor: str) -> Replay:
    with store.transaction() as work:
        replay = event_replays.add(work, what=what, request=request, rate=rate, total=total, actor=actor)
        audit.add(
            work,
            actor=actor,
            act=f"replay.{what}",
            subject=f"replay/{replay.replay_id}",
            detail={"total": total, "rate": rate},
        )
    return replay


def _refuse_rate(rate: float | None) -> None:
    if rate is not None and not 0 < rate < float("inf"):
        raise BadRequest(f"A rate is events a second, above 0; not {rate}")
