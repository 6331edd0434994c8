"""Rejected records: stored whole, with the reason, until a person or a newer version closes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.db.leases import stream_id
from crossdock.sync.dataset import Schema
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts, Mode, RowCounts
from crossdock.sync.quarantine.model import Failure, Rejected

if TYPE_CHECKING:
    import pyarrow as pa

prepare(tuple[Failure, ...])


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one record in quarantine."""

    item_id: int
    integration: str
    dataset: str
    record_id: str
    record_key: str | None
    version: int
    state: str
    cause: str
    failures: tuple[Failure, ...]
    raw: bytes
    edited: bytes | None
    times_seen: int
    first_run_id: str
    last_run_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    closed_by: str | None

    @property
    def stream(self) -> str:
        """`<integration>.<dataset>`."""
        return stream_id(self.integration, self.dataset)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A version in quarantine that came after the one that the hub has."""

    item_id: int
    record_id: str
    version: int
    cause: str


class CauseCount(msgspec.Struct, frozen=True, kw_only=True):
    """The open items of one stream that failed the same rule."""

    stream: str
    cause: str
    #: The columns of the rule, separated by commas.
    column: str | None
    message: str
    items: int
    oldest_at: datetime
    #: The values that failed most often, each with its number of items; each element of a list counts.
    values: tuple[tuple[str, int], ...]


_COLUMNS = b"""item_id, integration, dataset, record_id, record_key, version, state, cause, failures, raw, edited,
       times_seen, first_run_id, last_run_id, first_seen_at, last_seen_at, closed_by"""

#: Idempotent: an item that is seen again counts up and keeps its state. What a person closed stays closed for that version.
_KEEP = b"""
INSERT INTO quarantine_item AS item
    (integration, dataset, record_id, record_key, version, cause, failures, raw, mapped, lines, first_run_id, last_run_id)
VALUES (%(integration)s, %(dataset)s, %(record_id)s, %(record_key)s, %(version)s, %(cause)s, %(failures)s, %(raw)s,
        %(mapped)s, %(lines)s, %(run_id)s, %(run_id)s)
ON CONFLICT (integration, dataset, record_id, version) DO UPDATE
   SET times_seen = item.times_seen + 1, last_seen_at = clock_timestamp(), last_run_id = excluded.last_run_id,
       failures = excluded.failures, cause = excluded.cause, mapped = excluded.mapped
RETURNING state, item_id
"""

#: Once, although a run that reads a record twice rejects it twice.
_REJECT = b"""
INSERT INTO rejection (run_id, item_id) SELECT %(run_id)s, unnest(%(item_ids)s::bigint[]) ON CONFLICT DO NOTHING
"""

#: Of a stream that compares content: what came now is not what the item was closed for, or it is back after it was replaced.
_REOPEN = b"""
UPDATE quarantine_item
   SET state = 'open', raw = %(raw)s, lines = %(lines)s, edited = NULL, closed_at = NULL, closed_by = NULL
 WHERE integration = %(integration)s AND dataset = %(dataset)s AND record_id = %(record_id)s AND version = %(version)s
   AND (raw <> %(raw)s OR state = 'superseded')
"""

_GET = b"SELECT " + _COLUMNS + b" FROM quarantine_item WHERE item_id = %(item_id)s"

_MAPPED = b"SELECT mapped FROM quarantine_item WHERE item_id = %(item_id)s"

#: In the order of their ids: two replays that lock the same items in two orders deadlock.
_READ = b"SELECT " + _COLUMNS + b" FROM quarantine_item WHERE item_id = ANY(%(item_ids)s) ORDER BY item_id"
_LOCK = _READ + b" FOR UPDATE"

_LIST = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM quarantine_item
 WHERE (%(stream)s::text IS NULL OR integration || '.' || dataset = %(stream)s)
   AND (%(cause)s::text IS NULL OR cause = %(cause)s)
   AND (%(state)s::text IS NULL OR state = %(state)s) AND item_id > %(after)s
   AND (%(run_id)s::text IS NULL OR item_id = ANY(ARRAY(SELECT item_id FROM rejection WHERE run_id = %(run_id)s)))
 ORDER BY item_id LIMIT %(limit)s"""
)

#: What a list shows: a record may have megabytes, and fifty of them would be read to show fifty keys.
_WITHOUT_RECORDS = _COLUMNS.replace(
    b"raw, edited", b"'{}'::bytea AS raw, CASE WHEN edited IS NOT NULL THEN '{}'::bytea END AS edited"
)
_LIST_BRIEFLY = _LIST.replace(_COLUMNS, _WITHOUT_RECORDS)
#: The same of one cause, in the order of its index: of a rare one, all others would be looked at.
_OF_CAUSE = (
    b"SELECT "
    + _WITHOUT_RECORDS
    + b""" FROM quarantine_item
 WHERE state = 'open' AND integration = %(integration)s AND dataset = %(dataset)s AND cause = %(cause)s AND item_id > %(after)s
 ORDER BY item_id LIMIT %(limit)s"""
)

_COUNT_OPEN = b"""
SELECT count(*) FROM quarantine_item
 WHERE state = 'open' AND (%(integration)s::text IS NULL OR (integration = %(integration)s AND dataset = %(dataset)s
                                                             AND cause = %(cause)s))
"""

_CHOOSE = b"""
SELECT item_id FROM quarantine_item
 WHERE state = 'open' AND (%(stream)s::text IS NULL OR integration || '.' || dataset = %(stream)s)
   AND (%(cause)s::text IS NULL OR cause = %(cause)s) AND (%(up_to)s::bigint IS NULL OR item_id <= %(up_to)s)
 ORDER BY item_id
"""

#: Counted by the index alone; the words of a rule are those of its oldest record.
_CAUSES = b"""
SELECT integration || '.' || dataset, cause, sample.failure->>'column', sample.failure->>'message', items, oldest
  FROM (SELECT integration, dataset, cause, count(*) AS items, min(first_seen_at) AS oldest
          FROM quarantine_item
         WHERE state = 'open' AND (%(stream)s::text IS NULL OR integration || '.' || dataset = %(stream)s)
         GROUP BY integration, dataset, cause) AS of_cause
 CROSS JOIN LATERAL (SELECT failures->0 AS failure FROM quarantine_item AS item
                      WHERE state = 'open' AND item.integration = of_cause.integration AND item.dataset = of_cause.dataset
                        AND item.cause = of_cause.cause
                      ORDER BY item_id LIMIT 1) AS sample
 ORDER BY items DESC, cause
"""

_TOP_VALUES = b"""
SELECT stream, cause, value, items FROM (
    SELECT integration || '.' || dataset AS stream, cause, value, count(*) AS items,
           row_number() OVER (PARTITION BY integration, dataset, cause ORDER BY count(*) DESC, value) AS place
      FROM quarantine_item, regexp_split_to_table(failures->0->>'value', ', ') AS value
     WHERE state = 'open' AND (%(stream)s::text IS NULL OR integration || '.' || dataset = %(stream)s)
     GROUP BY integration, dataset, cause, value) AS counted
 WHERE place <= %(values)s ORDER BY stream, cause, place
"""

_SAVE_EDIT = b"""
UPDATE quarantine_item SET edited = %(edited)s WHERE item_id = %(item_id)s AND state = 'open'
"""

_ANY_OPEN = b"""
SELECT 1 FROM quarantine_item
 WHERE state = 'open' AND integration = %(integration)s AND dataset = %(dataset)s
   AND record_id COLLATE "C" BETWEEN %(first)s AND %(last)s LIMIT 1
"""

_LATER = b"""
SELECT item.item_id, item.record_id, item.version, item.cause
  FROM unnest(%(ids)s::text[], %(versions)s::bigint[]) AS known(id, version)
  JOIN quarantine_item item ON item.record_id = known.id AND item.version >= known.version
 WHERE item.state = 'open' AND item.integration || '.' || item.dataset = %(stream)s ORDER BY item.item_id
"""

_CLOSE_SUPERSEDED = b"""
UPDATE quarantine_item item SET state = 'superseded', closed_at = clock_timestamp(), closed_by = %(run_id)s
  FROM unnest(%(ids)s::text[], %(versions)s::bigint[]) AS loaded(id, version)
 WHERE item.state = 'open' AND item.integration = %(integration)s AND item.dataset = %(dataset)s
   AND item.record_id = loaded.id AND item.version <= loaded.version
"""

_CLOSE = b"""
UPDATE quarantine_item SET state = %(state)s, closed_at = clock_timestamp(), closed_by = %(closed_by)s
 WHERE item_id = ANY(%(item_ids)s) AND state = 'open'
"""


def add(work: Work, run: Run, rejected: Sequence[Rejected], *, compares_content: bool = False) -> RowCounts:
    """
    Store *rejected* in quarantine, and count them.

    A version that a person has edited and replayed is in the hub: if it is seen again, it counts as unchanged. With
    *compares_content*, only with the same content.
    """
    if not rejected:
        return RowCounts()
    # In one order: two batches that store the same items in two orders deadlock.
    ordered = sorted(rejected, key=lambda record: (record.record_id, record.version))
    cursor = work.cursor()
    # A record that fails its replay again has the person's edit for its content.
    if compares_content and run.mode is not Mode.REPLAY:
        cursor.executemany(_REOPEN, [_values(run, record) for record in ordered])
    cursor.executemany(_KEEP, [_values(run, record) for record in ordered], returning=True)
    kept = [result.fetchone() or ("", 0) for result in cursor.results()]
    known = [record for record, (state, _) in zip(ordered, kept, strict=True) if state == "replayed"]
    item_ids = [item_id for state, item_id in kept if state != "replayed"]
    work.execute(_REJECT, {"run_id": run.run_id, "item_ids": item_ids})
    lines, known_lines = sum(record.lines for record in rejected), sum(record.lines for record in known)
    return RowCounts(
        records=Counts(rejected=len(rejected) - len(known), unchanged=len(known)),
        lines=Counts(rejected=lines - known_lines, unchanged=known_lines),
    )


def _values(run: Run, record: Rejected) -> dict[str, Any]:
    return {
        "integration": run.integration,
        "dataset": run.dataset,
        "record_id": record.record_id,
        "record_key": record.record_key,
        "version": record.version,
        "cause": record.cause,
        "failures": Jsonb(msgspec.to_builtins(record.failures)),
        "raw": record.raw,
        "mapped": record.mapped,
        "lines": record.lines,
        "run_id": run.run_id,
    }


def close_superseded(work: Work, run: Run, loaded: pa.Table) -> None:
    """Close open items whose record was loaded in the same or a newer version."""
    if not loaded.num_rows:
        return
    import pyarrow.compute as pc

    ends = pc.min_max(loaded.column("id")).as_py()
    values = {"integration": run.integration, "dataset": run.dataset, "first": ends["min"], "last": ends["max"]}
    # This query comes first: the ids of a batch are half a megabyte, and usually none of them is in quarantine.
    if not work.execute(_ANY_OPEN, values).fetchone():
        return
    work.execute(
        _CLOSE_SUPERSEDED,
        {
            **values,
            "run_id": run.run_id,
            "ids": loaded.column("id").to_pylist(),
            "versions": loaded.column("version").to_pylist(),
        },
    )


def get(work: Work, item_id: int) -> Item:
    """
    Read the item *item_id*.

    Raises:
        NotFound: there is no such item.

    """
    item = _items(work).execute(_GET, {"item_id": item_id}).fetchone()
    if item is None:
        raise NotFound(f"There is no quarantine item {item_id}", hint=Hint(HintId.LIST_QUARANTINE))
    return item


def mapped_of(work: Work, item_id: int) -> dict[str, Any] | None:
    """Read the columns of the item as its record was mapped; None if it could not be mapped."""
    row = work.execute(_MAPPED, {"item_id": item_id}).fetchone()
    return row[0] if row else None


def read(work: Work, item_ids: Sequence[int]) -> list[Item]:
    """Read the items as they are now, in the order of their arrival."""
    return _items(work).execute(_READ, {"item_ids": list(item_ids)}).fetchall()


def lock(work: Work, item_ids: Sequence[int]) -> list[Item]:
    """Lock the items and read them as they are now; nobody else changes them before this transaction ends."""
    return _items(work).execute(_LOCK, {"item_ids": list(item_ids)}).fetchall()


def find(
    work: Work,
    *,
    stream: str | None = None,
    cause: str | None = None,
    state: str | None = "open",
    run_id: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Item]:
    """
    List items by id, which is the order of their arrival: at most *limit* after *after* (keyset pagination).

    With a *run_id*, only what that run rejected.
    """
    values = {"stream": stream, "cause": cause, "state": state, "run_id": run_id, "after": after, "limit": limit}
    return _items(work).execute(_LIST, values).fetchall()


def find_briefly(
    work: Work,
    *,
    stream: str | None = None,
    cause: str | None = None,
    run_id: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Item]:
    """List open items as `find` does, each with `{}` for its record: for lists that show keys and causes."""
    values = {"stream": stream, "cause": cause, "state": "open", "run_id": run_id, "after": after, "limit": limit}
    if stream and cause and run_id is None:
        integration, _, dataset = stream.partition(".")
        values |= {"integration": integration, "dataset": dataset}
        return _items(work).execute(_OF_CAUSE, values).fetchall()
    return _items(work).execute(_LIST_BRIEFLY, values).fetchall()


def count_open(work: Work, item: Item | None = None) -> int:
    """Count the open items; with *item*, those of its stream and cause."""
    values = {name: getattr(item, name) if item else None for name in ("integration", "dataset", "cause")}
    row = work.execute(_COUNT_OPEN, values).fetchone()
    return int(row[0]) if row else 0


def choose(work: Work, *, stream: str | None, cause: str | None, up_to: int | None = None) -> list[int]:
    """List the IDs of open items, in the order of their arrival; with *up_to*, none after that one."""
    values = {"stream": stream, "cause": cause, "up_to": up_to}
    return [item_id for (item_id,) in work.execute(_CHOOSE, values)]


def later_than(work: Work, stream: str, versions: Mapping[str, int]) -> list[Waiting]:
    """List the open items of *stream* that came after *versions*: record ID → the version that the hub has."""
    values = {"stream": stream, "ids": list(versions), "versions": list(versions.values())}
    with work.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(_LATER, values).fetchall()


def raws_of_absent(work: Work, dataset: Schema, integration: str) -> list[bytes]:
    """Read the newest open version of each record of *integration* that the hub has in no version."""
    statement = f"""
        SELECT DISTINCT ON (record_id) raw FROM quarantine_item item
         WHERE state = 'open' AND integration = %(integration)s AND dataset = %(dataset)s
           AND NOT EXISTS (SELECT FROM {dataset.table} t WHERE t.id = item.record_id AND t.integration = item.integration)
         ORDER BY record_id, version DESC"""
    values = {"integration": integration, "dataset": dataset.name}
    return [bytes(raw) for (raw,) in work.execute(statement.encode(), values)]


def causes(work: Work, *, stream: str | None = None, values: int = 8) -> list[CauseCount]:
    """
    Group open items by the rule that failed, most frequent first, each with the *values* that failed most often.

    With 0 *values*, the values are not read.
    """
    top: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for of_stream, cause, value, items in (
        work.execute(_TOP_VALUES, {"stream": stream, "values": values}) if values else ()
    ):
        top.setdefault((of_stream, cause), []).append((value, items))
    return [
        CauseCount(
            stream=of_stream,
            cause=cause,
            column=column,
            message=message,
            items=items,
            oldest_at=oldest,
            values=tuple(top.get((of_stream, cause), ())),
        )
        for of_stream, cause, column, message, items, oldest in work.execute(_CAUSES, {"stream": stream})
    ]


def save_edit(work: Work, item_id: int, edited: bytes | None) -> None:
    """
    Store *edited* as the record to replay; the original stays beside it. None: the original is replayed.

    Raises:
        NotFound: no such item.
        Conflict: the item is closed.

    """
    if work.execute(_SAVE_EDIT, {"item_id": item_id, "edited": edited}).rowcount == 0:
        item = get(work, item_id)
        raise Conflict(f"Quarantine item {item_id} is {item.state}; only open items can be edited")


def close(work: Work, item_ids: Sequence[int], state: str, closed_by: str) -> int:
    """Close those of *item_ids* that are open, as *state*, and return how many they were."""
    return work.execute(_CLOSE, {"item_ids": list(item_ids), "state": state, "closed_by": closed_by}).rowcount


def _items(work: Work) -> psycopg.Cursor[Item]:
    """Open a cursor whose rows are items: each column is the field of its name."""
    return work.cursor(row_factory=kwargs_row(_item))


def _item(failures: Any, **fields: Any) -> Item:
    return Item(failures=msgspec.convert(failures, tuple[Failure, ...]), **fields)
