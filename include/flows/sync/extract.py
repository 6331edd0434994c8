"""Pages of the source into the landing, as they came."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from include.flows.sync import log_fields, ranges
from include.flows.sync.crash_points import crash_point
from include.flows.sync.declaration import Sync, Systems
from include.flows.sync.lease_keeper import LeaseKeeper
from include.model.errors import HeldForApproval, HubError
from include.model.reading import Cursor, FetchedPage, Range
from include.model.sync import (
    CLOCK_GRAIN,
    WHOLE,
    Counts,
    Fates,
    Mode,
    RunState,
    SyncRequest,
    Window,
    opening_low,
    opening_window,
    reads_everything,
)
from include.store import alerts, entities, landing, leases, open_records, runs, watermarks
from include.store.database import Work
from include.store.landing import Page
from include.store.runs import Run

log = logging.getLogger(__name__)

#: A full read that finds less than this share of what is known is held for a person.
_SHRUNKEN_SHARE = 0.5


def extract(
    sync: Sync, systems: Systems, request: SyncRequest, *, dag_id: str | None = None, dag_run_id: str | None = None
) -> str:
    """
    The id of the run whose pages have all landed.

    Running it again for the same DAG run goes on after the last page that landed.

    Raises:
        LeaseHeld: another run of this entity is at work; later it will not be.
        SystemUnavailable, SourceInvalid, StoreUnavailable, LandingUnavailable: passing; run it again.
        SystemRefused: the platform says no to our credentials or request.
        HeldForApproval: a full read came back empty or much shrunken; a person decides.

    """
    run = _begin(sync, systems, request, dag_id, dag_run_id)
    with log_fields.of(run):
        crash_point("extract.begun")
        parts = _planned_ranges(sync, systems, run)
        crash_point("extract.planned")
        _read(sync, systems, run, parts)
        crash_point("extract.read")
        _hold_when_shrunken(sync, systems, run)
    return run.run_id


def _begin(sync: Sync, systems: Systems, request: SyncRequest, dag_id: str | None, dag_run_id: str | None) -> Run:
    """The run and its lease in one transaction: a run that cannot have the lease leaves no trace."""
    key = leases.LeaseKey(sync.integration, sync.entity, request.partition)
    with systems.store.transaction() as work:
        run = runs.start(work, key, request, mode=request.mode, dag_id=dag_id, dag_run_id=dag_run_id)
        leases.take(work, key, run.run_id, systems.lease_life)
        return runs.get(work, run.run_id)


def _planned_ranges(sync: Sync, systems: Systems, run: Run) -> list[Range]:
    """The ranges of the run's window: those planned before it was interrupted, or new ones."""
    with systems.store.transaction() as work:
        planned = landing.ranges_of(work, run.run_id)
        mark = _mark(work, run)
        left_open = open_records.ids(work, sync.integration, sync.entity) if run.moves_watermark else []
    if planned:
        return planned
    low = run.window_low if run.window_high else opening_low(run.request, watermark=mark, overlap=systems.overlap)
    survey = systems.source.survey(sync.resource, low)
    window = run.window if run.window_high else opening_window(run.request, low=low, source_now=survey.source_now)
    parts = _ranges_of(sync, run, window, survey.records)
    parts += ranges.by_keys("id", _within(left_open, run.request.ids), first_no=len(parts))
    with systems.store.transaction() as work:
        leases.check(work, run.lease, run.run_id, run.fencing_token)
        runs.set_window(work, run.run_id, window, survey.records)
        landing.add_ranges(work, run.run_id, parts)
    log.info("Reading %s: about %s records in %s ranges", sync.entity, survey.records, len(parts))
    return parts


def _mark(work: Work, run: Run) -> datetime | None:
    """How far the run's part is complete: as far as itself, or as the whole was before it was shared out."""
    marks = [watermarks.read(work, replace(run.lease, partition=each)) for each in (run.partition, WHOLE)]
    return max((mark for mark in marks if mark), default=None)


def _within(record_ids: Sequence[str], ids: ranges.Ids) -> list[str]:
    low, high = ids
    return [each for each in record_ids if (low is None or each > low) and (high is None or each <= high)]


def _ranges_of(sync: Sync, run: Run, window: Window, records: int) -> list[Range]:
    if run.mode is Mode.KEYS:
        return ranges.by_keys(sync.key_field, run.request.keys)
    if run.request.limit:
        # One range: the first so many records in one order, not some of each range.
        records = 0
    if reads_everything(run.mode, window):
        return ranges.by_id(records, run.request.ids)
    read_to = window if run.request.until else Window(window.low, window.high + CLOCK_GRAIN)
    return ranges.by_time(read_to, records, run.request.ids)


@dataclass
class _Reading:
    """How far one range has been read."""

    part: Range
    next_page_no: int = 0
    cursor: Cursor | None = None


def _read(sync: Sync, systems: Systems, run: Run, parts: list[Range]) -> None:
    """
    Every range to its end, several pages in flight.

    Threads fetch and write files; only this one writes to the database, and it notes a page after its file is there,
    so that an interruption loses no page that is noted as landed.
    """
    keeper, notes = LeaseKeeper(systems, run), _Notes(systems, run)
    readings, landed = _resumed(systems, run, parts)
    limit = run.request.limit
    with ThreadPoolExecutor(systems.pages_in_flight, thread_name_prefix="page") as pool:
        flights: dict[Future[FetchedPage], _Reading] = {}
        waiting = iter(readings)

        def take_off(candidates: Iterator[_Reading]) -> None:
            while len(flights) < systems.pages_in_flight and (reading := next(candidates, None)):
                left = limit - landed if limit else None
                if left is not None and left <= 0:
                    return
                flights[pool.submit(copy_context().run, _fetch, sync, systems, run, reading, left)] = reading

        try:
            take_off(waiting)
            while flights:
                done, _ = wait(flights, return_when=FIRST_COMPLETED)
                for flight in done:
                    reading, page = flights.pop(flight), flight.result()
                    landed += page.records
                    reached_limit = bool(limit) and landed >= limit
                    notes.add(reading, page, last=page.last or reached_limit)
                    systems.progress(f"{landed:,} of about {run.expected_records or landed:,} records read")
                    if not (page.last or reached_limit):
                        take_off(iter([reading]))
                keeper.renew()
                take_off(waiting)
        except BaseException:
            # What is in flight lands in files that no row names; they are written again next time.
            pool.shutdown(cancel_futures=True)
            with suppress(HubError):  # the first error is the one to tell
                notes.write()
            raise
    notes.write()


def _resumed(systems: Systems, run: Run, parts: list[Range]) -> tuple[list[_Reading], int]:
    """Where each unfinished range stands after the pages that landed, and how many records those have."""
    with systems.store.transaction() as work:
        pages = landing.pages_of(work, run.run_id)
    readings = {part.range_no: _Reading(part) for part in parts if not part.read_done}
    for page in pages:
        if reading := readings.get(page.range_no):
            reading.next_page_no = page.page_no + 1
            reading.cursor = page.cursor or reading.cursor
    return list(readings.values()), sum(page.records for page in pages)


def _fetch(sync: Sync, systems: Systems, run: Run, reading: _Reading, limit: int | None) -> FetchedPage:
    """One page from the source into its file. Runs in a thread; a range has one page in flight at a time."""
    page = systems.source.page(sync.resource, reading.part, reading.cursor, limit=limit, lines_field=sync.lines_field)
    systems.landing.write(_path(run, reading), page.body)
    return page


#: And no page waits longer to be noted.
_NOTED_EVERY_S = 0.5


class _Notes:
    """Pages whose files are there, on their way to the index of the landing."""

    def __init__(self, systems: Systems, run: Run) -> None:
        self._systems, self._run = systems, run
        self._pages: list[tuple[Page, int]] = []
        self._ended: list[int] = []
        self._written_at = time.monotonic()

    def add(self, reading: _Reading, page: FetchedPage, *, last: bool) -> None:
        """The next page of *reading*, noted now or together with those that follow."""
        noted = Page(
            range_no=reading.part.range_no,
            page_no=reading.next_page_no,
            records=page.records,
            lines=page.lines,
            path=_path(self._run, reading),
            cursor=page.cursor or reading.cursor,
        )
        self._pages.append((noted, len(page.body)))
        if last:
            self._ended.append(reading.part.range_no)
        reading.next_page_no += 1
        reading.cursor = noted.cursor
        if (
            len(self._pages) >= self._systems.pages_noted_together
            or time.monotonic() - self._written_at > _NOTED_EVERY_S
        ):
            self.write()

    def write(self) -> None:
        """All that waits, in one transaction."""
        if not self._pages:
            return
        with self._systems.store.transaction() as work:
            leases.check(work, self._run.lease, self._run.run_id, self._run.fencing_token)
            landing.add_pages(work, self._run.run_id, self._pages)
            landing.mark_ranges_read(work, self._run.run_id, self._ended)
        self._pages, self._ended = [], []
        self._written_at = time.monotonic()
        crash_point("extract.page_landed")


def _path(run: Run, reading: _Reading) -> str:
    # The token in the name: a worker that wakes too late must not write over the page its successor landed.
    name = f"page-{reading.next_page_no:06d}-{run.fencing_token}.json.zst"
    return f"{run.run_id}/range-{reading.part.range_no:02d}/{name}"


def _hold_when_shrunken(sync: Sync, systems: Systems, begun: Run) -> None:
    """
    Ends a full read that found nothing, or much less than there should be, before any of it is loaded.

    An empty feed is far more often a broken source than an empty shop.
    """
    run_id = begun.run_id
    with systems.store.transaction() as work:
        leases.check(work, begun.lease, run_id, begun.fencing_token)
        run = runs.get(work, run_id)
        if not reads_everything(run.mode, run.window) or run.request.accept_shrunken or run.request.limit:
            return
        pages = landing.pages_of(work, run_id)
        read, lines = sum(page.records for page in pages), sum(page.lines for page in pages)
        known = entities.count(work, sync.table, sync.integration, run.request.ids)
        # What the source says of itself is of the whole; a part of it may well be empty.
        if run.request.part is None:
            known = max(known, run.expected_records or 0)
        if (read or run.request.part) and read >= known * _SHRUNKEN_SHARE:
            return
        error = HeldForApproval(run_id, sync.entity, read, known)
        held = Fates(records=Counts(read=read, held=read), lines=Counts(read=lines, held=lines))
        runs.add_counts(work, run_id, held)
        runs.finish(work, run_id, RunState.HELD, str(error))
        alerts.add(work, kind="run_held", subject=run_id, message=str(error))
        leases.release(work, run.lease, run_id)
    raise error
