"""
Find the records of a batch that the database refuses, so that only those wait for a person and the others are loaded.

The rules and `unstorable_rows` find what we know that no table holds. This is the net under them: a batch that the database
refuses for a value is written once more, by halves, in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
import psycopg

from crossdock.core.printable import printable
from crossdock.db.database import Work, is_of_a_value, message_of
from crossdock.sync import batches, upsert
from crossdock.sync.decode import rejection
from crossdock.sync.ledger import Run
from crossdock.sync.quarantine.model import Failure, Rejected
from crossdock.sync.stream import Stream

if TYPE_CHECKING:
    import pyarrow as pa

#: So many records of one batch that cannot be stored are a defect of ours, or a missing migration.
_MOST = 100
#: (ID, version) of a record → why it was refused.
Refused = dict[tuple[str, int], Failure]


def refused_rows(work: Work, stream: Stream, run: Run, rows: pa.Table) -> Refused:
    """
    Find those of *rows* that the database refuses to write. The caller must roll back what this writes.

    A row is refused beside those that it took before: of two that only collide, the second.

    Raises:
        psycopg.Error: it is no error of a value, or too many rows are refused.

    """
    found: Refused = {}
    waiting = [rows]
    while waiting:
        some = waiting.pop()
        try:
            with work.transaction():  # a savepoint
                _write(work, stream, run, some)
        except psycopg.Error as error:
            if not is_of_a_value(error) or len(found) == _MOST:
                raise
            if some.num_rows > 1:
                half = some.num_rows // 2
                waiting += [some.slice(half), some.slice(0, half)]
                continue
            found[some.column("id")[0].as_py(), some.column("version")[0].as_py()] = _failure(error)
    return found


def _write(work: Work, stream: Stream, run: Run, rows: pa.Table) -> None:
    batches.write_rows(work, stream.dataset, run, 0, rows, parts=stream.parts, compares_content=stream.compares_content)
    upsert.clear_stage(work, stream.dataset)
    if stream.parts:
        upsert.clear_stage(work, stream.parts.dataset)


def _failure(error: psycopg.Error) -> Failure:
    message = "The database cannot store this record. Correct it at the source; if it is right, report it"
    return Failure("record_cannot_be_stored", "record", message, printable(message_of(error)))


def rejections(stream: Stream, raws: Iterable[bytes], refused: Refused) -> list[Rejected]:
    """Make the *refused* records among *raws* rejected ones. Their columns are left out: the database does not take them."""
    found: dict[tuple[str, int], Rejected] = {}
    for raw in raws:
        record = rejection(raw, (), stream.key_field, stream.lines_fields)
        failure = refused.get((record.record_id, record.version))
        if failure:
            # Of a record that came twice, the last is the one that was accepted.
            found[record.record_id, record.version] = msgspec.structs.replace(record, failures=(failure,))
    return list(found.values())


def without(rows: pa.Table, refused: Mapping[tuple[str, int], Failure]) -> pa.Table:
    """Leave the *refused* records out of *rows*, which have each ID once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array([record_id for record_id, _ in refused], pa.string())
    return rows.filter(pc.invert(pc.is_in(rows.column("id"), ids)))
