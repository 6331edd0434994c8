"""Records that could not be loaded for a passing reason, until a later run has loaded them."""

from __future__ import annotations

from collections.abc import Sequence

from include.model.sync import Mode
from include.store.database import Work
from include.store.runs import Run
from include.store.tables import EntityTable

_LEAVE = b"""
INSERT INTO open_record AS o (integration, entity, record_id, reason, first_run_id)
SELECT %(integration)s, %(entity)s, unnest(%(ids)s::text[]), %(reason)s, %(run_id)s
ON CONFLICT (integration, entity, record_id) DO UPDATE
   SET attempts = o.attempts + 1, reason = excluded.reason, since = excluded.since
"""

_IDS = b"""
SELECT record_id FROM open_record WHERE integration = %(integration)s AND entity = %(entity)s ORDER BY record_id
"""


def leave(work: Work, run: Run, ids: Sequence[str], reason: str) -> None:
    """Notes *ids* as open; the next run that moves the watermark asks the source for exactly these too."""
    work.execute(
        _LEAVE,
        {
            "integration": run.integration,
            "entity": run.entity,
            "ids": list(ids),
            "reason": reason,
            "run_id": run.run_id,
        },
    )


def ids(work: Work, integration: str, entity: str) -> list[str]:
    return [record_id for (record_id,) in work.execute(_IDS, {"integration": integration, "entity": entity})]


def close(work: Work, table: EntityTable, run: Run, rejected: Sequence[str]) -> None:
    """
    Closes what this batch's stage has loaded and what is *rejected* now, which waits for a person instead.

    Only a run that began after a record was left open has read it since. A replay, or an older run that
    is loaded late, brings an older version, and the one that is open would never be read again.
    """
    if run.mode is Mode.REPLAY:
        return
    work.execute(
        f"""
        DELETE FROM open_record o
         WHERE o.integration = %(integration)s AND o.entity = %(entity)s AND o.since < %(began)s
           AND (o.record_id = ANY(%(rejected)s) OR EXISTS (SELECT FROM {table.stage} s WHERE s.id = o.record_id))
        """.encode(),
        {
            "integration": run.integration,
            "entity": run.entity,
            "began": run.started_at,
            "rejected": list(rejected),
        },
    )
