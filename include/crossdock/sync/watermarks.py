"""Watermarks: the instant up to which each stream is known to be complete."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from crossdock.db.database import Work
from crossdock.db.leases import LeaseKey
from crossdock.sync.model import WHOLE, RangeProgress, Window, may_move, watermark_after

_READ = b"""
SELECT reached FROM watermark
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard = %(shard)s
"""

_ALL = b"SELECT integration || '.' || dataset, shard, reached FROM watermark"

_MOVE = b"""
INSERT INTO watermark AS mark (integration, dataset, shard, reached, moved_by)
VALUES (%(integration)s, %(dataset)s, %(shard)s, %(reached)s, %(run_id)s)
ON CONFLICT (integration, dataset, shard) DO UPDATE
   SET reached = excluded.reached, moved_by = excluded.moved_by, moved_at = now()
 WHERE mark.reached < excluded.reached
"""

#: Also that of the whole stream, which counts for a shard that has not moved its own.
_TAKE_BACK = b"""
UPDATE watermark SET reached = %(reached)s, moved_by = %(run_id)s, moved_at = now()
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard IN (%(shard)s, %(whole)s) AND reached > %(reached)s
"""

#: For each range of a run: how far the pages reach that lie wholly in loaded batches, without a gap.
#: A range is done when it was read to its end and none of its pages waits for a batch.
_PROGRESS = b"""
SELECT r.axis, r.low,
       r.read_done AND NOT EXISTS (
           SELECT FROM landed_page p
            WHERE p.run_id = r.run_id AND p.range_no = r.range_no AND NOT p.loaded) AS done,
       (SELECT max(p.cursor_at) FROM landed_page p
         WHERE p.run_id = r.run_id AND p.range_no = r.range_no
           AND p.page_no < coalesce((SELECT min(q.page_no) FROM landed_page q
                 WHERE q.run_id = r.run_id AND q.range_no = r.range_no AND NOT q.loaded),
               2147483647)) AS loaded_to
  FROM sync_range r WHERE r.run_id = %(run_id)s ORDER BY r.range_no
"""


def read(work: Work, key: LeaseKey) -> datetime | None:
    """Read the instant before which every change is loaded or in quarantine; None before the first sync."""
    row = work.execute(_READ, msgspec.structs.asdict(key)).fetchone()
    return row[0] if row else None


def complete_to(work: Work, key: LeaseKey) -> datetime | None:
    """Find how far *key* is complete: by its own watermark, or by that of the whole before it was divided."""
    marks = [read(work, msgspec.structs.replace(key, shard=shard)) for shard in (key.shard, WHOLE)]
    return max((mark for mark in marks if mark), default=None)


def complete_to_all(work: Work, streams: Iterable[tuple[str, int]]) -> dict[str, datetime | None]:
    """
    Find how far each stream (ID and number of shards) is complete.

    A divided stream is complete as far as the slowest of its shards, or as far as it was before it was divided.
    """
    marks = {(stream, shard): reached for stream, shard, reached in work.execute(_ALL)}
    found: dict[str, datetime | None] = {}
    for stream, shards in streams:
        of_shards = [marks.get((stream, f"shard:{number}/{shards}")) for number in range(1, shards + 1)]
        slowest = min((mark for mark in of_shards if mark), default=None) if all(of_shards) else None
        found[stream] = max((mark for mark in (slowest, marks.get((stream, WHOLE))) if mark), default=None)
    return found


def take_back(work: Work, key: LeaseKey, run_id: str, reached: datetime) -> None:
    """Take the watermark back to *reached* where it is later: the source's clock stepped back, and dates changes before it."""
    work.execute(_TAKE_BACK, {**msgspec.structs.asdict(key), "reached": reached, "run_id": run_id, "whole": WHOLE})


def advance(work: Work, key: LeaseKey, run_id: str, window: Window) -> datetime | None:
    """
    Move the watermark as far as *run_id* has loaded its window without a gap; None if it stays.

    Call it in the transaction that loads: if a watermark were committed before its rows, a crash would lose
    them.
    """
    progress = [
        RangeProgress(
            low=datetime.fromisoformat(low) if axis == "time" and low else None,
            loaded_to=loaded_to if axis == "time" else None,
            done=done,
        )
        for axis, low, done, loaded_to in work.execute(_PROGRESS, {"run_id": run_id})
    ]
    reached = watermark_after(window, progress)
    if reached is None or not may_move(window, complete_to(work, key), reached):
        return None
    work.execute(_MOVE, {**msgspec.structs.asdict(key), "reached": reached, "run_id": run_id})
    return reached
