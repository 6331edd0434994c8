"""
All resources of one kind: kept as the bytes that are sent, with sorted indexes to find a page by.

A hundred thousand rows as dicts cost more memory than as bytes, and a page is then a join. A row is decoded
only to test a predicate on it, and bounds (`bounds.py`) see to it that few are.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from crossdock.sandbox.commercetools.key_ranges import Key, pins, span
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
    found_by: tuple[str | None, ...]
    raw: bytes

    @property
    def document(self) -> Json:
        """A fresh copy, the caller's to change."""
        document: Json = codec.decode(self.raw)
        return document


def row_of(document: Json, lookups: tuple[str, ...]) -> Row:
    """The row that keeps *document* on a shelf with these lookups."""
    texts = (document.get(field) for field in lookups)
    found_by = tuple(text if isinstance(text, str) else None for text in texts)
    raw = codec.encode(document)
    return Row(document["id"], document["version"], document["lastModifiedAt"], found_by, raw)


@dataclass(frozen=True)
class Page:
    rows: list[Row]
    #: All matching rows, or None where nobody asked.
    total: int | None


class Shelf:
    """One kind of resource. Safe for threads; a page is one moment's view."""

    def __init__(self, lookups: tuple[str, ...] = ()) -> None:
        self.lock = threading.RLock()
        #: How many rows have been tested against a predicate, for tests of the indexes.
        self.evaluations = 0
        #: Told of each change after the shop was made: the id and the document, None where it was removed.
        self.on_change: Callable[[str, Json | None], None] = lambda _id, _document: None
        self._lookups = lookups
        self._rows: dict[str, Row] = {}
        self._by_id: list[Key] = []
        self._by_instant: list[Key] = []
        self._found: dict[str, dict[str, list[str]]] = {field: {} for field in lookups}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, resource_id: str) -> bool:
        return resource_id in self._rows

    def fill(self, documents: Iterable[Json]) -> None:
        """Adds many at once; sorts once."""
        self.fill_rows(row_of(document, self._lookups) for document in documents)

    def fill_rows(self, rows: Iterable[Row]) -> None:
        """The same, with rows that are made already, by `row_of` for these lookups."""
        with self.lock:
            for row in rows:
                self._remember(row)
            self._by_id = sorted((row.id,) for row in self._rows.values())
            self._by_instant = sorted((row.modified_at, row.id) for row in self._rows.values())

    def put(self, document: Json) -> Row:
        """Adds the resource, or replaces the one with its id."""
        with self.lock:
            row = row_of(document, self._lookups)
            self._forget(row.id)
            self._remember(row)
            insort(self._by_id, (row.id,))
            insort(self._by_instant, (row.modified_at, row.id))
            self.on_change(row.id, document)
            return row

    def remove(self, resource_id: str) -> None:
        """Takes the resource out, if it is there."""
        with self.lock:
            if self._forget(resource_id):
                self.on_change(resource_id, None)

    def _forget(self, resource_id: str) -> bool:
        row = self._rows.pop(resource_id, None)
        if row is None:
            return False
        del self._by_id[bisect_left(self._by_id, (row.id,))]
        del self._by_instant[bisect_left(self._by_instant, (row.modified_at, row.id))]
        for field, text in zip(self._lookups, row.found_by, strict=True):
            if text is not None:
                self._found[field][text].remove(row.id)
        return True

    def get(self, resource_id: str) -> Row | None:
        return self._rows.get(resource_id)

    def find(self, field: str, text: str) -> list[Row]:
        """The rows whose lookup *field* is *text*."""
        with self.lock:
            return [self._rows[i] for i in self._found[field].get(text, ())]

    def ids(self) -> list[str]:
        """All ids, sorted."""
        with self.lock:
            return [key[0] for key in self._by_id]

    def rows(self) -> list[Row]:
        """All rows, sorted by id."""
        with self.lock:
            return [self._rows[key[0]] for key in self._by_id]

    def page(self, query: Query, view: Callable[[Json], Json] | None = None) -> Page:
        """
        The rows that *query* asks for.

        Args:
            query: What to find; see `queries.query_of`.
            view: How a document looks to the predicate, where that is not how it is kept.

        """
        with self.lock:
            matching = self._matching(query, view)
            if not query.with_total:
                return Page(list(islice(matching, query.offset, query.offset + query.limit)), None)
            every = list(matching)
            return Page(every[query.offset : query.offset + query.limit], len(every))

    def _remember(self, row: Row) -> None:
        self._rows[row.id] = row
        for field, text in zip(self._lookups, row.found_by, strict=True):
            if text is not None:
                self._found[field].setdefault(text, []).append(row.id)

    def _matching(self, query: Query, view: Callable[[Json], Json] | None) -> Iterator[Row]:
        rows, tested = self._candidates(query)
        if query.last_id is not None:
            rows = (row for row in rows if row.id <= str(query.last_id))
        if query.test is None or tested:
            return iter(rows)
        return self._tested(rows, query.test, view)

    def _tested(self, rows: Iterable[Row], test: Test, view: Callable[[Json], Json] | None) -> Iterator[Row]:
        for row in rows:
            self.evaluations += 1
            if test(row.document if view is None else view(row.document)):
                yield row

    def _candidates(self, query: Query) -> tuple[Iterable[Row], bool]:
        """The rows that may match, in the order that is asked for, and whether all of them do."""
        pinned = self._pinned(query)
        if pinned is not None:
            return _sorted(pinned, query.sorts), False
        match query.sorts:
            case () | (Sort("id"),):
                return self._walk(self._by_id, ("id",), query)
            case (Sort("lastModifiedAt"),):
                return self._walk(self._by_instant, ("lastModifiedAt", "id"), query)
            case (Sort("lastModifiedAt", one), Sort("id", other)) if one == other:
                return self._walk(self._by_instant, ("lastModifiedAt", "id"), query)
        return _sorted(self._rows.values(), query.sorts), False

    def _pinned(self, query: Query) -> list[Row] | None:
        """The few rows that a predicate like `sku in ("A", "B")` leaves, from a lookup."""
        ids = pins(query.where, "id")
        if ids is not None:
            return [self._rows[i] for i in ids if i in self._rows]
        for field in self._lookups:
            texts = pins(query.where, field)
            if texts is not None:
                return [row for text in texts for row in self.find(field, text)]
        return None

    def _walk(self, index: list[Key], fields: tuple[str, ...], query: Query) -> tuple[Iterator[Row], bool]:
        bounds = span(query.where, fields)
        low, high = bisect_left(index, bounds.low), bisect_left(index, bounds.high)
        descending = bool(query.sorts) and query.sorts[0].descending
        steps = range(high - 1, low - 1, -1) if descending else range(low, high)
        rows = self._rows
        return (rows[index[at][-1]] for at in steps), bounds.exact


def _sorted(rows: Iterable[Row], sorts: tuple[Sort, ...]) -> list[Row]:
    """Any order, at the price of decoding every row. Ties go by id; a missing value comes first."""
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
