"""Records in quarantine sent through the gate again, because a person asked over the API: by the delivery, in pieces."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from crossdock.core.errors import BadRequest, NotFound, ReplayStopped
from crossdock.db.database import Store
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay.repository import Replay
from crossdock.observability import audit
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine import service as quarantine_desk
from crossdock.sync.quarantine.service import SyncOf

log = logging.getLogger(__name__)

KIND = "quarantine"
#: Checked and loaded in one go: well within the life of who works the replay off.
_ITEMS = 500
#: So many records through validation and into the hub, on the slowest of machines.
TIMEOUT_S = 600.0


def ask(store: Store, item_ids: Sequence[int], *, cause: str | None, everything: bool, actor: str) -> Replay:
    """
    A replay of the open items that were named, one way only.

    Raises:
        BadRequest: none or several ways were used.
        NotFound: no such item, or none is open.
        Conflict: an item is closed.

    """
    chosen = quarantine_desk.choose(store, item_ids, cause=cause, everything=everything)
    if not chosen:
        raise NotFound("No item in quarantine is open")
    with store.transaction() as work:
        replay = replay_repository.add(
            work,
            kind=KIND,
            request={"next": 0},
            rate=None,
            total=len(chosen),
            actor=actor,
            chosen=[item.item_id for item in chosen],
        )
        subject, detail = f"replay/{replay.replay_id}", {"total": replay.total}
        audit.add(work, actor=actor, act="replay.quarantine", subject=subject, detail=detail)
    return replay


def replay_some(store: Store, replay: Replay, worker: str, life: timedelta, *, syncs: SyncOf) -> int:
    """
    How many items were sent; 0 when none is left. An item that was closed meanwhile counts as done.

    Killed between the records and their count, it goes on with the same: those that passed are closed by then.

    Raises:
        ReplayStopped: meanwhile, or taken over; what was sent stays sent.
        LeaseHeld, StoreUnavailable: another replay is at work, or a record is in use; call it again.

    """
    first = int(replay.request["next"])
    with store.transaction() as work:
        numbers = replay_repository.chosen(work, replay.replay_id, first, _ITEMS)
        still_open = [item for item in quarantine.lock(work, numbers) if item.state == "open"]
    if not numbers:
        return 0
    try:
        reports = quarantine_desk.replay_all(store, still_open, syncs=syncs, actor=replay.actor)
        failed = sum(report.counts.rejected for report in reports)
    except BadRequest as error:
        log.warning("Replay %s leaves %s items as they are: %s", replay.replay_id, len(still_open), error)
        failed = len(still_open)
    request = {**replay.request, "next": first + len(numbers)}
    done = len(numbers) - failed
    with store.transaction() as work:
        if not replay_repository.progress(work, replay, worker, request, done=done, failed=failed, life=life):
            raise ReplayStopped(replay.replay_id)
    return len(numbers)
