"""Turn landed pages into validated batches: decode, map, validate; accepted rows are stored as columns beside the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from crossdock.core.failpoints import failpoint
from crossdock.core.log import logger
from crossdock.core.memory import trim_memory
from crossdock.db import leases
from crossdock.sync import batches, landing, ledger, log_fields
from crossdock.sync.batch_file import write_batch
from crossdock.sync.batches import Content
from crossdock.sync.contract import drift, merged
from crossdock.sync.decode import sampled
from crossdock.sync.landing import Page
from crossdock.sync.lease_renewal import LeaseRenewal, reacquire_lease
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState
from crossdock.sync.stream import Stream, Systems
from crossdock.sync.validate_rows import validate_batches

log = logger(__name__)

T = TypeVar("T")

#: Batches that Great Expectations evaluates together: each evaluation costs thirty milliseconds regardless of its size.
_CHECKED_TOGETHER = 3


def validate(stream: Stream, systems: Systems, run_id: str) -> str:
    """
    Validate all batches of *run_id*, so that they can be loaded, and return it.

    Idempotent: running it again continues after the last batch that was validated.

    Raises:
        LeaseHeld, StoreUnavailable, LandingUnavailable: transient; run it again.
        PageUnreadable, SuiteBroken: terminal; a person has to fix the cause.

    """
    run = reacquire_lease(systems, run_id)
    if run.state is not RunState.RUNNING:
        return run_id
    renewal = LeaseRenewal(systems, run)
    with systems.store.transaction() as work:
        pages = landing.pages_of(work, run_id)
        validated = {batch.batch_no for batch in batches.of_run(work, run_id)}
    known = run.drift or []
    open_batches = [batch for batch in enumerate(_grouped(pages, stream.batch_records)) if batch[0] not in validated]
    for together in _chunks(open_batches, _CHECKED_TOGETHER):
        # Before validation: if a changed source makes that fail, the drift explains why.
        known = _record_drift(stream, systems, run, known, [page for _, group in together for page in group])
        contents = validate_batches(stream, [_reader(systems, group) for _, group in together])
        for (batch_no, group), content in zip(together, contents, strict=True):
            _add_batch(systems, run, batch_no, group, content)
            systems.progress(
                f"batch {batch_no + 1}: {content.accepted_count:,} accepted, {len(content.rejected):,} rejected"
            )
        trim_memory()
        renewal.renew()
    return run_id


def _reader(systems: Systems, group: Sequence[Page]) -> Callable[[], Iterator[bytes]]:
    return lambda: (systems.landing.read(page.path) for page in group)


def _add_batch(systems: Systems, run: Run, batch_no: int, group: Sequence[Page], content: Content) -> None:
    """Store the validated batch beside its pages, and record that it can be loaded."""
    write_batch(systems.landing, batches.name_of(run.run_id, batch_no), content)
    failpoint("validate.batch_written")
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
    failpoint("validate.batch_noted")
    with log_fields.of(run, batch_no):
        line = "Validated batch %s: %s accepted, %s rejected"
        log.log(systems.log_level, line, batch_no, content.accepted_count, len(content.rejected))


#: Schema drift comes with a release of the source, not with one record: only a sample of pages and of their records is
#: compared with the contract.
_SAMPLED_PAGES = 10
_SAMPLED_RECORDS = 20


def _record_drift(
    stream: Stream, systems: Systems, run: Run, known: list[dict[str, str]], pages: Sequence[Page]
) -> list[dict[str, str]]:
    """Compare *pages* with the contract; log and record the drift if it is more than is *known* already."""
    found = merged(known, _drift(stream, systems, pages))
    if len(found) > len(known):
        with log_fields.of(run):
            log.warning("The source differs from its contract: %s", found)
        with systems.store.transaction() as work:
            leases.check(work, run.lease, run.run_id, run.fencing_token)
            ledger.record_drift(work, run.run_id, found)
    return found


def _drift(stream: Stream, systems: Systems, pages: Sequence[Page]) -> list[dict[str, str]]:
    if stream.contract is None:
        return []
    chosen = pages[:: -(-len(pages) // _SAMPLED_PAGES)]
    bodies = (systems.landing.read(page.path) for page in chosen)
    return drift(stream.contract, (record for body in bodies for record in sampled(body, _SAMPLED_RECORDS)))


def _grouped(pages: Sequence[Page], batch_records: int) -> Iterator[list[Page]]:
    """Group consecutive pages into about *batch_records* each; the same pages always form the same groups."""
    group: list[Page] = []
    for page in pages:
        group.append(page)
        if sum(member.records for member in group) >= batch_records:
            yield group
            group = []
    if group:
        yield group


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Split *items* into lists of *size*."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
