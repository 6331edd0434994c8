"""Landed pages → checked batches: decode, map, check; columns of what was accepted beside the raw pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from include.flows.sync import log_fields
from include.flows.sync.batch_file import write_batch
from include.flows.sync.contract import drift, merged
from include.flows.sync.crash_points import crash_point
from include.flows.sync.declaration import Sync, Systems
from include.flows.sync.decode import sampled
from include.flows.sync.gate import sifted
from include.flows.sync.lease_keeper import LeaseKeeper, retake
from include.model.sync import RunState
from include.store import batches, landing, leases, runs
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
    found: list[dict[str, str]] = []
    for batch_no, group in enumerate(_grouped(pages, sync.batch_records)):
        if batch_no in checked:
            continue
        bodies = [systems.landing.read(page.path) for page in group]
        content = sifted(sync, bodies)
        found = merged(found, _drift(sync, bodies))
        write_batch(systems.landing, batches.name_of(run_id, batch_no), content)
        crash_point("validate.batch_written")
        with systems.store.transaction() as work:
            leases.check(work, run.lease, run_id, run.fencing_token)
            batches.add(
                work,
                run_id,
                batch_no,
                records=sum(page.records for page in group),
                lines=sum(page.lines for page in group),
                first_page=(group[0].range_no, group[0].page_no),
                last_page=(group[-1].range_no, group[-1].page_no),
            )
        crash_point("validate.batch_noted")
        told = f"batch {batch_no + 1}: {content.accepted_count:,} accepted, {len(content.rejected):,} rejected"
        with log_fields.of(run, batch_no):
            log.info("Checked %s", told)
        systems.progress(told)
        keeper.renew()
    if found:
        with log_fields.of(run):
            log.warning("The source differs from its contract: %s", found)
        with systems.store.transaction() as work:
            runs.note_drift(work, run_id, found)
    return run_id


#: Records of each page that are held against the contract: drift comes with a release, not with one record.
_SAMPLED_RECORDS = 20


def _drift(sync: Sync, bodies: Sequence[bytes]) -> list[dict[str, str]]:
    if sync.contract is None:
        return []
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
