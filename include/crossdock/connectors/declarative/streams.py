"""Turn each declaration into a `Stream`, which runs in the same three steps as all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from crossdock.commerce.datasets import CheckedDataset, datasets
from crossdock.connectors.declarative import files, last_valid
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.mapping import PG_TYPES, to_columns_of
from crossdock.connectors.declarative.model import Declaration
from crossdock.db.columns import Column
from crossdock.sync import Stream
from crossdock.sync.dataset import Record, Schema
from crossdock.sync.quarantine.model import Expectation

#: Rules for any system: unlike commercetools, a declared system may number versions freely.
_RECORD_RULES = (
    Expectation(
        "id_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "id", "regex": r"^[^\x00-\x1f\x7f]{1,256}$"},
        "an id must have 1 to 256 printable characters; check identity.id in the declaration",
    ),
    Expectation(
        "key_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "key", "min_value": 1, "max_value": 256},
        "a record needs the key that people know it by; check identity.key in the declaration",
    ),
)
#: The first name of a JMESPath: `supplyChannel` of `supplyChannel.id`.
_FIRST_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READABLE = Expectation(
    "record_is_readable",
    "expect_column_value_lengths_to_be_between",
    {"column": "unreadable", "max_value": 0},
    "a value is missing or does not have its declared type; correct it at the source, or correct the mapping",
)

#: The target of records without a dataset of their own.
_RECORD = "record"
#: Columns that come from the identity; a mapping must not set them.
_OF_IDENTITY = frozenset({"id", "version", "last_modified_at", "lineage", "data", "key", "unreadable"})


def declared_stream(path: Path) -> tuple[Declaration, Stream]:
    """
    Read the declaration in *path* and build its stream.

    Raises:
        InvalidDeclaration: it is not valid; each mistake has its line.

    """
    declaration = files.read(path, _semantic_mistakes)
    return declaration, _stream_of(declaration)


def declared_streams(
    folder: Path | None = None, *, only: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[Declaration, Stream]]:
    """
    Yield the declarations of *folder* with their streams; one with a mistake as it was when it was last valid.

    *only* selects declarations by name.

    See `mistakes` for those that have one.
    """
    for name, path in files.paths(folder).items():
        declaration = last_valid.read(path, _semantic_mistakes) if only(name) else None
        if declaration is not None:
            yield declaration, _stream_of(declaration)


def mistakes(folder: Path | None = None) -> list[InvalidDeclaration]:
    """Collect the errors of the invalid declarations of *folder*."""
    found = []
    for path in files.paths(folder).values():
        try:
            declared_stream(path)
        except InvalidDeclaration as error:
            found.append(error)
    return found


def _stream_of(declaration: Declaration) -> Stream:
    target = _target(declaration)
    own = tuple(
        Expectation(expectation.name, expectation.type, expectation.arguments, expectation.message)
        for expectation in declaration.expectations
    )
    stream = Stream(
        dataset=target.schema,
        integration=declaration.name,
        resource=declaration.read.path,
        key_field=_key_field(declaration),
        # A declared record has no struct: it is a plain dict, from which the mapping takes the declared fields.
        record_type=cast("Any", dict),
        to_columns=lambda _: {},
        expectations=(*target.expectations, _READABLE, *own),
        check_columns=(*_check_columns(declaration), Column("unreadable", "text")),
        mapped_fields=_mapped_fields(declaration),
        schedule=declaration.schedule,
        # A declared source is read in one range.
        can_be_cut=False,
        reads_windows=declaration.read.changed_since is not None,
    )
    names = [column.name for column in stream.columns]
    return replace(stream, to_columns=to_columns_of(declaration, names, _required(target.schema)))


def _target(declaration: Declaration) -> CheckedDataset:
    return datasets().get(declaration.target) or CheckedDataset(Record.schema, _RECORD_RULES)


def _required(dataset: Schema) -> frozenset[str]:
    """Name the columns that a record must have a value for; the others of the identity are never empty."""
    needed = {field.name for field in dataset.fields if not field.nullable and not field.check_only}
    return frozenset(needed - {"id", "key", "data", "created_at"})


def _key_field(declaration: Declaration) -> str:
    """Choose the field that a run's `keys` match, and that identifies a rejected record."""
    key = declaration.identity.key
    return key if key.isidentifier() else "id"


def _mapped_fields(declaration: Declaration) -> frozenset[str]:
    """Collect the first name of every path into a record; a path may begin without a name."""
    identity = declaration.identity
    paths = [identity.id, identity.version, identity.changed_at, identity.key]
    paths += [field.path for field in declaration.mapping.values()]
    return frozenset(found[0] for path in paths if (found := _FIRST_NAME.match(path)))


def _check_columns(declaration: Declaration) -> tuple[Column, ...]:
    """List the mapped values that only the expectations read: all of a `record`."""
    if declaration.target != _RECORD:
        return ()
    return tuple(Column(name, PG_TYPES[field.type]) for name, field in declaration.mapping.items())


def _semantic_mistakes(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find the mistakes that a schema cannot: unknown columns, expectations about them, required values not mapped."""
    if declaration.target != _RECORD and declaration.target not in datasets():
        yield "/target", f"must be one of {', '.join([_RECORD, *sorted(datasets())])}"
        return
    target = _target(declaration)
    types = {column.name: column.pg_type for column in target.schema.columns}
    for name, field in declaration.mapping.items():
        at = f"/mapping/{name}"
        if name in _OF_IDENTITY:
            yield at, "comes from the identity; give the value another name"
        elif declaration.target != _RECORD and name not in types:
            free = ", ".join(sorted(set(types) - _OF_IDENTITY))
            yield at, f"is not a column of {declaration.target}; its columns: {free}"
        elif declaration.target != _RECORD and PG_TYPES[field.type] != types[name]:
            yield f"{at}/type", f"is {field.type}, but the column is {types[name]}"
    for name in sorted(_required(target.schema) - _OF_IDENTITY - set(declaration.mapping)):
        yield "/mapping", f"lacks {name}, which {declaration.target} requires"
    yield from _expectation_mistakes(
        declaration, {*types, *declaration.mapping}, {rule.name for rule in target.expectations}
    )
    if declaration.schedule is not None and not _is_cron(declaration.schedule):
        yield "/schedule", "is not a cron expression (expected something like */15 * * * *)"


def _expectation_mistakes(declaration: Declaration, columns: set[str], taken: set[str]) -> Iterator[tuple[str, str]]:
    names = {*taken, _READABLE.name}
    for number, rule in enumerate(declaration.expectations):
        at = f"/expectations/{number}"
        if rule.name in names:
            yield f"{at}/name", f"{rule.name} is the name of another expectation"
        names.add(rule.name)
        named = [
            rule.arguments[argument] for argument in ("column", "column_A", "column_B") if argument in rule.arguments
        ]
        if not named:
            yield f"{at}/arguments", "names no column"
        for column in named:
            if column not in columns:
                yield f"{at}/arguments", f"{column!r} is not mapped"


def _is_cron(text: str) -> bool:
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415  needed only with a schedule

    return bool(croniter.is_valid(text))
