"""The words of reading a source: which part, from where, and what came."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec


class Axis(StrEnum):
    """What a range is cut along, and so what its pages are sorted by."""

    #: By (last modified, id): deltas and windows.
    TIME = "time"
    #: By id: full reads.
    ID = "id"
    #: Named keys, by id.
    KEYS = "keys"


class Cursor(NamedTuple):
    """The last record of a page, by the two fields that order all pages."""

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
    #: Time ranges of one part of an entity hold only ids with id_low < id ≤ id_high.
    id_low: str | None = None
    id_high: str | None = None
    field: str | None = None
    keys: tuple[str, ...] = ()
    #: Whether the source has been read to the range's end.
    read_done: bool = False


class FetchedPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page as it came."""

    body: bytes
    records: int
    #: None when no record on it has an id and an instant.
    cursor: Cursor | None
    #: Whether the range ends with this page.
    last: bool
    #: Lines of all its records; 0 where records are not made of lines.
    lines: int = 0


class SourceDescription(msgspec.Struct, frozen=True):
    """What a source says of itself before it is read."""

    #: By the source's own clock: the only one its instants can be compared with.
    source_now: datetime
    #: How many records it has, of those that were asked for.
    records: int


class Source(Protocol):
    """What a sync needs of a connector."""

    #: The integration's name, as the ledger and the tables have it.
    name: str

    def describe(self, resource: str, changed_since: datetime | None) -> SourceDescription:
        """Its clock, and how many records changed at or after an instant (None: how many there are)."""
        ...

    def page(
        self,
        resource: str,
        part: Range,
        after: Cursor | None,
        *,
        limit: int | None = None,
        lines_field: str | None = None,
    ) -> FetchedPage:
        """
        The page of *part* that follows *after* (None: its first), of at most *limit* records.

        *lines_field* names the list whose entries are counted as lines.

        Never by offset: rows move while pages are read, and an offset then skips some.
        """
        ...
