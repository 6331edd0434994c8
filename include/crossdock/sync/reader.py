"""Read the ranges of a run with several pages in flight, and record the pages that landed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass

import msgspec

from crossdock.core.errors import HubError
from crossdock.core.failpoints import failpoint
from crossdock.core.memory import trim_memory
from crossdock.db import leases
from crossdock.sync import landing
from crossdock.sync.card_data import without_cards
from crossdock.sync.landing import Page
from crossdock.sync.lease_renewal import LeaseRenewal
from crossdock.sync.ledger import Run
from crossdock.sync.source import Cursor, FetchedPage, Range
from crossdock.sync.stream import Stream, Systems

#: A page that takes longer hangs, and its run may lose its lease.
_LONGEST_PAGE_S = 15 * 60.0


@dataclass
class _Reading:
    """The progress of reading one range."""

    part: Range
    next_page_no: int = 0
    cursor: Cursor | None = None


def read(stream: Stream, systems: Systems, run: Run, parts: list[Range]) -> None:
    """
    Read every range to its end, with several pages in flight.

    Threads fetch pages and write files; only this thread writes to the database, and it records a page after its file
    is on disk, so that an interruption loses no page that is recorded as landed.
    """
    renewal, recorder = LeaseRenewal(systems, run), _PageRecorder(systems, run)
    readings, landed = _resumed(systems, run, parts)
    limit = run.request.limit
    with ThreadPoolExecutor(systems.pages_in_flight, thread_name_prefix="page") as pool:
        flights: dict[Future[FetchedPage], _Reading] = {}
        waiting = iter(readings)

        def submit(candidates: Iterator[_Reading]) -> None:
            while len(flights) < systems.pages_in_flight and (reading := next(candidates, None)):
                left = limit - landed if limit else None
                if left is not None and left <= 0:
                    return
                flights[pool.submit(copy_context().run, _fetch, stream, systems, run, reading, left)] = reading

        try:
            submit(waiting)
            while flights:
                for flight in _next_done(flights, renewal):
                    reading, page = flights.pop(flight), flight.result()
                    landed += page.records
                    reached_limit = bool(limit) and landed >= limit
                    recorder.add(reading, page, last=page.last or reached_limit)
                    systems.progress(f"{landed:,} of about {run.expected_records or landed:,} records read")
                    if not (page.last or reached_limit):
                        submit(iter([reading]))
                renewal.renew()
                submit(waiting)
        except BaseException:
            # Pages in flight end up in files that no row names; they are written again next time.
            pool.shutdown(cancel_futures=True)
            with suppress(HubError):  # The first error is the one to raise.
                recorder.write()
            raise
    recorder.write()
    trim_memory()


def _next_done(flights: Collection[Future[FetchedPage]], renewal: LeaseRenewal) -> set[Future[FetchedPage]]:
    """Wait for the next pages. A page that waits its turn at a slow rate limit may take longer than a lease lives."""
    ends_at = time.monotonic() + _LONGEST_PAGE_S
    while True:
        timeout_s = renewal.every_s if time.monotonic() < ends_at else None
        done, _ = wait(flights, timeout_s, return_when=FIRST_COMPLETED)
        if done:
            return done
        renewal.renew()


def _resumed(systems: Systems, run: Run, parts: list[Range]) -> tuple[list[_Reading], int]:
    """Restore the progress of each unfinished range from the pages that landed, and count their records."""
    with systems.store.transaction() as work:
        pages = landing.pages_of(work, run.run_id)
    readings = {part.range_no: _Reading(part) for part in parts if not part.read_done}
    for page in pages:
        if reading := readings.get(page.range_no):
            reading.next_page_no = page.page_no + 1
            reading.cursor = page.cursor or reading.cursor
    return list(readings.values()), sum(page.records for page in pages)


def _fetch(stream: Stream, systems: Systems, run: Run, reading: _Reading, limit: int | None) -> FetchedPage:
    """Fetch one page and write its file, without card data. Runs in a thread; a range has one page in flight at a time."""
    most = min((size for size in (limit, stream.page_records) if size), default=None)
    page = systems.source.page(
        stream.resource, reading.part, reading.cursor, limit=most, lines_fields=stream.lines_fields
    )
    body = without_cards(page)
    systems.landing.write(_path(run, reading), body)
    return msgspec.structs.replace(page, body=body)


#: No page waits longer to be recorded.
_RECORDED_EVERY_S = 0.5


class _PageRecorder:
    """Records pages, whose files are written, in the index of the landing."""

    def __init__(self, systems: Systems, run: Run) -> None:
        self._systems, self._run = systems, run
        self._pages: list[tuple[Page, int]] = []
        self._ended: list[int] = []
        self._written_at = time.monotonic()

    def add(self, reading: _Reading, page: FetchedPage, *, last: bool) -> None:
        """Record the next page of *reading*, now or together with later pages."""
        landed = Page(
            range_no=reading.part.range_no,
            page_no=reading.next_page_no,
            records=page.records,
            lines=page.lines,
            path=_path(self._run, reading),
            cursor=page.cursor or reading.cursor,
        )
        self._pages.append((landed, len(page.body)))
        if last:
            self._ended.append(reading.part.range_no)
        reading.next_page_no += 1
        reading.cursor = landed.cursor
        if (
            len(self._pages) >= self._systems.pages_recorded_together
            or time.monotonic() - self._written_at > _RECORDED_EVERY_S
        ):
            self.write()

    def write(self) -> None:
        """Record all waiting pages in one transaction."""
        if not self._pages:
            return
        self._systems.landing.sync_to_disk([page.path for page, _ in self._pages])
        with self._systems.store.transaction() as work:
            leases.check(work, self._run.lease, self._run.run_id, self._run.fencing_token)
            landing.add_pages(work, self._run.run_id, self._pages)
            landing.mark_ranges_read(work, self._run.run_id, self._ended)
        self._pages, self._ended = [], []
        self._written_at = time.monotonic()
        failpoint("extract.page_landed")


def _path(run: Run, reading: _Reading) -> str:
    # The token in the name: a worker that wakes too late must not write over the page its successor landed.
    name = f"page-{reading.next_page_no:06d}-{run.fencing_token}.json.zst"
    return f"{run.run_id}/range-{reading.part.range_no:02d}/{name}"
