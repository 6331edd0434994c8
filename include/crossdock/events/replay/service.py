"""Replay events and dead letters on request: counted first, rate-limited, stoppable, audited."""

from __future__ import annotations

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
from crossdock.core.log import logger
from crossdock.db.bulk_edit import refuse_unclear
from crossdock.db.database import Store, Work
from crossdock.events import store as event_store
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.delivery.lease_renewal import LeaseRenewal
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay.repository import Replay
from crossdock.events.replay.slice import WORKER_LIFE, ReplayClaim, replay_dead_letters, replay_events
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.observability import audit

log = logger(__name__)

#: The kinds of replay that the event engine runs itself, each with the function that replays one slice.
_SLICES = {"events": replay_events, "dead_letters": replay_dead_letters}
_SLICE = 200
#: During a pause between two slices: how often to look for a shutdown, and for a person who stops the replay.
_LOOK_EVERY_S = 0.2
#: Backoff of a replay that met a transient error, or whose external system is down.
_WAIT_S = 5.0


class NoExecutor(Terminal):
    """No executor is registered here for this kind of replay; a delivery worker may have one."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(f"Replay {replay.replay_id} cannot run here: no executor is registered for {replay.kind}")


@dataclass(frozen=True)
class Executor:
    """Replays another kind of thing, such as records in quarantine. `app` registers one executor per kind."""

    #: Replays one slice under the claim of the named worker and returns how many; 0 when none is left.
    replay_some: Callable[[Store, Replay, str, timedelta], int]
    #: Seconds that one call may take on a slow machine.
    timeout_s: float


def subscribers_of(name: str | None, subscribers: Mapping[str, Subscriber]) -> Mapping[str, Subscriber]:
    """
    Select one subscriber by name, or all.

    Raises:
        NotFound: there is no such subscriber.

    """
    if name is not None and name not in subscribers:
        raise NotFound(f"There is no subscriber {name!r}. Subscribers: {', '.join(subscribers)}")
    return {name: subscribers[name]} if name else subscribers


def count(store: Store, selection: Selection, subscribers: Mapping[str, Subscriber]) -> dict[str, int]:
    """Count the events that a replay would deliver to each subscriber (a dry run)."""
    with store.transaction() as work:
        return _count(work, selection, subscribers)


def _count(work: Work, selection: Selection, subscribers: Mapping[str, Subscriber]) -> dict[str, int]:
    return {
        name: event_store.count(work, _subscribed(selection, subscriber)) for name, subscriber in subscribers.items()
    }


def request_events(
    store: Store, selection: Selection, subscribers: Mapping[str, Subscriber], *, rate: float | None, actor: str
) -> Replay:
    """
    Request a replay of events. A delivery worker runs it.

    It ends at what is there now: otherwise a replay that is slower than the events that come in would never end.
    """
    _refuse_rate(rate)
    with store.transaction() as work:
        selection = msgspec.structs.replace(selection, before=event_store.horizon(work))
        total = sum(_count(work, selection, subscribers).values())
    request = {
        "selection": msgspec.to_builtins(selection),
        "subscribers": list(subscribers),
        "cursor": list(selection.after),
    }
    return _request(store, "events", request, rate=rate, total=total, actor=actor)


def request_dead_letters(
    store: Store,
    dead_letter_ids: Sequence[int],
    *,
    cause: str | None = None,
    everything: bool = False,
    subscriber: str | None = None,
    rate: float | None,
    actor: str,
) -> Replay:
    """
    Request a replay of dead letters, selected in exactly one way; selection by id includes closed ones.

    With *subscriber*, only those of one.

    Raises:
        BadRequest: none or several ways were used.
        NotFound: an id does not exist, or no dead letter matches.
        Conflict: one of them is being retried.

    """
    _refuse_rate(rate)
    refuse_unclear(dead_letter_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        ids = list(dict.fromkeys(dead_letter_ids))
        chosen = dead_letter_repository.choose(work, ids or None, cause=cause, subscriber=subscriber)
    if not chosen:
        raise NotFound("No dead letter matches", hint=Hint(HintId.LIST_DEAD_LETTERS))
    for dead_letter_id, state in chosen.items():
        if state in dead_letter_repository.AT_WORK:
            raise Conflict(f"Dead letter {dead_letter_id} is {state}: it is retried automatically")
    # The ids are fixed now: an event that fails again in this replay is not replayed twice by it.
    return _request(store, "dead_letters", {"next": 0}, rate=rate, total=len(chosen), actor=actor, chosen=list(chosen))


def stop(store: Store, replay_id: int, *, actor: str) -> Replay:
    """Stop the replay; what it has delivered stays delivered."""
    with store.transaction() as work:
        replay_repository.end(work, replay_id, "stopped")
        audit.add(work, actor=actor, act="replay.stop", subject=f"replay/{replay_id}")
        return replay_repository.get(work, replay_id)


def run_replay(
    store: Store,
    replay_id: int | None = None,
    *,
    subscribers: Mapping[str, Subscriber],
    executors: Mapping[str, Executor] | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Replay | None:
    """
    Run the given replay, or the oldest unclaimed one; return its last state, None when there is no such replay.

    Only delivery workers call it: an external side effect may be the next thing that it carries out.

    A replay that is returned open was rescheduled: because *until* ended the run, or because an external system is down. A worker goes on with it later, as it does when this one is killed: a slice is recorded with its counts
    or not at all.

    Raises:
        StoreUnavailable: the hub's database failed; call it again.

    """
    worker = uuid.uuid4().hex
    with store.transaction() as work:
        replay = replay_repository.claim(work, worker, WORKER_LIFE, replay_id=replay_id)
    if replay is None:
        return None
    claimed_id = replay.replay_id
    renewal = LeaseRenewal(
        store.another(), lambda work: _renew(work, claimed_id, worker), WORKER_LIFE, of=f"replay {claimed_id}"
    )
    with closing(renewal):
        claim = ReplayClaim(store, claimed_id, worker, renewal)
        try:
            pause_s = 0.0
            while replay.state == "open" and not until():
                executor = (executors or {}).get(replay.kind)
                replay, pause_s = _replay_slice(claim, replay, subscribers, executor)
                pause_s = _pause(claim, pause_s, until)
        except ReplayStopped:
            pass  # A person stopped it, or another worker has it: either way this worker is done with it.
        except Transient as error:
            log.warning("Replay %s is waiting: %s", claimed_id, error)
            _reschedule(claim, _WAIT_S if error.retry_in_s is None else error.retry_in_s)
        except Terminal:
            _reschedule(claim, _WAIT_S)  # So that newer replays can run.
            raise
        else:
            _reschedule(claim, pause_s)
    with store.transaction() as work:
        return replay_repository.get(work, claimed_id)


def _replay_slice(
    claim: ReplayClaim,
    replay: Replay,
    subscribers: Mapping[str, Subscriber],
    executor: Executor | None,
) -> tuple[Replay, float]:
    """Replay one slice; return the replay as it is now, and the seconds to pause so that it keeps its rate."""
    began = time.monotonic()
    size = _SLICE if replay.rate is None else max(1, min(_SLICE, int(replay.rate / 5)))
    if executor:
        with claim.renewal.during(executor.timeout_s):
            processed = executor.replay_some(claim.store, replay, claim.worker, WORKER_LIFE)
    elif replay.kind in _SLICES:
        processed = _SLICES[replay.kind](claim, replay, subscribers, size)
    else:
        raise NoExecutor(replay)
    if not processed:
        _end(claim.store, replay)
    with claim.store.transaction() as work:
        now = replay_repository.get(work, replay.replay_id)
    return now, processed / replay.rate - (time.monotonic() - began) if replay.rate is not None else 0.0


def _pause(claim: ReplayClaim, pause_s: float, until: Callable[[], bool]) -> float:
    """
    Pause for *pause_s*, or until *until* says so; return the seconds that are left.

    The claim is renewed; otherwise another worker would continue the replay immediately.

    Raises:
        ReplayStopped: a person stopped the replay; a slow rate does not delay that.

    """
    ends_at = time.monotonic() + pause_s
    while (left_s := ends_at - time.monotonic()) > 0 and not until():
        time.sleep(min(left_s, _LOOK_EVERY_S))
        claim.check()
    return max(left_s, 0.0)


def _renew(work: Work, replay_id: int, worker: str) -> None:
    replay_repository.renew(work, replay_id, worker, WORKER_LIFE)


def _reschedule(claim: ReplayClaim, wait_s: float) -> None:
    with claim.store.transaction() as work:
        replay_repository.reschedule(work, claim.replay_id, claim.worker, timedelta(seconds=wait_s))


def _end(store: Store, replay: Replay) -> None:
    # A conflict means that somebody stopped it at this moment: then it has ended, too.
    with suppress(Conflict), store.transaction() as work:
        replay_repository.end(work, replay.replay_id, "done")


def _subscribed(selection: Selection, subscriber: Subscriber) -> Selection:
    types = tuple(type_ for type_ in subscriber.types if not selection.types or type_ in selection.types)
    return msgspec.structs.replace(selection, types=types or ("-",))


def _request(
    store: Store,
    kind: str,
    request: dict[str, Any],
    *,
    rate: float | None,
    total: int,
    actor: str,
    chosen: Sequence[int] = (),
) -> Replay:
    with store.transaction() as work:
        replay = replay_repository.add(
            work, kind=kind, request=request, rate=rate, total=total, actor=actor, chosen=chosen
        )
        audit.add(
            work,
            actor=actor,
            act=f"replay.{kind}",
            subject=f"replay/{replay.replay_id}",
            detail={"total": total, "rate": rate},
        )
    return replay


def _refuse_rate(rate: float | None) -> None:
    if rate is not None and not 0 < rate < float("inf"):
        raise BadRequest(f"The rate must be above 0 events per second, not {rate}")
