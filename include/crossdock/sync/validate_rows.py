"""Validate the records of a sync: raw pages in, accepted columns and rejected records out. No database, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from crossdock.core.errors import HubError
from crossdock.core.log import logger
from crossdock.core.printable import printable
from crossdock.db.columns import BeyondColumn, as_columns
from crossdock.sync.batches import Content
from crossdock.sync.card_data import masked_records, warnings_of
from crossdock.sync.decode import DecodedPage, decoded, raw_records, rejection
from crossdock.sync.expectations import check
from crossdock.sync.model import RowCounts
from crossdock.sync.quarantine.model import EXAMPLES, Expectation, Failure, Rejected, Warned
from crossdock.sync.stream import Stream
from crossdock.sync.unstorable_rows import unstorable_rows

if TYPE_CHECKING:
    import pyarrow as pa

log = logger(__name__)

#: How much of an error is shown to people.
_SHOWN = 200

#: Reads the pages of a batch; called again if one of their records was rejected, so that they need not stay in memory.
Pages = Callable[[], Iterable[bytes]]

#: Row number, from 0 → the rules that the row failed.
Failures = Mapping[int, tuple[Failure, ...]]


def validate_rows(stream: Stream, bodies: Sequence[bytes]) -> Content:
    """Validate the records of one batch, as `validate_batches` does."""
    (only,) = validate_batches(stream, [lambda: bodies])
    return only


def validate_batches(stream: Stream, batches: Sequence[Pages]) -> list[Content]:
    """
    Validate the records of each of *batches*: readable, as expected, and not repeated.

    The expectations are evaluated over all batches at once: their cost is mostly per evaluation, not per row.

    Raises:
        PageUnreadable: a body is not a page of results.
        SuiteBroken: an expectation is declared incorrectly.

    """
    pieces: list[pa.RecordBatch] = []
    read = [_read(stream, pages(), pieces) for pages in batches]
    table = _one_table(stream, pieces)
    pieces.clear()  # the table holds a copy
    found = _checked(stream, table)
    found = replace(found, rejecting=_both(found.rejecting, unstorable_rows(stream.dataset, table)))
    ends = list(accumulate((batch.rows for batch in read), initial=0))
    return [
        _content(
            stream,
            pages,
            batch,
            table.slice(first, batch.rows),
            _ByLevel(_within(found.rejecting, first, batch.rows), _within(found.warned, first, batch.rows)),
        )
        for pages, batch, first in zip(batches, read, ends, strict=False)
    ]


@dataclass(frozen=True)
class _Read:
    """The number of readable records on each page of a batch, and the unreadable ones."""

    page_rows: list[int]
    rejected: list[Rejected]
    #: Numbers of the pages with unreadable records.
    broken: set[int]
    #: Number of a page with records that could not be mapped → the positions of those that could.
    mapped: dict[int, list[int]]
    #: IDs of the records from which card data were removed.
    masked: list[str]

    @property
    def rows(self) -> int:
        return sum(self.page_rows)


def _read(stream: Stream, bodies: Iterable[bytes], pieces: list[pa.RecordBatch]) -> _Read:
    """Decode a batch's records into columns, page by page, and append them to *pieces*."""
    page_rows, rejected, broken, mapped, masked = [], [], set(), {}, list[str]()
    for page_no, body in enumerate(bodies):
        page = decoded(body, stream.record_type, stream.key_field, stream.lines_fields)
        masked += masked_records(stream, body)
        if page.rejected:
            rejected += page.rejected
            broken.add(page_no)
        rows = len(page.records)
        if page.records:
            try:
                pieces.append(_as_columns(stream, page.records))
            except HubError:
                raise
            except Exception:  # noqa: BLE001  whatever one record makes our code raise, only that record waits
                mapped[page_no] = _map_one_by_one(stream, page, pieces, rejected)
                rows = len(mapped[page_no])
        page_rows.append(rows)
    return _Read(page_rows, rejected, broken, mapped, masked)


def _as_columns(stream: Stream, records: Sequence[Any]) -> pa.RecordBatch:
    return as_columns(stream.columns, stream.to_columns(records))


def _map_one_by_one(
    stream: Stream, page: DecodedPage, pieces: list[pa.RecordBatch], rejected: list[Rejected]
) -> list[int]:
    """Map each record of *page* alone, and append what raises to *rejected*; returns the positions of the others."""
    positions = []
    for position, (record, raw) in enumerate(zip(page.records, page.raws(), strict=True)):
        try:
            pieces.append(_as_columns(stream, [record]))
        except HubError:
            raise
        except Exception as error:  # noqa: BLE001  as above
            # Not the error's text, which may quote personal data: the quarantine item has it.
            log.warning("A record of %s cannot be mapped: %s", stream.id, type(error).__name__)
            rejected.append(rejection(raw, (_not_mapped(error),), stream.key_field, stream.lines_fields))
        else:
            positions.append(position)
    return positions


def _not_mapped(error: Exception) -> Failure:
    """Name the column where it is known; any other error is one of our code."""
    if isinstance(error, BeyondColumn):
        message = "A value, or a sum, is more than its column holds. Correct it at the source"
        return Failure("record_can_be_mapped", error.column, message, str(error))
    message = "The record cannot be mapped. Correct it at the source; if it is right, report it"
    return Failure("record_can_be_mapped", "record", message, printable(f"{type(error).__name__}: {error}"[:_SHOWN]))


def _one_table(stream: Stream, pages: Sequence[pa.RecordBatch]) -> pa.Table:
    import pyarrow as pa

    empty = as_columns(stream.columns, {column.name: () for column in stream.columns})
    # In one piece: pandas, which Great Expectations uses, would combine the pieces once for each rule.
    return pa.Table.from_batches(pages or [empty]).combine_chunks()


def _within(failures: Failures, first: int, rows: int) -> Failures:
    return {row_no - first: found for row_no, found in failures.items() if first <= row_no < first + rows}


@dataclass(frozen=True)
class _ByLevel:
    """Failures that reject a record, and those of which the ledger warns."""

    rejecting: Failures
    warned: Failures


def _by_level(found: Failures, rules: Sequence[Expectation]) -> _ByLevel:
    """Split the failures into those that reject a record and those of which the ledger warns."""
    warning = {rule.name for rule in rules if rule.level == "warn"}
    if not warning or not found:
        return _ByLevel(found, {})
    rejecting = {row_no: tuple(one for one in of_row if one.rule not in warning) for row_no, of_row in found.items()}
    warned = {row_no: tuple(one for one in of_row if one.rule in warning) for row_no, of_row in found.items()}
    return _ByLevel({row_no: of_row for row_no, of_row in rejecting.items() if of_row}, warned)


def _content(stream: Stream, pages: Pages, read: _Read, table: pa.Table, found: _ByLevel) -> Content:
    """Split one batch into accepted, rejected and repeated records."""
    failures = found.rejecting
    raws = _raws(stream, pages(), read, failures) if failures else {}
    mapped = _mapped(stream, table, failures)
    refused = [
        msgspec.structs.replace(
            rejection(raws[row_no], of_row, stream.key_field, stream.lines_fields), mapped=mapped[row_no]
        )
        for row_no, of_row in sorted(failures.items())
    ]
    accepted, repeats = _newest(stream, table, failures)
    columns = list(stream.dataset.column_names)
    return Content(
        accepted=accepted.select(columns),
        rejected=(*read.rejected, *refused),
        repeats=repeats,
        warned=(*_warned(table, found), *warnings_of(read.masked)),
    )


#: What a waiting version is compared by; instants may be outside the calendar.
_COMPARED = frozenset({"int8", "bool", "text"})


def _mapped(stream: Stream, table: pa.Table, failures: Failures) -> dict[int, str]:
    """Encode the rejected rows as mapped: what waits in quarantine is compared with the version that the hub has."""
    names = [column.name for column in stream.dataset.columns if column.pg_type in _COMPARED]
    rows = table.select(names).take(sorted(failures)).to_pylist() if failures else []
    return {row_no: msgspec.json.encode(row).decode() for row_no, row in zip(sorted(failures), rows, strict=True)}


def _warned(table: pa.Table, found: _ByLevel) -> tuple[Warned, ...]:
    """Count the accepted records that fail a rule of the level `warn`, by rule."""
    ids: dict[Failure, list[str]] = {}
    for row_no, failures in sorted(found.warned.items()):
        if row_no not in found.rejecting:
            for failure in failures:
                rule = msgspec.structs.replace(failure, value="")
                ids.setdefault(rule, []).append(table.column("id")[row_no].as_py())
    return tuple(
        Warned(rule=rule.rule, message=rule.message, records=len(of_rule), examples=tuple(of_rule[:EXAMPLES]))
        for rule, of_rule in ids.items()
    )


_decode_failures = msgspec.json.Decoder(tuple[Failure, ...]).decode


def _checked(stream: Stream, table: pa.Table) -> _ByLevel:
    """Find what the mapping could not read, and what the expectations refuse or warn of."""
    rules = stream.rules()
    found = _by_level(check(table, rules), rules)
    if stream.failures_column is None:
        return found
    reported = enumerate(table.column(stream.failures_column).to_pylist())
    unread = {row_no: _decode_failures(failures) for row_no, failures in reported if failures is not None}
    return replace(found, rejecting=_both(unread, found.rejecting))


def _both(first: Failures, then: Failures) -> Failures:
    """Merge the failures of each row; the first of them is its cause."""
    if not then:
        return first
    return {row_no: (*first.get(row_no, ()), *then.get(row_no, ())) for row_no in {*first, *then}}


def _raws(stream: Stream, bodies: Iterable[bytes], read: _Read, row_nos: Iterable[int]) -> dict[int, bytes]:
    """Collect the raw records of *row_nos*, which count through all pages of a batch."""
    requested, found, first = set(row_nos), {}, 0
    for page_no, (body, rows) in enumerate(zip(bodies, read.page_rows, strict=True)):
        here = requested.intersection(range(first, first + rows))
        if here:
            raws: Sequence[Any] = (
                decoded(body, stream.record_type, stream.key_field, stream.lines_fields).raws()
                if page_no in read.broken
                else raw_records(body)
            )
            if page_no in read.mapped:
                raws = [raws[position] for position in read.mapped[page_no]]
            found.update({row_no: bytes(raws[row_no - first]) for row_no in here})
        first += rows
    return found


def _newest(stream: Stream, table: pa.Table, failures: Failures) -> tuple[pa.Table, RowCounts]:
    """
    Keep the newest row of each id, and count the others.

    A source that is read while it changes may show a record twice; a load accepts each id once. Of one version with
    several contents, the last is the newest, if the stream compares content.
    """
    import pyarrow as pa

    if not failures and _has_each_id_once(table.column("id").combine_chunks()):
        return table, RowCounts()
    rows = zip(table.column("id").to_pylist(), table.column("version").to_pylist(), strict=True)
    chosen: dict[str, int] = {}
    versions: dict[str, int] = {}
    repeats = RowCounts()
    count = partial(_repeat, stream, table)
    contents = table.select(stream.dataset.content_names)

    def differ(one: int, other: int) -> bool:
        return bool(contents.slice(one, 1).to_pylist() != contents.slice(other, 1).to_pylist())

    for row_no, (record_id, version) in enumerate(rows):
        if row_no in failures:
            continue
        if record_id not in chosen:
            chosen[record_id], versions[record_id] = row_no, version
            continue
        known = versions[record_id]
        same = version == known and not (stream.compares_content and differ(chosen[record_id], row_no))
        newer = version >= known and not same
        repeats += count(chosen[record_id] if newer else row_no, "unchanged" if same else "stale")
        if newer:
            chosen[record_id], versions[record_id] = row_no, version
    # Typed: from an empty list, Arrow could not infer that the row numbers are integers.
    return table.take(pa.array(chosen.values(), pa.int64())), repeats


def _has_each_id_once(ids: pa.StringArray) -> bool:
    """Check for repeated ids. A full read is sorted by id, and checking that costs a tenth of counting them."""
    import pyarrow.compute as pc

    ascending = pc.all(pc.less(ids[:-1], ids[1:])).as_py() is not False
    return ascending or pc.count_distinct(ids).as_py() == len(ids)


def _repeat(stream: Stream, table: pa.Table, row_no: int, outcome: str) -> RowCounts:
    lines = table.column(stream.dataset.lines)[row_no].as_py() if stream.dataset.lines else 0
    return RowCounts.of(outcome, 1, lines)
