"""The SQL of backups: what the hub's database says at the instant of one, and what is put right after a restore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from crossdock.db.database import Work
from crossdock.events import epochs
from crossdock.observability import audit


class MissingPages(msgspec.Struct, frozen=True):
    """A run whose landed pages are not in the backup."""

    run_id: str
    stream: str
    #: Some of them.
    paths: tuple[str, ...]
    pages: int
    #: It had not ended: what it has not loaded, the next run of its stream reads again.
    was_running: bool


_NOW = b"SELECT clock_timestamp()"

_SCHEMA = b"SELECT version_num FROM hub_alembic_version"

_RECORD = b"UPDATE installation SET backed_up_at = %(at)s"

_PAGES = b"""
SELECT run_id, integration || '.' || dataset, path, state = 'running'
  FROM landed_page JOIN sync_run USING (run_id) ORDER BY run_id, path
"""

#: As retention clears a run: nothing can go on from its pages.
_CLEAR = b"""
UPDATE sync_run SET landing_cleared_at = clock_timestamp(), finished_at = coalesce(finished_at, clock_timestamp()),
       error = CASE WHEN state = 'running' THEN %(error)s ELSE error END,
       state = CASE WHEN state = 'running' THEN 'failed' ELSE state END
 WHERE run_id = ANY(%(run_ids)s)
"""

_FORGET_PAGES = b"DELETE FROM sync_range WHERE run_id = ANY(%(run_ids)s)"


def now(work: Work) -> datetime:
    """Read the database's clock."""
    found: datetime = _one(work, _NOW)[0]
    return found


def schema(work: Work) -> str:
    """Read the newest migration of the hub's schema."""
    return str(_one(work, _SCHEMA)[0])


def record_backup(work: Work, at: datetime, *, actor: str, detail: dict[str, Any]) -> None:
    """Record that there is a whole backup of what was committed at *at*."""
    work.execute(_RECORD, {"at": at})
    audit.add(work, actor=actor, act="hub.backup", subject="hub", detail=detail)


def put_right(work: Work, has_page: Callable[[str], bool], *, actor: str, detail: dict[str, Any]) -> list[MissingPages]:
    """
    Put right what a restore has changed: a new epoch of events begins, and runs that lack pages end.

    Idempotent but for the epoch: a restore that is begun anew takes it from the backup again.
    """
    lost: dict[str, list[str]] = {}
    about: dict[str, tuple[str, bool]] = {}
    for run_id, stream, path, was_running in work.execute(_PAGES).fetchall():
        if not has_page(path):
            lost.setdefault(run_id, []).append(path)
            about[run_id] = stream, was_running
    error = "Its landed pages are not in the backup that the hub was restored from; the next run reads the source again"
    work.execute(_CLEAR, {"run_ids": list(lost), "error": error})
    work.execute(_FORGET_PAGES, {"run_ids": list(lost)})
    epoch = epochs.begin_after_going_back(work)
    audit.add(work, actor=actor, act="hub.restore", subject="hub", detail={**detail, "epoch": epoch})
    return [
        MissingPages(run_id, about[run_id][0], tuple(paths[:3]), len(paths), about[run_id][1])
        for run_id, paths in lost.items()
    ]


def _one(work: Work, statement: bytes) -> Any:
    return work.execute(statement).fetchone()
