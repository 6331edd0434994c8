"""All records of one entity in memory behind two indexes: a page is a join of bytes and costs the source little."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from crossdock.bench.sync.records import Record
from crossdock.core.instants import utc_text

_BY_ID = re.compile(r'^(?:id > "(?P<low>[^"]+)")?(?: and )?(?:id <= "(?P<high>[^"]+)")?$')
_BY_TIME = re.compile(
    r"^(?:"
    r'\(lastModifiedAt > "(?P<at>[^"]+)" or \(lastModifiedAt = "[^"]+" and id > "(?P<id>[^"]+)"\)\)'
    r'|lastModifiedAt (?P<compared>>=?) "(?P<low>[^"]+)")?'
    r'(?: and )?(?:lastModifiedAt < "(?P<high>[^"]+)")?$'
)
#: Sorts after every character of an id or an instant.
_LAST = "\x7f"
#: How many records change in one millisecond: some share an instant, as after an import.
_CHANGES_A_MS = 50


class Sums(NamedTuple):
    """The sums that a target must have after a load."""

    rows: int
    versions: int
    quantity: int


class Collection:
    """Answer the predicates of our connector (keyset) and those of a loader that reads by offset."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._pristine = list(records)
        #: Positions in order of id; ids never change.
        self._by_id = sorted(range(len(self._pristine)), key=lambda at: self._pristine[at].id)
        self._ids = [self._pristine[at].id for at in self._by_id]
        self.reset()

    def reset(self) -> None:
        """Undo all changes."""
        self._records = list(self._pristine)
        self._sort_by_time()

    def sums(self) -> Sums:
        records = self._records
        return Sums(len(records), sum(record.version for record in records), sum(record.quantity for record in records))

    def mutate(self, fraction: float) -> int:
        """Change this share of the records, spread evenly, just now; each gets the next version. Return how many."""
        count = max(1, int(len(self._records) * fraction))
        now = datetime.now(UTC)
        for turn, at in enumerate(range(0, len(self._records), len(self._records) // count)[:count]):
            changed_at = now - timedelta(milliseconds=(count - turn) // _CHANGES_A_MS)
            self._records[at] = _changed(self._records[at], utc_text(changed_at))
        self._sort_by_time()
        return count

    def page(self, where: str, *, by_time: bool, offset: int, limit: int, with_total: bool) -> bytes:
        """
        Encode one page of results.

        Raises:
            ValueError: *where* is not one of the supported predicates.

        """
        order, low, high = self._time_span(where) if by_time else self._id_span(where)
        chosen = order[low + offset : min(low + offset + limit, high)]
        total = b',"total":%d' % (high - low) if with_total else b""
        results = b",".join([self._records[at].raw for at in chosen])
        return b'{"limit":%d,"offset":%d,"count":%d%b,"results":[%b]}' % (limit, offset, len(chosen), total, results)

    def _sort_by_time(self) -> None:
        keyed = sorted((record.modified_at + record.id, at) for at, record in enumerate(self._records))
        self._by_time = [at for _, at in keyed]
        self._times = [key for key, _ in keyed]

    def _id_span(self, where: str) -> tuple[list[int], int, int]:
        found = _match(_BY_ID, where)
        low = bisect_right(self._ids, found["low"]) if found["low"] else 0
        high = bisect_right(self._ids, found["high"]) if found["high"] else len(self._ids)
        return self._by_id, low, max(low, high)

    def _time_span(self, where: str) -> tuple[list[int], int, int]:
        found = _match(_BY_TIME, where)
        low = 0
        if found["at"]:
            low = bisect_right(self._times, found["at"] + found["id"])
        elif found["low"]:
            low = bisect_left(self._times, found["low"] + (_LAST if found["compared"] == ">" else ""))
        high = bisect_left(self._times, found["high"]) if found["high"] else len(self._times)
        return self._by_time, low, max(low, high)


def _match(pattern: re.Pattern[str], where: str) -> dict[str, str]:
    found = pattern.match(where)
    if found is None:
        raise ValueError(f"This source does not support the predicate {where}")
    return found.groupdict()


def _changed(record: Record, at: str) -> Record:
    document: dict[str, Any] = msgspec.json.decode(record.raw)
    document["version"] += 1
    document["lastModifiedAt"] = at
    quantity = record.quantity
    if "quantityOnStock" in document:
        quantity += 1
        document["quantityOnStock"] = quantity
    elif "masterData" in document:
        for data in (document["masterData"]["current"], document["masterData"]["staged"]):
            data["masterVariant"]["prices"][0]["value"]["centAmount"] += 1
    else:
        document["paymentState"] = "Pending" if document.get("paymentState") == "Paid" else "Paid"
    return Record(record.id, record.version + 1, at, quantity, msgspec.json.encode(document))
