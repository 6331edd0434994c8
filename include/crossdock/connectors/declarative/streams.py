"""Turn each declaration into a `Stream`, which runs in the same three steps as all others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from crossdock.commerce.datasets import CheckedDataset, datasets
from crossdock.connectors.declarative import files, last_valid
from crossdock.connectors.declarative.field_mistakes import mistakes_of
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.mapping import PG_TYPES, to_columns_of
from crossdock.connectors.declarative.model import Declaration
from crossdock.connectors.declarative.paths import field_names
from crossdock.core.cron import is_cron
from crossdock.core.printable import well_formed
from crossdock.db.columns import Column
from crossdock.sync import Stream
from crossdock.sync.dataset import Record, Schema
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import key_rule

#: Rules for any system: unlike commercetools, a declared system may number versions freely.
RECORD_RULES = (
    Expectation(
        "id_is_well_formed",
        "expect_column_values_to_match_regex",
        {"column": "id", "regex": well_formed(1, 256)},
        "an id must have 1 to 256 printable characters; check identity.id in the declaration",
    ),
    Expectation(
        "key_is_present",
        "expect_column_value_lengths_to_be_between",
        {"column": "key", "min_value": 1, "max_value": 256},
        "a record needs the key that people know it by; check identity.key in the declaration",
    ),
    key_rule("key", "A record's key"),
)
#: A path that is one field: `sku`, or `"Item No"` with a blank.
_ONE_FIELD = re.compile(r'[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)+"')

#: The target of records without a dataset of their own.
_RECORD = "record"
#: The column in which the mapping reports what it could not read.
FAILURES = "unreadable"
#: Columns that come from the identity; a mapping must not set them.
_OF_IDENTITY = frozenset({"id", "version", "last_modified_at", "lineage", "data", "key", FAILURES})


def declared_stream(path: Path) -> tuple[Declaration, Stream]:
    """
    Read the declaration in *path* and build its stream.

    Raises:
        InvalidDeclaration: it is not valid; each mistake has its line.

    """
    declaration = files.read(path, _semantic_mistakes)
    return declaration, _stream_of(declaration)


def declared_streams(
    folder: Path | None = None, *, only: Callable[[str], bool] = lambda _: True, definitions_url: str | None = None
) -> Iterator[tuple[Declaration, Stream]]:
    """
    Yield the declarations of *folder* with their streams; one with a mistake as it was when it was last valid.

    *only* selects declarations by name. *definitions_url* replaces the setting.

    See `mistakes` for those that have one.
    """
    for name, path in files.paths(folder).items():
        declaration = last_valid.read(path, _semantic_mistakes, url=definitions_url) if only(name) else None
        if declaration is not None:
            yield declaration, _stream_of(declaration)


def valid_declaration(name: str) -> Declaration:
    """
    Read the declaration *name*; as it was when it was last valid, if it has a mistake: its stream runs on with that, too.

    Raises:
        NotFound: there is none.
        InvalidDeclaration: it never was valid.

    """
    path = files.paths().get(name)
    if path is None:
        raise files.not_found(name)
    # Read again, it says what is wrong.
    return last_valid.read(path, _semantic_mistakes) or files.read(path, _semantic_mistakes)


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
        expectations=(*target.expectations, *own),
        check_columns=(*_check_columns(declaration), Column(FAILURES, "text")),
        failures_column=FAILURES,
        sources=_sources(declaration),
        schedule=declaration.schedule,
        # A declared source is read in one range.
        can_be_cut=False,
        reads_windows=declaration.read.changed_since is not None,
        may_be_empty=declaration.read.may_be_empty,
        compares_content=declaration.identity.compare == "content",
    )
    names = [column.name for column in stream.columns]
    return replace(stream, to_columns=to_columns_of(declaration, names, _required(target.schema)))


def _target(declaration: Declaration) -> CheckedDataset:
    return datasets().get(declaration.target) or CheckedDataset(Record, RECORD_RULES)


def _required(dataset: Schema) -> frozenset[str]:
    """Name the columns that a record must have a value for; the others of the identity are never empty."""
    needed = {field.name for field in dataset.fields if not field.nullable and not field.check_only}
    return frozenset(needed - {"id", "key", "data", "created_at"})


def _key_field(declaration: Declaration) -> str:
    """Choose the field that a run's `keys` match, and that identifies a rejected record."""
    key = declaration.identity.key
    if not _ONE_FIELD.fullmatch(key):
        return "id"
    return str(json.loads(key)) if key.startswith('"') else key


def _sources(declaration: Declaration) -> dict[str, frozenset[str]]:
    """Name the top-level fields that the declaration reads of a record, by the column that they become."""
    identity = declaration.identity
    of_identity = {
        "id": identity.id,
        "version": identity.version,
        "last_modified_at": identity.changed_at,
        "key": identity.key,
    }
    paths = of_identity | {name: field.path for name, field in declaration.mapping.items()}
    return {name: field_names(path) for name, path in paths.items() if path}


def _check_columns(declaration: Declaration) -> tuple[Column, ...]:
    """List the mapped values that only the expectations read: all of a `record`."""
    if declaration.target != _RECORD:
        return ()
    return tuple(Column(name, PG_TYPES[field.type]) for name, field in declaration.mapping.items())


def _semantic_mistakes(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find the mistakes that a schema cannot."""
    yield from _stream_mistakes(declaration)
    if declaration.actions:
        from crossdock.connectors.declarative import action_mistakes  # noqa: PLC0415  most files have no actions

        yield from action_mistakes.of(declaration)


def _stream_mistakes(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find unknown columns, expectations about them, and required values that are not mapped."""
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
        yield from mistakes_of(at, field)
    if declaration.identity.compare == "version" and not (declaration.identity.version or declaration.changed_at):
        yield "/identity/compare", "must be content: without `version` and `changed_at`, every version is the same"
    if declaration.changed_at:
        yield from mistakes_of("/identity", declaration.changed_at)
    for name in sorted(_required(target.schema) - _OF_IDENTITY - set(declaration.mapping)):
        yield "/mapping", f"lacks {name}, which {declaration.target} requires"
    yield from _expectation_mistakes(
        declaration, {*types, *declaration.mapping}, {rule.name for rule in target.expectations}
    )
    if declaration.schedule is not None and not is_cron(declaration.schedule):
        yield "/schedule", "is not a cron expression (expected something like */15 * * * *)"


def _expectation_mistakes(declaration: Declaration, columns: set[str], taken: set[str]) -> Iterator[tuple[str, str]]:
    names = set(taken)
    for number, rule in enumerate(declaration.expectations):
        at = f"/expectations/{number}"
        if rule.name in names:
            yield f"{at}/name", f"{rule.name} is the name of another expectation"
        names.add(rule.name)
        if not rule.columns:
            yield f"{at}/arguments", "names no column"
        for column in rule.columns:
            if column not in columns:
                yield f"{at}/arguments", f"{column!r} is not mapped"
