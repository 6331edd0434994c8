"""The steps of a run in time: its pages as they landed, and its batches as they were loaded."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from crossdock.db.database import Work


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Pages that were read, or batches that were loaded."""

    name: str
    #: How many there are, and how many of them are done.
    parts: int
    done: int
    records: int
    #: When the first of them began, as far as that is kept, and when the last one ended.
    first_at: datetime | None
    last_at: datetime | None


_STEPS = b"""
SELECT 'pages' AS name, count(*) AS parts, count(*) AS done, coalesce(sum(records), 0)::bigint AS records,
       min(landed_at) AS first_at, max(landed_at) AS last_at
  FROM landed_page WHERE run_id = %(run_id)s
UNION ALL
SELECT 'batches', count(*), count(loaded_at), coalesce(sum(records), 0)::bigint,
       -- The first batch begins when all pages are there: nothing is validated before.
       coalesce((SELECT max(landed_at) FROM landed_page WHERE run_id = %(run_id)s), min(loaded_at)), max(loaded_at)
  FROM sync_batch WHERE run_id = %(run_id)s
"""


def steps_of(work: Work, run_id: str) -> list[Step]:
    """Read the steps of a run; the pages are forgotten after a time, the batches are not."""
    return work.cursor(row_factory=class_row(Step)).execute(_STEPS, {"run_id": run_id}).fetchall()
