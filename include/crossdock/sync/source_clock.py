"""A source's clock that stepped back: find it out, and take the watermark back to where changes may be unread."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from crossdock.core.instants import utc_text
from crossdock.core.log import logger
from crossdock.db.database import Work
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.sync import watermarks
from crossdock.sync.ledger import Run
from crossdock.sync.model import CLOCK_GRAIN, CLOCK_TOLERANCE, WHOLE, ClockStep, clock_step

log = logger(__name__)

#: Also of the whole stream, whose watermark counts for its shards. A second try that has the window of the first did not ask.
_LAST_ASKED = b"""
SELECT window_high, clock_timestamp() - source_asked_at FROM sync_run
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND shard IN (%(shard)s, %(whole)s)
   AND run_id <> %(run_id)s AND moves_watermark AND source_asked_at IS NOT NULL AND window_high IS NOT NULL
 ORDER BY started_at DESC LIMIT 1
"""

_ASKED = b"UPDATE sync_run SET source_asked_at = clock_timestamp() WHERE run_id = %(run_id)s"


def check(work: Work, run: Run, shown: datetime, overlap: timedelta, *, waited: timedelta) -> ClockStep | None:
    """
    Compare *shown*, the source's now, with what it showed the last run; None if its clock went on evenly.

    It took the time *waited* to ask the source, up to now: it may have shown its clock at any moment of that, such as before
    calls that were repeated for minutes. What that explains is read again to be sure, and is no alert.

    If it stepped back, the watermark goes back in this transaction to the lowest instant that a change may have been dated
    with since, and an alert opens; otherwise the alert closes. Nothing is lost if the run fails afterwards: the watermark
    stays there until a run has read everything from it.
    """
    values = {**msgspec.structs.asdict(run.lease), "run_id": run.run_id, "whole": WHOLE}
    row = work.execute(_LAST_ASKED, values).fetchone()
    before, elapsed = row or (None, timedelta(0))
    tolerance = min(CLOCK_TOLERANCE, max(overlap, 2 * CLOCK_GRAIN))
    step = clock_step(
        shown=shown,
        before=before,
        elapsed=elapsed,
        watermark=watermarks.complete_to(work, run.lease),
        tolerance=tolerance,
    )
    if step is None:
        alerts.close(work, Kind.SOURCE_CLOCK, subject=str(run.lease))
        return None
    watermarks.take_back(work, run.lease, run.run_id, step.unread_from)
    if step.by <= tolerance + waited:
        log.info(
            "%s took %s to say its time; %s is read again from %s",
            run.integration,
            waited,
            run.stream,
            step.unread_from,
        )
        return step
    message = (
        f"The clock of {run.integration} stepped back: it shows {utc_text(shown)}, {step.by.total_seconds():,.0f} s less than "
        f"expected. {run.stream} is read again from {utc_text(step.unread_from)}"
    )
    log.warning("%s", message)
    alerts.add(
        work, Kind.SOURCE_CLOCK, str(run.lease), Found(message, None, (run.run_id,), run.integration, run.stream)
    )
    return step


def remember(work: Work, run: Run) -> None:
    """Record that the source has just been asked; what it showed is the end of the run's window."""
    work.execute(_ASKED, {"run_id": run.run_id})
