"""Landed pages → checked batches: decode, map, check; columns of what was accepted beside the raw pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from crossdock.core.failpoints import crash_point
from crossdock.core.memory import give_back
from crossdock.db import leases
from crossdock.sync import batches, landing, log_fields
from crossdock.sync import ledger as runs
from crossdock.sync.batch_file import write_batch
from crossdock.sync.batches import Content
from crossdock.sync.contract import drift, merged
from crossdock.sync.declaration import Sync, Systems
from crossdock.sync.decode import sampled
from crossdock.sync.landing import Page
from crossdock.sync.lease_renewal import LeaseKeeper, retake
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState
from crossdock.sync.validate_rows import sifted_together

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Batches whose rows Great Expectations looks at in one go: each look costs thirty milliseconds whatever it sees.
_CHECKED_TOGETHER = 3


def validate(sync: Sync, systems: Systems, run_id: str) -> str:
    """
    *run_id*, whose batches are all checked and ready to be loaded.

    Running it again goes on after the last batch that was checked.

    Raises:
        LeaseHeld, StoreUnavailable, LandingUnavailable: passing; run it again.
        PageUnreadable, SuiteBroken: someone has to look.

    """
    run = retake(systems, run_id)
    if run.state is not RunState.RUNNING:
        return run_id
    keeper = LeaseKeeper(systems, run)
    with systems.store.transaction() as work:
        pages = landing.pages_of(work, run_id)
        checked = {batch.batch_no for batch in batches.of_run(work, run_id)}
    known = run.drift or []
    open_batches = [batch for batch in enumerate(_grouped(pages, sync.batch_records)) if batch[0] not in checked]
    for together in _chunks(open_batches, _CHECKED_TOGETHER):
        # Before the records are sifted: where a changed source stops that, this is what tells why.
        known = _note_drift(sync, systems, run, known, [page for _, group in together for page in group])
        contents = sifted_together(sync, [_reader(systems, group) for _, group in together])
        for (batch_no, group), content in zip(together, contents, strict=True):
            _note(systems, run, batch_no, group, content)
            systems.progress(
                f"batch {batch_no + 1}: {content.accepted_count:,} accepted, {len(content.rejected):,} rejected"
            )
        give_back()
        keeper.renew()
    return run_id


def _reader(systems: Systems, group: Sequence[Page]) -> Callable[[], Iterator[bytes]]:
    return lambda: (systems.landing.read(page.path) for page in group)


def _note(systems: Systems, run: Run, batch_no: int, group: Sequence[Page], content: Content) -> None:
    """The checked batch beside its pages, and that it can be loaded."""
    write_batch(systems.landing, batches.name_of(run.run_id, batch_no), content)
    crash_point("validate.batch_written")
    with systems.store.transaction() as work:
        leases.check(work, run.lease, run.run_id, run.fencing_token)
        batches.add(
            work,
            run.run_id,
            batch_no,
            records=sum(page.records for page in group),
            lines=sum(page.lines for page in group),
            first_page=(group[0].range_no, group[0].page_no),
            last_page=(group[-1].range_no, group[-1].page_no),
        )
    crash_point("validate.batch_noted")
    with log_fields.of(run, batch_no):
        log.info("Checked batch %s: %s accepted, %s rejected", batch_no, content.accepted_count, len(content.rejected))


#: Drift comes with a release, not with one record: so many pages of those checked together are held against the
#: contract, and so many records of each.
_SAMPLED_PAGES = 10
_SAMPLED_RECORDS = 20


def _note_drift(
    sync: Sync, systems: Systems, run: Run, known: list[dict[str, str]], pages: Sequence[Page]
) -> list[dict[str, str]]:
    """What differs by now, these *pages* included; told and noted at once where it is more than was *known*."""
    found = merged(known, _drift(sync, systems, pages))
    if len(found) > len(known):
        with log_fields.of(run):
            log.warning("The source differs from its contract: %s", found)
        with systems.store.transaction() as work:
            leases.check(work, run.lease, run.run_id, run.fencing_token)
            runs.note_drift(work, run.run_id, found)
    return found


def _drift(sync: Sync, systems: Systems, pages: Sequence[Page]) -> list[dict[str, str]]:
    if sync.contract is None:
        return []
    chosen = pages[:: -(-len(pages) // _SAMPLED_PAGES)]
    bodies = (systems.landing.read(page.path) for page in chosen)
    return drift(sync.contract, (record for body in bodies for record in sampled(body, _SAMPLED_RECORDS)))


def _grouped(pages: Sequence[Page], batch_records: int) -> Iterator[list[Page]]:
    """Consecutive pages of about *batch_records*; the same pages always fall into the same groups."""
    group: list[Page] = []
    for page in pages:
        group.append(page)
        if sum(each.records for each in group) >= batch_records:
            yield group
            group = []
    if group:
        yield group


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """*items*, *size* at a time."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
