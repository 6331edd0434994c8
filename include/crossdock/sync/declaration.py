"""What differs between syncs, as data, and the systems that a sync works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from crossdock.db.columns import Column
from crossdock.db.database import Store
from crossdock.sync.landing import Landing
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.source import Source
from crossdock.sync.tables import EntityTable


@dataclass(frozen=True)
class Sync:
    """One entity of one platform."""

    entity: str
    integration: str
    #: The platform's resource that is read: a path below the project.
    resource: str
    #: The platform's field that `--key` names.
    key_field: str
    table: EntityTable
    #: The record as the platform sends it, and the pure mapping of many to the table's columns: one sequence each.
    record_type: type[msgspec.Struct]
    to_columns: Callable[[Sequence[Any]], Sequence[Sequence[Any]]]
    expectations: tuple[Expectation, ...]
    #: Columns that `to_columns` gives after the table's, for expectations only: sums, smallest quantities.
    check_columns: tuple[Column, ...] = ()
    #: The platform's field that lists a record's lines; None where records are not made of lines.
    lines_field: str | None = None
    #: JSON Schema of the record as the platform promises it; what differs is reported as drift.
    contract: Mapping[str, Any] | None = None
    #: The platform's fields that the mapping reads, where no contract promises any.
    mapped_fields: frozenset[str] = frozenset()
    #: At most so many records a page; None for as many as the platform gives. Several pages are in flight at once.
    page_records: int | None = None
    #: About so many records are validated and loaded as one: large enough for Great Expectations,
    #: small enough for a transaction of about a second.
    batch_records: int = 10_000

    @property
    def field_names(self) -> frozenset[str]:
        """What a record of the platform may have at its top."""
        return frozenset(self.contract["properties"]) if self.contract else self.mapped_fields

    @property
    def columns(self) -> tuple[Column, ...]:
        """What `to_columns` gives: the table's columns, then the facts."""
        return (*self.table.columns, *self.check_columns)


def row_by_row(to_row: Callable[[Any], tuple[Any, ...]]) -> Callable[[Sequence[Any]], Sequence[Sequence[Any]]]:
    """*to_row* for many records: for entities whose mapping is more work than their columns are."""
    return lambda records: list(zip(*map(to_row, records), strict=True))


#: How long a lease lives without renewal; a killed worker's entity is free again after this.
LEASE_LIFE = timedelta(seconds=60)


@dataclass(frozen=True)
class Systems:
    """What a sync reads from and writes to."""

    source: Source
    store: Store
    landing: Landing
    overlap: timedelta = timedelta(minutes=5)
    lease_life: timedelta = LEASE_LIFE
    #: Pages in flight at once, over all ranges: as many as the client makes calls at once.
    pages_in_flight: int = 8
    #: So many pages are noted as landed in one transaction: a commit waits for the disk as long as a page waits
    #: for a near source.
    pages_noted_together: int = 16
    #: Called with a sentence as the work goes on.
    progress: Callable[[str], None] = field(default=lambda _: None)
