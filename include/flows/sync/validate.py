"""Landed pages → checked batches: decode, map, check; columns of what was accepted beside the raw pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from include.flows.sync.batch_file import write_batch
from include.flows.sync.crash_points import crash_point
from include.flows.sync.declaration import Sync, Systems
from include.flows.sync.gate import sifted
from include.flows.sync.lease_keeper import LeaseKeeper, retake
from include.model.sync import RunState
from include.store import batches, landing
from include.store.landing import Page

log = logging.getLogger(__name__)


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
    for batch_no, group in enumerate(_grouped(pages, sync.batch_records)):
        if batch_no in checked:
            continue
        content = sifted(sync, [systems.landing.read(page.path) for page in group])
        write_batch(systems.landing, batches.name_of(run_id, batch_no), content)
        crash_point("validate.batch_written")
        with systems.store.transaction() as work:
            batches.add(
                work,
                run_id,
                batch_no,
                records=sum(page.records for page in group),
                first_page=(group[0].range_no, group[0].page_no),
                last_page=(group[-1].range_no, group[-1].page_no),
            )
        crash_point("validate.batch_noted")
        systems.progress(
            f"batch {batch_no + 1}: {content.accepted_count:,} accepted, {len(content.rejected):,} rejected"
        )
        keeper.renew()
    return run_id


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
