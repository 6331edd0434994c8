"""Turn each declaration into a `Sync`, which runs in the same three steps as all others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from crossdock.commerce.inventory.expectations import EXPECTATIONS as INVENTORY_EXPECTATIONS
from crossdock.commerce.inventory.schema import INVENTORY_TABLE
from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.mapping import PG_TYPES, to_columns_of
from crossdock.connectors.declarative.model import Declaration
from crossdock.db.columns import Column
from crossdock.sync import Sync
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.tables import RECORD, EntityTable

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

_TABLES: dict[str, tuple[EntityTable, tuple[Expectation, ...], frozenset[str]]] = {
    "record": (RECORD, _RECORD_RULES, frozenset({"version", "last_modified_at"})),
    "inventory": (
        INVENTORY_TABLE,
        INVENTORY_EXPECTATIONS,
        frozenset({"version", "last_modified_at", "sku", "quantity_on_stock", "available_quantity"}),
    ),
}
#: Columns that come from the identity; a mapping must not set them.
_OF_IDENTITY = frozenset({"id", "version", "last_modified_at", "lineage", "data", "key", "unreadable"})


def declared_sync(path: Path) -> tuple[Declaration, Sync]:
    """
    Read the declaration in *path* and build its sync.

    Raises:
        InvalidDeclaration: it is not valid; each mistake has its line.

    """
    declaration = files.read(path, _semantic_mistakes)
    table, rules, required = _TABLES[declaration.target]
    check_columns = (*_check_columns(declaration), Column("unreadable", "text"))
    names = (*table.column_names, *(column.name for column in check_columns))
    own = tuple(
        Expectation(expectation.name, expectation.type, expectation.arguments, expectation.message)
        for expectation in declaration.expectations
    )
    return declaration, Sync(
        entity=declaration.name,
        integration=declaration.name,
        resource=declaration.read.path,
        key_field=_key_field(declaration),
        table=table,
        # A declared record has no struct: it is a plain dict, from which the mapping takes the declared fields.
        record_type=cast("Any", dict),
        to_columns=to_columns_of(declaration, names, required),
        expectations=(*rules, _READABLE, *own),
        check_columns=check_columns,
        mapped_fields=_mapped_fields(declaration),
    )


def declared_syncs(folder: Path | None = None) -> Iterator[tuple[Declaration, Sync]]:
    """Yield the valid declarations of *folder*; see `mistakes` for the others."""
    for path in files.paths(folder).values():
        try:
            yield declared_sync(path)
        except InvalidDeclaration:
            continue


def mistakes(folder: Path | None = None) -> list[InvalidDeclaration]:
    """Collect the errors of the invalid declarations of *folder*."""
    found = []
    for path in files.paths(folder).values():
        try:
            declared_sync(path)
        except InvalidDeclaration as error:
            found.append(error)
    return found


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
    if declaration.target != "record":
        return ()
    return tuple(Column(name, PG_TYPES[field.type]) for name, field in declaration.mapping.items())


def _semantic_mistakes(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find the mistakes that a schema cannot: unknown columns, expectations about them, required values not mapped."""
    table, rules, required = _TABLES[declaration.target]
    types = {column.name: column.pg_type for column in table.columns}
    for name, field in declaration.mapping.items():
        at = f"/mapping/{name}"
        if name in _OF_IDENTITY:
            yield at, "comes from the identity; give the value another name"
        elif declaration.target != "record" and name not in types:
            free = ", ".join(sorted(set(types) - _OF_IDENTITY))
            yield at, f"is not a column of {declaration.target}; its columns: {free}"
        elif declaration.target != "record" and PG_TYPES[field.type] != types[name]:
            yield f"{at}/type", f"is {field.type}, but the column is {types[name]}"
    for name in sorted(required - _OF_IDENTITY - set(declaration.mapping)):
        yield "/mapping", f"lacks {name}, which {declaration.target} requires"
    yield from _expectation_mistakes(declaration, {*types, *declaration.mapping}, {rule.name for rule in rules})
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
