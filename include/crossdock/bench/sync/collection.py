"""All records of one entity behind two indexes, so that a page is a join of bytes and costs the source next to nothing."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from crossdock.bench.sync.records import Record
from crossdock.core.instants import utc_text

_ID = re.compile(r'^(?:id > "(?P<low>[^"]+)")?(?: and )?(?:id <= "(?P<high>[^"]+)")?$')
_TIME = re.compile(
    r"^(?:"
    r'\(lastModifiedAt > "(?P<at>[^"]+)" or \(lastModifiedAt = "[^"]+" and id > "(?P<id>[^"]+)"\)\)'
    r'|lastModifiedAt (?P<compared>>=?) "(?P<low>[^"]+)")?'
    r'(?: and )?(?:lastModifiedAt < "(?P<high>[^"]+)")?$'
)
#: After every character of an id or an instant.
_END = "\x7f"
#: How many records change in one millisecond: some share an instant, as after an import.
_CHANGES_A_MS = 50


class Sums(NamedTuple):
    """What a target must add up to."""

    rows: int
    versions: int
    quantity: int


class Collection:
    """Answers the predicates of our connector (keyset) and those of a loader that reads by offset."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._pristine = list(records)
        #: Record numbers in order of id; ids never change.
        self._by_id = sorted(range(len(self._pristine)), key=lambda number: self._pristine[number].id)
        self._ids = [self._pristine[number].id for number in self._by_id]
        self.reset()

    def reset(self) -> None:
        """As it was made."""
        self._records = list(self._pristine)
        self._sort_by_time()

    def sums(self) -> Sums:
        return Sums(
            len(self._records),
            sum(record.version for record in self._records),
            sum(record.quantity for record in self._records),
        )

    def mutate(self, fraction: float) -> int:
        """How many records, spread evenly, changed just now; each is one version higher."""
        count = max(1, int(len(self._records) * fraction))
        now = datetime.now(UTC)
        for turn, number in enumerate(range(0, len(self._records), len(self._records) // count)[:count]):
            at = now - timedelta(milliseconds=(count - turn) // _CHANGES_A_MS)
            self._records[number] = _changed(self._records[number], utc_text(at))
        self._sort_by_time()
        return count

    def page(self, where: str, *, by_time: bool, offset: int, limit: int, with_total: bool) -> bytes:
        """
        A page of results.

        Raises:
            ValueError: *where* is none of the predicates that it knows.

        """
        order, low, high = self._time_span(where) if by_time else self._id_span(where)
        chosen = order[low + offset : min(low + offset + limit, high)]
        total = b',"total":%d' % (high - low) if with_total else b""
        results = b",".join([self._records[number].raw for number in chosen])
        head = b'{"limit":%d,"offset":%d,"count":%d' % (limit, offset, len(chosen))
        return b'%b%b,"results":[%b]}' % (head, total, results)

    def _sort_by_time(self) -> None:
        keyed = sorted((record.modified_at + record.id, number) for number, record in enumerate(self._records))
        self._by_time = [number for _, number in keyed]
        self._times = [key for key, _ in keyed]

    def _id_span(self, where: str) -> tuple[list[int], int, int]:
        found = _matched(_ID, where)
        low = bisect_right(self._ids, found["low"]) if found["low"] else 0
        high = bisect_right(self._ids, found["high"]) if found["high"] else len(self._ids)
        return self._by_id, low, max(low, high)

    def _time_span(self, where: str) -> tuple[list[int], int, int]:
        found = _matched(_TIME, where)
        low = 0
        if found["at"]:
            low = bisect_right(self._times, found["at"] + found["id"])
        elif found["low"]:
            after = found["low"] + (_END if found["compared"] == ">" else "")
            low = bisect_left(self._times, after)
        high = bisect_left(self._times, found["high"]) if found["high"] else len(self._times)
        return self._by_time, low, max(low, high)


def _matched(pattern: re.Pattern[str], where: str) -> dict[str, str]:
    found = pattern.match(where)
    if found is None:
        raise ValueError(f"no predicate that this source knows: {where}")
    return found.groupdict()


def _changed(record: Record, at: str) -> Record:
    document: dict[str, Any] = msgspec.json.decode(record.raw)
    document["version"] += 1
    document["lastModifiedAt"] = at
    quantity = record.quantity
    if "quantityOnStock" in document:
        quantity += 1
        document["quantityOnStock"] = quantity
    elif "masterVariant" in document:
        document["masterVariant"]["prices"][0]["value"]["centAmount"] += 1
    else:
        document["paymentState"] = "Pending" if document.get("paymentState") == "Paid" else "Paid"
    return Record(record.id, record.version + 1, at, quantity, msgspec.json.encode(document))
