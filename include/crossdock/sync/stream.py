"""A stream: one integration's records of one dataset, declared as data; and the systems that its runs work with."""

from __future__ import annotations

import logging
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
from crossdock.sync.parts import Parts
from crossdock.sync.quarantine.model import Expectation, Level, SuiteBroken
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
    #: Makes the mapping of one integration, if it is not the same for all of the connector.
    to_columns_of: Callable[[str], Callable[[Sequence[Any]], Columns]] | None = None
    #: The level of each rule for which the merchant chose another than its own.
    levels: Mapping[str, Level] = field(default_factory=dict)
    #: Columns beside the dataset's that only this stream's expectations read.
    check_columns: tuple[Column, ...] = ()
    #: The column of `check_columns` in which the mapping reports what it could not read: a JSON list of failures, or null.
    failures_column: str | None = None
    #: The fields of the source that list a record's lines; none for records without lines.
    lines_fields: tuple[str, ...] = ()
    #: The rows of another dataset that each record has inside; None if it has none.
    parts: Parts | None = None
    #: JSON Schema of the record as the source promises it; differences are reported as schema drift.
    contract: Mapping[str, Any] | None = None
    #: Column → the top-level fields of the source that the mapping reads for it, if there is no contract.
    sources: Mapping[str, frozenset[str]] = field(default_factory=dict)
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
    #: Whether a source of which each run reads the whole list may have no records.
    may_be_empty: bool = False
    #: Whether a record in a known version but with other content is a change. For a source whose version is a time, or whose
    #: figures follow late; without it, a version that the hub has is unchanged.
    compares_content: bool = False
    #: The integration whose records they are; empty in a connector's declaration.
    integration: str = ""

    def __post_init__(self) -> None:
        prepare(self.record_type)

    def of(self, integration: str) -> Stream:
        """Give the stream of *integration*."""
        mapping = self.to_columns_of(integration) if self.to_columns_of else self.to_columns
        return replace(self, integration=integration, to_columns=mapping)

    @property
    def id(self) -> str:
        """`<integration>.<dataset>`: `commercetools.inventory`."""
        return stream_id(self.integration, self.dataset.name)

    def lease(self, shard: str) -> LeaseKey:
        """Name the lease, and the watermark, of one of its shards."""
        return LeaseKey(self.integration, self.dataset.name, shard)

    @property
    def mapped_fields(self) -> frozenset[str]:
        """The fields of the source that the mapping reads, if there is no contract."""
        return frozenset[str]().union(*self.sources.values())

    @property
    def field_names(self) -> frozenset[str]:
        """The top-level fields that a record of the source may have."""
        return frozenset(self.contract["properties"]) if self.contract else self.mapped_fields

    def rules(self) -> tuple[Expectation, ...]:
        """
        List the expectations that are not off, each at the level that holds for this stream.

        Raises:
            SuiteBroken: a level was chosen for a rule that the stream does not have, or whose level cannot be changed.

        """
        known = {rule.name: rule for rule in self.expectations}
        for name in self.levels:
            if name not in known:
                raise SuiteBroken(f"HUB_STREAMS: {self.id} has no rule {name!r}. Rules: {', '.join(sorted(known))}")
            if known[name].required:
                raise SuiteBroken(f"HUB_STREAMS: the level of {name!r} cannot be changed: the hub's tables need it")
        chosen = (
            msgspec.structs.replace(rule, level=self.levels.get(rule.name, rule.level)) for rule in self.expectations
        )
        return tuple(rule for rule in chosen if rule.level != "off")

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
    #: The level of the log lines about each step: a fetch of single records has a thousand siblings within the hour.
    log_level: int = logging.INFO
    #: Called with a progress message.
    progress: Callable[[str], None] = field(default=lambda _: None)
