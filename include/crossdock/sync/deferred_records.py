"""Records that could not be loaded for a passing reason, until a later run loads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossdock.db.database import Work
from crossdock.sync.ledger import Run
from crossdock.sync.model import Mode
from crossdock.sync.quarantine.model import Rejected

if TYPE_CHECKING:
    import pyarrow as pa

_DEFER = b"""
INSERT INTO deferred_record AS o (integration, dataset, record_id, reason, first_run_id, last_run_id)
SELECT %(integration)s, %(dataset)s, unnest(%(ids)s::text[]), %(reason)s, %(run_id)s, %(run_id)s
ON CONFLICT (integration, dataset, record_id) DO UPDATE
   SET attempts = o.attempts + 1, reason = excluded.reason, since = excluded.since, last_run_id = excluded.last_run_id
"""

_ANY = b"""
SELECT 1 FROM deferred_record
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND since < %(began)s LIMIT 1
"""

_CLOSE = b"""
DELETE FROM deferred_record
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND since < %(began)s AND record_id = ANY(%(arrived)s)
"""

_IDS = b"""
SELECT record_id FROM deferred_record WHERE integration = %(integration)s AND dataset = %(dataset)s ORDER BY record_id
"""


def defer(work: Work, run: Run, ids: Sequence[str], reason: str) -> None:
    """Defer *ids*: the next run that moves the watermark also reads exactly these from the source."""
    work.execute(
        _DEFER,
        {
            "integration": run.integration,
            "dataset": run.dataset,
            "ids": list(ids),
            "reason": reason,
            "run_id": run.run_id,
        },
    )


def ids(work: Work, integration: str, dataset: str) -> list[str]:
    """List the ids that are deferred."""
    return [record_id for (record_id,) in work.execute(_IDS, {"integration": integration, "dataset": dataset})]


def close(work: Work, run: Run, loaded: pa.Table, rejected: Sequence[Rejected]) -> None:
    """
    Close the deferred records that a batch has *loaded* or *rejected*; a rejected one waits for a person instead.

    Only a run that began after a record was deferred has read it since. A replay, or an older run that is
    loaded late, has an older version, and the deferred one would never be read again.
    """
    if run.mode is Mode.REPLAY:
        return
    values = {"integration": run.integration, "dataset": run.dataset, "began": run.started_at}
    # This query comes first: hardly ever is a record deferred, and the ids of a batch are half a megabyte.
    if not work.execute(_ANY, values).fetchone():
        return
    arrived = [*loaded.column("id").to_pylist(), *(record.record_id for record in rejected)]
    work.execute(_CLOSE, {**values, "arrived": arrived})
