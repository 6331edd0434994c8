"""What people did with a record in quarantine: its fixes, its replays, and that it was discarded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from crossdock.db.database import Work
from crossdock.events.replay import repository as replay_repository
from crossdock.observability import audit
from crossdock.sync.quarantine.replay import KIND

#: Acts of the audit trail, in the words of people.
_ACTS = {"quarantine.fix": "fixed", "quarantine.discard": "discarded"}
#: Of each, the latest.
_MOST = 50


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody did with the record."""

    at: datetime
    actor: str
    #: fixed, replayed or discarded.
    act: str
    #: What the audit trail has of it.
    detail: dict[str, Any]
    replay_id: int | None = None
    #: Where the replay is: open, done or stopped.
    replay_state: str | None = None


def history_of(work: Work, item_id: int) -> list[Step]:
    """List what people did with the item, the first first."""
    acts = [
        Step(at=entry.at, actor=entry.actor, act=_ACTS[entry.act], detail=entry.detail)
        for entry in audit.find(work, subject=f"quarantine/{item_id}", act="quarantine", limit=_MOST)
        if entry.act in _ACTS
    ]
    replays = [
        Step(
            at=replay.requested_at,
            actor=replay.actor,
            act="replayed",
            detail={},
            replay_id=replay.replay_id,
            replay_state=replay.state,
        )
        for replay in replay_repository.of_chosen(work, KIND, item_id, limit=_MOST)
    ]
    return sorted([*acts, *replays], key=lambda step: step.at)
