"""The declaration of a sync as data, and the systems that a sync works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.db.columns import Column
from crossdock.db.database import Store
from crossdock.sync.landing import Landing
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.source import Source
from crossdock.sync.tables import EntityTable


@dataclass(frozen=True)
class Sync:
    """One entity of one source."""

    entity: str
    integration: str
    #: The resource of the source that is read: a path below the project.
    resource: str
    #: The field of the source whose values `--key` names.
    key_field: str
    table: EntityTable
    #: The type of a record as the source sends it, and the pure mapping of many records to columns, one sequence each.
    record_type: type[msgspec.Struct]
    to_columns: Callable[[Sequence[Any]], Sequence[Sequence[Any]]]
    expectations: tuple[Expectation, ...]
    #: Columns that `to_columns` returns after the table's, only for expectations: sums, smallest quantities.
    check_columns: tuple[Column, ...] = ()
    #: The field of the source that lists a record's lines; None for records without lines.
    lines_field: str | None = None
    #: JSON Schema of the record as the source promises it; differences are reported as schema drift.
    contract: Mapping[str, Any] | None = None
    #: The fields of the source that the mapping reads, if there is no contract.
    mapped_fields: frozenset[str] = frozenset()
    #: The most records on a page; None for the source's own maximum. Several pages are in flight at once.
    page_records: int | None = None
    #: About how many records are validated and loaded together: large enough for Great Expectations,
    #: small enough for a transaction of about a second.
    batch_records: int = 10_000

    def __post_init__(self) -> None:
        prepare(self.record_type)

    @property
    def field_names(self) -> frozenset[str]:
        """The top-level fields that a record of the source may have."""
        return frozenset(self.contract["properties"]) if self.contract else self.mapped_fields

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that `to_columns` returns: the table's, then the check columns."""
        return (*self.table.columns, *self.check_columns)


def row_by_row(to_row: Callable[[Any], tuple[Any, ...]]) -> Callable[[Sequence[Any]], Sequence[Sequence[Any]]]:
    """Apply *to_row* to many records: for entities whose mapping costs more than building their columns."""
    return lambda records: list(zip(*map(to_row, records), strict=True))


#: How long a lease lives without renewal; then the entity of a killed worker is free again.
LEASE_LIFE = timedelta(seconds=60)


@dataclass(frozen=True)
class Systems:
    """The systems that a sync reads from and writes to."""

    source: Source
    store: Store
    landing: Landing
    overlap: timedelta = timedelta(minutes=5)
    lease_life: timedelta = LEASE_LIFE
    #: Pages in flight at once, over all ranges: as many as the calls that the client makes at once.
    pages_in_flight: int = 8
    #: How many pages are recorded as landed in one transaction: a commit takes as long as a page from a near source.
    pages_recorded_together: int = 16
    #: Called with a progress message.
    progress: Callable[[str], None] = field(default=lambda _: None)
