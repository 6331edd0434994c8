"""Events and dead letters told again, because a person asked: counted first, at a rate, stoppable, audited."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest, Conflict, NotFound, ReplayStopped, Terminal, Transient
from crossdock.core.hints import Hint, HintId
from crossdock.db.bulk_edit import refuse_unclear
from crossdock.db.database import Store, Work
from crossdock.events import store as event_log
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.delivery.lease_renewal import Keeper
from crossdock.events.ports import KeyPuller
from crossdock.events.replay import repository as event_replays
from crossdock.events.replay.repository import Replay
from crossdock.events.replay.slice import WORKER_LIFE, Hold, Reactions, some_events, some_letters
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.observability import audit

log = logging.getLogger(__name__)

#: What is replayed → how some more of it is.
_ACTS = {"events": some_events, "letters": some_letters}
_SLICE = 200
#: While it rests between two slices: for the end of its worker, and for a person who stops it.
_LOOK_EVERY_S = 0.2
#: Until a replay goes on that was in the way of something, or found what it reaches outside to be out.
_WAIT_S = 5.0


class NoExecutor(Terminal):
    """Nobody has registered how such a replay is done; a worker of the delivery may have."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(f"Replay {replay.replay_id} of {replay.what} cannot be done here: no executor is registered")


@dataclass(frozen=True)
class Executor:
    """Replays what is not an event or a dead letter, such as records in quarantine. `app` registers each by what it replays."""

    #: Replays some more of a replay, in a claim of the worker with that name, and gives how many; 0 when none is left.
    replay_some: Callable[[Store, Replay, str, timedelta], int]
    #: Seconds that one call may take on the slowest of machines.
    timeout_s: float


def subscribers_of(name: str | None, subscribers: Mapping[str, Subscriber]) -> Mapping[str, Subscriber]:
    """
    The one subscriber, or all.

    Raises:
        NotFound: there is no such subscriber.

    """
    if name is not None and name not in subscribers:
        raise NotFound(f"There is no subscriber {name!r}. There are: {', '.join(subscribers)}")
    return {name: subscribers[name]} if name else subscribers


def count(store: Store, wanted: Selection, subscribers: Mapping[str, Subscriber]) -> dict[str, int]:
    """The dry run: how many events each subscriber would be told again."""
    with store.transaction() as work:
        return {name: event_log.count(work, _heard(wanted, subscriber)) for name, subscriber in subscribers.items()}


def ask_for_events(
    store: Store, wanted: Selection, subscribers: Mapping[str, Subscriber], *, rate: float | None, actor: str
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
        numbers = list(dict.fromkeys(letter_ids))
        chosen = failed_deliveries.choose(work, numbers or None, cause=cause)
    if not chosen:
        raise NotFound("There is no such dead letter", hint=Hint(HintId.LIST_DEAD_LETTERS))
    for letter_id, state in chosen.items():
        if state in failed_deliveries.AT_WORK:
            raise Conflict(f"Letter {letter_id} is {state}: it is tried again by itself")
    # The numbers are settled now: a letter that dies again in the replay is not replayed again by it.
    return _ask(store, "letters", {"next": 0}, rate=rate, total=len(chosen), actor=actor, chosen=list(chosen))


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
    subscribers: Mapping[str, Subscriber],
    executors: Mapping[str, Executor] | None = None,
    puller: KeyPuller | None = None,
    tell: Callable[[Replay], None] = lambda _: None,
    until: Callable[[], bool] = lambda: False,
) -> Replay | None:
    """
    The replay as it ended: the named one, or the oldest open one that nobody works on; None when there is none.

    Still open, it was put off: *until* said so, or what it reaches outside is out. Whoever comes later goes on
    with it, as when this is killed: a slice is noted with its count or not at all.

    Raises:
        StoreUnavailable: the hub's database was in the way; call it again.

    """
    worker = uuid.uuid4().hex
    with store.transaction() as work:
        replay = event_replays.claim(work, worker, WORKER_LIFE, replay_id=replay_id)
    if replay is None:
        return None
    claimed_id = replay.replay_id
    keeper = Keeper(
        store.another(), lambda work: _renew(work, claimed_id, worker), WORKER_LIFE, of=f"replay {claimed_id}"
    )
    with closing(keeper):
        hold = Hold(store, claimed_id, worker, keeper)
        try:
            rest_s = 0.0
            while replay.state == "open" and not until():
                reactions = Reactions(subscribers, puller)
                replay, rest_s = _one_slice(hold, replay, reactions, (executors or {}).get(replay.what), tell)
                rest_s = _rest(hold, rest_s, until)
        except ReplayStopped:
            pass  # By a person, or another worker has taken it over: either way it is not ours to go on with.
        except Transient as error:
            log.warning("Replay %s waits: %s", claimed_id, error)
            _put_off(hold, _WAIT_S if error.retry_in_s is None else error.retry_in_s)
        except Terminal:
            _put_off(hold, _WAIT_S)  # So that others, which are younger, have their turn.
            raise
        else:
            _put_off(hold, rest_s)
    with store.transaction() as work:
        return event_replays.get(work, claimed_id)


def _one_slice(
    hold: Hold, replay: Replay, reactions: Reactions, executor: Executor | None, tell: Callable[[Replay], None]
) -> tuple[Replay, float]:
    """The replay as it is after some more of it, and for how many seconds it has to rest to keep its rate."""
    began = time.monotonic()
    size = _SLICE if replay.rate is None else max(1, min(_SLICE, int(replay.rate / 5)))
    if executor:
        with hold.keeper.during(executor.timeout_s):
            dealt = executor.replay_some(hold.store, replay, hold.worker, WORKER_LIFE)
    elif replay.what in _ACTS:
        dealt = _ACTS[replay.what](hold, replay, reactions, size)
    else:
        raise NoExecutor(replay)
    if not dealt:
        _end(hold.store, replay)
    with hold.store.transaction() as work:
        now = event_replays.get(work, replay.replay_id)
    tell(now)
    return now, dealt / replay.rate - (time.monotonic() - began) if replay.rate is not None else 0.0


def _rest(hold: Hold, rest_s: float, until: Callable[[], bool]) -> float:
    """
    Seconds of the rest that are left when *until* ends it. The claim is kept, or another would go on at once.

    Raises:
        ReplayStopped: a person is not kept waiting by a slow rate.

    """
    ends_at = time.monotonic() + rest_s
    while (left_s := ends_at - time.monotonic()) > 0 and not until():
        time.sleep(min(left_s, _LOOK_EVERY_S))
        hold.check()
    return max(left_s, 0.0)


def _renew(work: Work, replay_id: int, worker: str) -> None:
    event_replays.renew(work, replay_id, worker, WORKER_LIFE)


def _put_off(hold: Hold, wait_s: float) -> None:
    with hold.store.transaction() as work:
        event_replays.put_off(work, hold.replay_id, hold.worker, timedelta(seconds=wait_s))


def _end(store: Store, replay: Replay) -> None:
    # Refused when somebody stopped it in this instant: then it has ended, too.
    with suppress(Conflict), store.transaction() as work:
        event_replays.end(work, replay.replay_id, "done")


def _heard(wanted: Selection, subscriber: Subscriber) -> Selection:
    types = tuple(type_ for type_ in subscriber.types if not wanted.types or type_ in wanted.types)
    return msgspec.structs.replace(wanted, types=types or ("-",))


def _ask(
    store: Store,
    what: str,
    request: dict[str, Any],
    *,
    rate: float | None,
    total: int,
    actor: str,
    chosen: Sequence[int] = (),
) -> Replay:
    with store.transaction() as work:
        replay = event_replays.add(work, what=what, request=request, rate=rate, total=total, actor=actor, chosen=chosen)
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
