"""Replay records in quarantine as a person requested over the API: in slices, by the event delivery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from crossdock.core.errors import BadRequest, NotFound, ReplayStopped
from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay.repository import Replay
from crossdock.observability import audit
from crossdock.sync.quarantine import repository
from crossdock.sync.quarantine import service as quarantine_service
from crossdock.sync.quarantine.service import StreamOf

log = logger(__name__)

KIND = "quarantine"
#: Validated and loaded together: well within the lease of the worker that carries out the replay.
_ITEMS = 500
#: The longest that one slice may take to be validated and loaded, on the slowest of machines.
TIMEOUT_S = 600.0


def request(
    store: Store,
    item_ids: Sequence[int],
    *,
    cause: str | None,
    everything: bool,
    actor: str,
    stream: str | None = None,
    up_to: int | None = None,
) -> Replay:
    """
    Request a replay of open items, selected in exactly one way: by id, by cause, or all; with *stream*, those of one stream.

    With *up_to*, none that came after that ID: a person has seen what those before it would do.

    Raises:
        BadRequest: no way or several ways were used.
        NotFound: no such item, or no item is open.
        Conflict: an item is closed.

    """
    chosen = quarantine_service.choose(store, item_ids, cause=cause, everything=everything, stream=stream, up_to=up_to)
    if not chosen:
        raise NotFound("No quarantine item is open")
    with store.transaction() as work:
        replay = replay_repository.add(
            work,
            kind=KIND,
            request={"next": 0},
            rate=None,
            total=len(chosen),
            actor=actor,
            chosen=chosen,
        )
        subject, detail = f"replay/{replay.replay_id}", {"total": replay.total}
        audit.add(work, actor=actor, act="replay.quarantine", subject=subject, detail=detail)
    return replay


def replay_some(store: Store, replay: Replay, worker: str, life: timedelta, *, streams: StreamOf) -> int:
    """
    Replay the next slice of items and return its size; 0 if no item is left. An item that was closed meanwhile is done.

    Idempotent: if the process dies between the records and their count, the same slice is replayed, and the items
    that passed are closed by then.

    Raises:
        ReplayStopped: it was stopped meanwhile, or another worker took over; what was replayed stays so.
        LeaseHeld, StoreUnavailable: another replay is running, or a record is locked; call it again.

    """
    first = int(replay.request["next"])
    with store.transaction() as work:
        numbers = replay_repository.chosen(work, replay.replay_id, first, _ITEMS)
        still_open = [item for item in repository.lock(work, numbers) if item.state == "open"]
    if not numbers:
        return 0
    try:
        reports = quarantine_service.replay_all(store, still_open, streams=streams, actor=replay.actor)
        failed = sum(report.counts.rejected for report in reports)
    except BadRequest as error:
        log.warning("Replay %s did not change %s items: %s", replay.replay_id, len(still_open), error)
        failed = len(still_open)
    request = {**replay.request, "next": first + len(numbers)}
    done = len(numbers) - failed
    with store.transaction() as work:
        if not replay_repository.progress(work, replay, worker, request, done=done, failed=failed, life=life):
            raise ReplayStopped(replay.replay_id)
    return len(numbers)
