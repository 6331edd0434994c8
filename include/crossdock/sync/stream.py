"""A stream: one integration's records of one dataset, declared as data; and the systems that its runs work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.db.columns import Column
from crossdock.db.database import Store
from crossdock.db.leases import LeaseKey, stream_id
from crossdock.sync.dataset import Columns, Schema
from crossdock.sync.landing import Landing
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.source import Source


@dataclass(frozen=True, kw_only=True)
class Stream:
    """
    The records of one dataset that one integration has.

    A connector declares its streams without an integration; each integration of that connector has them (`of`).
    """

    dataset: Schema
    #: The resource of the source that is read: a path below the project.
    resource: str
    #: The field of the source whose values `--key` names.
    key_field: str
    #: The type of a record as the source sends it, and the pure mapping of many records to columns.
    record_type: type[msgspec.Struct]
    to_columns: Callable[[Sequence[Any]], Columns]
    expectations: tuple[Expectation, ...]
    #: Columns beside the dataset's that only this stream's expectations read.
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
    #: When it is synced, as cron; None: on demand only.
    schedule: str | None = None
    #: Among how many workers a sync is shared, each with a shard of the ids.
    shards: int = 1
    #: Whether the source can be read by ranges of ids, so that it can be shared among workers.
    can_be_cut: bool = True
    #: Whether the source can be asked for what changed in a window; without that there is no backfill.
    reads_windows: bool = True
    #: The integration whose records they are; empty in a connector's declaration.
    integration: str = ""

    def __post_init__(self) -> None:
        prepare(self.record_type)

    def of(self, integration: str) -> Stream:
        """Give the stream of *integration*."""
        return replace(self, integration=integration)

    @property
    def id(self) -> str:
        """`<integration>.<dataset>`: `commercetools.inventory`."""
        return stream_id(self.integration, self.dataset.name)

    def lease(self, shard: str) -> LeaseKey:
        """Name the lease, and the watermark, of one of its shards."""
        return LeaseKey(self.integration, self.dataset.name, shard)

    @property
    def field_names(self) -> frozenset[str]:
        """The top-level fields that a record of the source may have."""
        return frozenset(self.contract["properties"]) if self.contract else self.mapped_fields

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that `to_columns` returns: the dataset's, and those that are only checked."""
        return (*self.dataset.checked_columns, *self.check_columns)


#: How long a lease lives without renewal; then the stream of a killed worker is free again.
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
