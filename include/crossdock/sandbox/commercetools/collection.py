"""
All resources of one kind, stored as the bytes that are sent, with sorted indexes for keyset pagination.

A hundred thousand rows take less memory as bytes than as dicts, and a page is then a join. A row is decoded
only to test a predicate on it, and key ranges (`key_ranges.py`) keep the number of such rows low.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from crossdock.sandbox.commercetools.key_ranges import Key, exact_values, key_range
from crossdock.sandbox.commercetools.predicates import Test
from crossdock.sandbox.commercetools.queries import Query, Sort
from crossdock.sandbox.engine import codec

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    version: int
    modified_at: str
    #: The texts of the lookup fields, in their order.
    lookup_values: tuple[str | None, ...]
    raw: bytes

    @property
    def document(self) -> Json:
        """A fresh copy, which the caller may change."""
        document: Json = codec.decode(self.raw)
        return document


def row_of(document: Json, lookups: tuple[str, ...]) -> Row:
    """Make the row that stores *document* in a collection with these lookups."""
    texts = (document.get(field) for field in lookups)
    values = tuple(text if isinstance(text, str) else None for text in texts)
    raw = codec.encode(document)
    return Row(document["id"], document["version"], document["lastModifiedAt"], values, raw)


@dataclass(frozen=True)
class Page:
    rows: list[Row]
    #: How many rows match; None if the query did not ask.
    total: int | None


class Collection:
    """One kind of resource. Thread-safe; a page is a consistent view of one moment."""

    def __init__(self, lookups: tuple[str, ...] = ()) -> None:
        self.lock = threading.RLock()
        #: How many rows were tested against a predicate, for tests of the indexes.
        self.evaluations = 0
        #: Called after each `put` and `remove`, with the ID and the document, or None if it was removed.
        self.on_change: Callable[[str, Json | None], None] = lambda _id, _document: None
        self._lookups = lookups
        self._rows: dict[str, Row] = {}
        self._by_id: list[Key] = []
        self._by_modified: list[Key] = []
        self._by_lookup: dict[str, dict[str, list[str]]] = {field: {} for field in lookups}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, resource_id: str) -> bool:
        return resource_id in self._rows

    def fill(self, documents: Iterable[Json]) -> None:
        """Add many resources at once; sorts once."""
        self.fill_rows(row_of(document, self._lookups) for document in documents)

    def fill_rows(self, rows: Iterable[Row]) -> None:
        """Add many rows that `row_of` made for these lookups."""
        with self.lock:
            for row in rows:
                self._insert(row)
            self._by_id = sorted((row.id,) for row in self._rows.values())
            self._by_modified = sorted((row.modified_at, row.id) for row in self._rows.values())

    def put(self, document: Json) -> Row:
        """Upsert the resource by its ID."""
        with self.lock:
            row = row_of(document, self._lookups)
            self._take_out(row.id)
            self._insert(row)
            insort(self._by_id, (row.id,))
            insort(self._by_modified, (row.modified_at, row.id))
            self.on_change(row.id, document)
            return row

    def remove(self, resource_id: str) -> None:
        """Remove the resource, if it exists."""
        with self.lock:
            if self._take_out(resource_id):
                self.on_change(resource_id, None)

    def _take_out(self, resource_id: str) -> bool:
        row = self._rows.pop(resource_id, None)
        if row is None:
            return False
        del self._by_id[bisect_left(self._by_id, (row.id,))]
        del self._by_modified[bisect_left(self._by_modified, (row.modified_at, row.id))]
        for field, text in zip(self._lookups, row.lookup_values, strict=True):
            if text is not None:
                self._by_lookup[field][text].remove(row.id)
        return True

    def get(self, resource_id: str) -> Row | None:
        return self._rows.get(resource_id)

    def find(self, field: str, text: str) -> list[Row]:
        """List the rows whose lookup *field* is *text*."""
        with self.lock:
            return [self._rows[i] for i in self._by_lookup[field].get(text, ())]

    def ids(self) -> list[str]:
        """List all IDs, sorted."""
        with self.lock:
            return [key[0] for key in self._by_id]

    def rows(self) -> list[Row]:
        """List all rows, sorted by ID."""
        with self.lock:
            return [self._rows[key[0]] for key in self._by_id]

    def page(self, query: Query, view: Callable[[Json], Json] | None = None) -> Page:
        """
        Find the rows that *query* asks for.

        Args:
            query: See `queries.query_of`.
            view: Turns a stored document into what the predicate tests; None if it tests the stored one.

        """
        with self.lock:
            matching = self._matching(query, view)
            if not query.with_total:
                return Page(list(islice(matching, query.offset, query.offset + query.limit)), None)
            matches = list(matching)
            return Page(matches[query.offset : query.offset + query.limit], len(matches))

    def _insert(self, row: Row) -> None:
        self._rows[row.id] = row
        for field, text in zip(self._lookups, row.lookup_values, strict=True):
            if text is not None:
                self._by_lookup[field].setdefault(text, []).append(row.id)

    def _matching(self, query: Query, view: Callable[[Json], Json] | None) -> Iterator[Row]:
        rows, tested = self._candidates(query)
        if query.last_id is not None:
            rows = (row for row in rows if row.id <= str(query.last_id))
        if query.test is None or tested:
            return iter(rows)
        return self._filter(rows, query.test, view)

    def _filter(self, rows: Iterable[Row], test: Test, view: Callable[[Json], Json] | None) -> Iterator[Row]:
        for row in rows:
            self.evaluations += 1
            if test(row.document if view is None else view(row.document)):
                yield row

    def _candidates(self, query: Query) -> tuple[Iterable[Row], bool]:
        """Find the rows that may match, in the order of the query; the flag is True if all of them do."""
        few = self._look_up(query)
        if few is not None:
            return _sorted(few, query.sorts), False
        match query.sorts:
            case () | (Sort("id"),):
                return self._walk(self._by_id, ("id",), query)
            case (Sort("lastModifiedAt"),):
                return self._walk(self._by_modified, ("lastModifiedAt", "id"), query)
            case (Sort("lastModifiedAt", one), Sort("id", other)) if one == other:
                return self._walk(self._by_modified, ("lastModifiedAt", "id"), query)
        return _sorted(self._rows.values(), query.sorts), False

    def _look_up(self, query: Query) -> list[Row] | None:
        """Look up the few rows that a predicate like `sku in ("A", "B")` leaves; None if it leaves many."""
        ids = exact_values(query.where, "id")
        if ids is not None:
            return [self._rows[i] for i in ids if i in self._rows]
        for field in self._lookups:
            texts = exact_values(query.where, field)
            if texts is not None:
                return [row for text in texts for row in self.find(field, text)]
        return None

    def _walk(self, index: list[Key], fields: tuple[str, ...], query: Query) -> tuple[Iterator[Row], bool]:
        keys = key_range(query.where, fields)
        low, high = bisect_left(index, keys.low), bisect_left(index, keys.high)
        descending = bool(query.sorts) and query.sorts[0].descending
        steps = range(high - 1, low - 1, -1) if descending else range(low, high)
        rows = self._rows
        return (rows[index[at][-1]] for at in steps), keys.exact


def _sorted(rows: Iterable[Row], sorts: tuple[Sort, ...]) -> list[Row]:
    """Sort by any fields, which decodes every row. Ties go by ID; a missing value comes first."""
    ordered = sorted(rows, key=lambda row: row.id)
    for sort in reversed(sorts):
        ordered.sort(key=lambda row, field=sort.field: _rank(row, field), reverse=sort.descending)  # type: ignore[misc]
    return ordered


def _rank(row: Row, field: str) -> tuple[int, Any]:
    value = row.document.get(field)
    match value:
        case bool() | None:
            return (0, bool(value))
        case int() | float():
            return (1, value)
        case str():
            return (2, value)
    return (3, codec.encode(value))
