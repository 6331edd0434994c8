"""Plan what a run reads: its window, and the ranges of the window."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from crossdock.core.log import logger
from crossdock.db import leases
from crossdock.sync import deferred_records, landing, ledger, ranges, source_clock, watermarks
from crossdock.sync.ledger import Run
from crossdock.sync.model import CLOCK_GRAIN, Mode, Window, has_later, opening_low, opening_window, reads_everything
from crossdock.sync.source import Range, SourceDescription
from crossdock.sync.stream import Stream, Systems

log = logger(__name__)


def planned_ranges(stream: Stream, systems: Systems, run: Run) -> list[Range]:
    """Plan the ranges of the run's window, or find those planned before it was interrupted."""
    with systems.store.transaction() as work:
        planned = landing.ranges_of(work, run.run_id)
        mark = watermarks.complete_to(work, run.lease)
        deferred = deferred_records.ids(work, stream.integration, stream.dataset.name) if run.moves_watermark else []
    if planned:
        return planned
    if run.window_high:
        window, described = run.window, _described(stream, systems, run, run.window_low)
    else:
        window, described = _opened(stream, systems, run, mark)
    parts = _ranges_of(stream, run, window, described)
    parts += ranges.by_keys("id", _within(deferred, run.request.ids), first_no=len(parts))
    with systems.store.transaction() as work:
        leases.check(work, run.lease, run.run_id, run.fencing_token)
        ledger.set_window(work, run.run_id, window, described.records)
        landing.add_ranges(work, run.run_id, parts)
    size = "an unknown number of" if described.records is None else f"about {described.records:,}"
    log.log(systems.log_level, "Reading %s: %s records in %s ranges", stream.id, size, len(parts))
    return parts


def _opened(stream: Stream, systems: Systems, run: Run, mark: datetime | None) -> tuple[Window, SourceDescription]:
    """Open the run's window by the source's clock; return also what the source says about the records in it."""
    low = opening_low(run.request, watermark=mark, overlap=systems.overlap)
    began = time.monotonic()
    description = _described(stream, systems, run, low)
    waited = timedelta(seconds=time.monotonic() - began)
    if run.moves_watermark:
        with systems.store.transaction() as work:
            leases.check(work, run.lease, run.run_id, run.fencing_token)
            step = source_clock.check(work, run, description.source_now, systems.overlap, waited=waited)
            source_clock.remember(work, run)
            mark = watermarks.complete_to(work, run.lease)
        if step:
            low = opening_low(run.request, watermark=mark, overlap=systems.overlap)
            description = systems.source.describe(stream.resource, low)
    return opening_window(run.request, low=low, source_now=description.source_now), description


def _described(stream: Stream, systems: Systems, run: Run, low: datetime | None) -> SourceDescription:
    """Ask the source for its clock and its size; not for named records, whose window bounds nothing and moves no watermark."""
    if run.mode is Mode.KEYS:
        return SourceDescription(source_now=datetime.now(UTC), records=len(run.request.keys))
    return systems.source.describe(stream.resource, low)


def _within(record_ids: Sequence[str], ids: ranges.Ids) -> list[str]:
    low, high = ids
    return [
        record_id
        for record_id in record_ids
        if (low is None or record_id > low) and (high is None or record_id <= high)
    ]


def _ranges_of(stream: Stream, run: Run, window: Window, described: SourceDescription) -> list[Range]:
    if run.mode is Mode.KEYS:
        return ranges.by_keys(stream.key_field, run.request.keys)
    # With a limit one range: the first records in one order, not some of each range.
    records = 0 if run.request.limit or described.is_one_range else described.records or 0
    if reads_everything(run.mode, window):
        return ranges.by_id(records, run.request.shard_of)
    if run.request.until:
        return ranges.by_time(window, records, run.request.ids)
    read_to = Window(window.low, window.high + CLOCK_GRAIN)
    return ranges.by_time(read_to, records, run.request.ids, open_ended=has_later(window, described.newest))
