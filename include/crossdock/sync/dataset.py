"""
A dataset, declared once: its columns, what is only checked, its event type.

The table's columns, their Arrow types, the JSON Schema of the change event and which fields are personal data all follow
from one class. Values are joined to columns by name, never by position.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from crossdock.db.columns import Column

T = TypeVar("T")

#: Column name → its values, one for each record: what a mapping returns. `Dataset.columns` makes it.
Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class _Stored:
    """How a Python type is stored, and how the event's JSON Schema describes it."""

    pg_type: str
    schema: Mapping[str, Any]


#: The most characters of a text with an index: four bytes each fit into the third of a page that an entry may have.
LONGEST_INDEXED = 512

#: A source without times gives its records that of their reading, which is another one at each reading.
_NO_CONTENT = frozenset({"id", "version", "created_at", "last_modified_at"})


class _CheckOnly:
    """Marks a value that only expectations read; it is neither stored nor published."""


class _Indexed:
    """Marks a text that has an index beside those of ID, key and owner."""


class _Personal:
    """Marks personal data: masked for all but operators and admins."""


_PLAIN = {
    str: _Stored("text", {"type": "string"}),
    int: _Stored("int8", {"type": "integer"}),
    bool: _Stored("bool", {"type": "boolean"}),
    datetime: _Stored("timestamptz", {"type": "string", "format": "date-time"}),
}

#: JSON text: the mapping encodes it, the database stores it as jsonb, the event has it as it is.
JsonObject = Annotated[str, _Stored("jsonb", {"type": "object"})]
JsonList = Annotated[str, _Stored("jsonb", {"type": "array"})]
#: A number that is never below zero, and a version, which counts from 1.
Count = Annotated[int, _Stored("int8", {"type": "integer", "minimum": 0})]
Version = Annotated[int, _Stored("int8", {"type": "integer", "minimum": 1})]
#: What cleansing changed (`sync.lineage`).
Cleansed = Annotated[
    str,
    _Stored(
        "jsonb",
        {"type": "object", "description": "What cleansing changed: field, what it was, and the steps that changed it."},
    ),
]
CheckOnly = Annotated[T, _CheckOnly()]
Personal = Annotated[T, _Personal()]
Indexed = Annotated[T, _Indexed()]


@dataclass(frozen=True)
class Field:
    """One field of a dataset."""

    name: str
    pg_type: str
    nullable: bool
    personal: bool
    check_only: bool
    indexed: bool
    #: JSON Schema of its values in an event.
    schema: Mapping[str, Any]

    @property
    def column(self) -> Column:
        return Column(self.name, self.pg_type)


@dataclass(frozen=True, eq=False)
class Schema:
    """
    What follows from the declaration of a dataset; SQL statements, Arrow batches and event schemas are built from it.

    The table also has `integration`, `batch_id` (the batch that wrote the row), `known_at` (when it did) and `inserted_by` (the
    batch that wrote its first version); its twin `<table>_history` keeps superseded versions with `superseded_by` and
    `superseded_at`: the batch that replaced them, and when.
    """

    #: The dataset's name, the same everywhere: `products`.
    name: str
    #: The table, which also begins the subject of an event.
    table: str
    event_type: str
    #: The column of the business key: events are ordered per key, and people look up records by it.
    key: str
    #: The column with the number of lines; None for records without lines.
    lines: str | None
    fields: tuple[Field, ...]
    #: What one record is.
    description: str
    #: The column with the ID of the record that a row is a part of; None if no other record has such rows.
    owner: str | None = None

    @property
    def history(self) -> str:
        return f"{self.table}_history"

    @property
    def stage(self) -> str:
        return f"stage_{self.table}"

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the table."""
        return tuple(field.column for field in self.fields if not field.check_only)

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def content_names(self) -> tuple[str, ...]:
        """The columns that say what a record is, without those that say which one it is and from when."""
        return tuple(name for name in self.column_names if name not in _NO_CONTENT)

    @cached_property
    def checked_columns(self) -> tuple[Column, ...]:
        """The columns of the table, and those that are only checked."""
        return tuple(field.column for field in self.fields)

    @cached_property
    def indexed_names(self) -> tuple[str, ...]:
        """The columns of text that are in an index, whose entries have a longest length."""
        always = {"id", self.key, self.owner}
        return tuple(field.name for field in self.fields if field.indexed or field.name in always)

    @property
    def personal_fields(self) -> frozenset[str]:
        return frozenset(field.name for field in self.fields if field.personal)

    @property
    def event_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the data of its event: one stored record."""
        stored = [field for field in self.fields if not field.check_only]
        return {
            "title": f"{self.description} It is new or has changed: all of it, as it is now.",
            "type": "object",
            "properties": {field.name: dict(field.schema) for field in stored},
            "required": [field.name for field in stored if not field.nullable],
        }


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Dataset:
    """
    Base class of a dataset: one record, with its fields as annotations.

    `id`, `version` and `last_modified_at` are required: the source's opaque id, a number that grows with each change,
    and the source's own time of the change. An object is one record; millions of records are mapped as columns instead
    (`columns`), because an object for each would cost as much as the rest of their sync.

    Class arguments: *name* of the dataset, *event* type, *key* field, *table* (by default the name), the field with the
    number of *lines*, if records have lines, and the field with the *owner*, if other records have such rows as parts.
    """

    schema: ClassVar[Schema]

    def __init_subclass__(
        cls,
        *,
        name: str,
        event: str,
        key: str,
        table: str | None = None,
        lines: str | None = None,
        owner: str | None = None,
    ) -> None:
        # Frozen to the type checker only: a frozen dataclass takes three times as long to make.
        dataclasses.dataclass(kw_only=True, eq=False)(cls)
        hints = get_type_hints(cls, include_extras=True)
        fields = tuple(_field(field.name, hints[field.name]) for field in dataclasses.fields(cls))  # type: ignore[arg-type]  # made one above
        description = (cls.__doc__ or "").strip().splitlines()[0]
        cls.schema = Schema(name, table or name, event, key, lines, fields, description, owner)
        _refuse_incomplete(cls.schema)
        cls._read = attrgetter(*(field.name for field in fields))

    _read: ClassVar[Any]

    @classmethod
    def columns(cls, **values: Sequence[Any]) -> Columns:
        """
        Take the values of many records, one sequence for each field.

        Raises:
            TypeError: a field is missing, or is not declared.

        """
        declared = {field.name for field in cls.schema.fields}
        if declared != set(values):
            lacks, unknown = sorted(declared - set(values)), sorted(set(values) - declared)
            raise TypeError(
                f"{cls.__name__} lacks {lacks or 'nothing'} and does not declare {unknown or 'anything else'}"
            )
        return values

    @classmethod
    def columns_of(cls, records: Sequence[Self]) -> Columns:
        """Turn records into columns: for datasets whose mapping costs more than building an object."""
        names = [field.name for field in cls.schema.fields]
        if not records:
            return dict.fromkeys(names, ())
        return dict(zip(names, zip(*map(cls._read, records), strict=True), strict=True))


def _field(name: str, hint: Any) -> Field:
    """Read one annotation: the marks around the type, then the type, then whether it may be None."""
    marks: list[Any] = []
    hint = _unmarked(hint, marks)
    nullable = False
    if get_origin(hint) in (Union, UnionType):
        options = [option for option in get_args(hint) if option is not NoneType]
        if len(options) != 1:
            raise TypeError(f"The field {name} has several types: {hint}")
        nullable = NoneType in get_args(hint)
        hint = _unmarked(options[0], marks)
    stored = next((mark for mark in marks if isinstance(mark, _Stored)), _PLAIN.get(hint))
    if stored is None:
        raise TypeError(f"The field {name} has the type {hint}, which no column holds")
    schema = dict(stored.schema)
    if nullable:
        schema["type"] = [schema["type"], "null"]
    return Field(
        name,
        stored.pg_type,
        nullable,
        personal=any(isinstance(mark, _Personal) for mark in marks),
        check_only=any(isinstance(mark, _CheckOnly) for mark in marks),
        indexed=any(isinstance(mark, _Indexed) for mark in marks),
        schema=schema,
    )


def _unmarked(hint: Any, marks: list[Any]) -> Any:
    """Take the type out of `Annotated`, and add what it was annotated with to *marks*."""
    while get_origin(hint) is Annotated:
        hint, *found = get_args(hint)
        marks += found
    return hint


def _refuse_incomplete(schema: Schema) -> None:
    names = schema.column_names
    for needed in ("id", "version", "last_modified_at", schema.key, *filter(None, [schema.lines, schema.owner])):
        if needed not in names:
            raise TypeError(f"The dataset {schema.name} has no field {needed!r}")


class Record(Dataset, name="records", table="record", event="crossdock.record.changed", key="key"):
    """A record of a declared integration without a dataset of its own: the mapped fields as JSON."""

    id: str
    version: int
    key: str
    data: JsonObject
    last_modified_at: datetime
    lineage: Cleansed | None
