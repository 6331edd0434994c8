"""The port to a source, and the types for reading it: ranges, cursors, pages."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec


class Axis(StrEnum):
    """The dimension by which ranges are cut and their pages sorted."""

    #: By (last modified, id): deltas and windows.
    TIME = "time"
    #: By id: full reads.
    ID = "id"
    #: Named keys, by id.
    KEYS = "keys"


class Cursor(NamedTuple):
    """The position of the last record of a page (keyset pagination), by the two fields that order all pages."""

    at: datetime
    id: str


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """
    One disjoint part of a run's window.

    Time ranges hold low ≤ last modified < high (ISO 8601 text); id ranges hold low < id ≤ high;
    None is no bound. Key ranges hold the records whose *field* is one of *keys*.
    """

    range_no: int
    axis: Axis
    low: str | None = None
    high: str | None = None
    #: Time ranges of a shard hold only ids with id_low < id ≤ id_high.
    id_low: str | None = None
    id_high: str | None = None
    field: str | None = None
    keys: tuple[str, ...] = ()
    #: Whether the source has been read to the range's end.
    read_done: bool = False


class FetchedPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page as the source sent it."""

    body: bytes
    records: int
    #: None if no record on the page has an id and an instant.
    cursor: Cursor | None
    #: Whether the range ends with this page.
    last: bool
    #: Lines of all its records; 0 for records without lines.
    lines: int = 0


class SourceDescription(msgspec.Struct, frozen=True):
    """A source's clock and size, asked before it is read."""

    #: The source's clock: its records' timestamps can be compared with this clock only.
    source_now: datetime
    #: Number of matching records; None if the source does not count.
    records: int | None
    #: The latest date of them; None if there is none, or the source does not say. It is after *source_now* when the clock was
    #: ahead while it dated the record.
    newest: datetime | None = None
    #: Whether it can only be read as one range, however many records there are.
    is_one_range: bool = False


class Source(Protocol):
    """The port that a connector implements for a sync."""

    #: The integration's name, as the ledger and the tables have it.
    name: str

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:
        """Read the source's clock and count the records changed at or after *changed_since* (None: all records)."""
        ...

    def page(
        self,
        resource: str,
        part: Range,
        after: Cursor | None,
        *,
        limit: int | None = None,
        lines_fields: tuple[str, ...] = (),
    ) -> FetchedPage:
        """
        Fetch the page of *part* that follows *after* (None: the first page), with at most *limit* records.

        *lines_fields* names the lists whose entries are counted as lines.

        Keyset pagination, never offsets: rows move while pages are read, and an offset would skip some.
        """
        ...
