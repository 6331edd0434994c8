"""
Write the rows of another dataset that the records of a batch have inside: the prices of a product.

They are written in the batch's transaction, after its records. A part that stays as it is keeps its row and its version; one
that changed or is gone goes into history; each that is new, changed or gone has an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import msgspec

from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.sync import upsert
from crossdock.sync.compare_versions import ComparedRows
from crossdock.sync.dataset import Schema
from crossdock.sync.ledger import Run
from crossdock.sync.upsert import among

#: What a part has of its record.
_OF_RECORD = ("version", "created_at", "last_modified_at")


@dataclass(frozen=True)
class Parts:
    """The rows of *dataset* that each record of a stream has inside."""

    dataset: Schema
    #: The record's column with the parts, a JSON list: the dataset's columns by name, but for what is the record's.
    column: str
    #: The dataset's boolean column that is false in the event of a part that its record has no more.
    off: str


def write(work: Work, parts: Parts, record: Schema, run: Run, batch_id: int, *, rows: ComparedRows) -> None:
    """Write the parts of the records that `upsert` has just written: those of *rows* that are still staged."""
    statements, own = _statements(parts, record, is_range=rows.is_range), upsert.statements_of(parts.dataset)
    values = upsert.values_of(parts.dataset, run, batch_id, rows)
    work.execute(own.stage)
    work.execute(statements.stage)
    work.execute(statements.end, values)
    work.execute(statements.keep, values)
    work.execute(own.insert, values)
    event_store.append_selected(work, own.changes, values)


class _Statements(msgspec.Struct, frozen=True):
    """The SQL statements of one kind of parts. Names come from declarations, never from data."""

    #: Stages all parts of the records.
    stage: bytes
    #: Moves what changed or is gone into history, and stages what is gone for its event.
    end: bytes
    #: Leaves what stays as it is out of the stage.
    keep: bytes


@cache
def _statements(parts: Parts, record: Schema, *, is_range: bool) -> _Statements:
    dataset, owner = parts.dataset, str(parts.dataset.owner)
    name, stage = dataset.table, dataset.stage
    names = ", ".join(dataset.column_names)
    sent = [column for column in dataset.columns if column.name not in (*_OF_RECORD, owner)]
    typed = ", ".join(column.declared for column in sent)
    sources = {column: f"s.{column}" for column in _OF_RECORD} | {owner: "s.id"}
    selected = ", ".join(sources.get(column, f"sent.{column}") for column in dataset.column_names)
    ended = sources | {parts.off: "false"} | {owner: f"gone.{owner}"}
    as_ended = ", ".join(ended.get(column, f"gone.{column}") for column in dataset.column_names)
    staged, stored = (", ".join(f"{row}.{column.name}" for column in sent) for row in "pt")
    same = f"({staged}) IS NOT DISTINCT FROM ({stored})"
    ends = f"(SELECT min(id) FROM {stage}) AND (SELECT max(id) FROM {stage})"
    sent_parts = f"t.id BETWEEN {ends}" if is_range else among(stage, "t.id", is_range=False)
    return _Statements(
        stage=f"""
            INSERT INTO {stage} ({names}, is_new)
            SELECT {selected}, true
              FROM {record.stage} s, jsonb_to_recordset(coalesce(s.{parts.column}, '[]')) AS sent({typed})""".encode(),
        end=f"""
            WITH gone AS (
                DELETE FROM {name} t USING {record.stage} s
                 WHERE t.integration = %(integration)s AND t.{owner} = s.id AND {among(record.stage, f"t.{owner}", is_range=is_range)}
                   AND NOT EXISTS (SELECT FROM {stage} p WHERE p.id = t.id AND {same})
                RETURNING t.*),
            kept AS (
                INSERT INTO {dataset.history} (integration, {names}, batch_id, known_at, superseded_by)
                SELECT integration, {names}, batch_id, known_at, %(batch_id)s FROM gone)
            INSERT INTO {stage} ({names}, is_new)
            SELECT {as_ended}, false FROM gone JOIN {record.stage} s ON s.id = gone.{owner}
             WHERE NOT EXISTS (SELECT FROM {stage} p WHERE p.id = gone.id)""".encode(),
        keep=f"""
            DELETE FROM {stage} p USING {name} t
             WHERE p.is_new AND t.integration = %(integration)s AND t.id = p.id AND {sent_parts}""".encode(),
    )
