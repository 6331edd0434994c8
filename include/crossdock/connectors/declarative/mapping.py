"""
Map a declared system's records to columns. Pure.

One invalid value does not stop the others: its column stays empty and `unreadable` gives the reason, with which
validation sends the record to quarantine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import jmespath  # type: ignore[import-untyped]

from crossdock.connectors.declarative.model import Declaration, Field, ValueType
from crossdock.core.instants import from_utc_text
from crossdock.sync.dataset import Columns

#: Value type → PostgreSQL type of its column.
PG_TYPES: Mapping[ValueType, str] = {
    "text": "text",
    "integer": "int8",
    "decimal": "text",
    "boolean": "bool",
    "instant": "timestamptz",
    "json": "jsonb",
}

_SHOWN_CHARACTERS = 40
_INT8 = range(-(2**63), 2**63)


class _Unreadable(Exception):
    """A value does not have its declared type; the text completes `… is `."""


def to_columns_of(
    declaration: Declaration, columns: Sequence[str], required: frozenset[str]
) -> Callable[[Sequence[Any]], Columns]:
    """
    Build the function that maps *declaration*'s records to *columns*.

    Besides the mapped columns there are `id`, `version`, `key`, `last_modified_at`, `data` (all mapped values as JSON),
    `lineage` (empty: a declaration does not cleanse) and `unreadable`. The *required* columns may not be empty.
    """
    row_of = _Row(declaration, required)

    def to_columns(records: Sequence[Any]) -> Columns:
        rows = [row_of(record) for record in records]
        return {column: [row.get(column) for row in rows] for column in columns}

    return to_columns


class _Row:
    """Map one record to column → value; the paths are compiled once."""

    def __init__(self, declaration: Declaration, required: frozenset[str]) -> None:
        identity = declaration.identity
        self._fields = {name: (jmespath.compile(field.path), field) for name, field in declaration.mapping.items()}
        self._changed_at = jmespath.compile(identity.changed_at)
        self._key = jmespath.compile(identity.key or "id")
        self._required = required

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        wrong: list[str] = []

        def read(name: str, value: Any, kind: ValueType) -> Any:
            try:
                return _READERS[kind](value) if value is not None else None
            except _Unreadable as error:
                wrong.append(f"{name} {json.dumps(value, default=str)[:_SHOWN_CHARACTERS]} is {error}")
                return None

        mapped = {name: read(name, path.search(record), field.type) for name, (path, field) in self._fields.items()}
        changed_at = read("changed_at", self._changed_at.search(record), "instant")
        row = {
            **mapped,
            "created_at": mapped.get("created_at") or changed_at,
            "id": read("id", record.get("id"), "text") or "",
            "version": read("version", record.get("version"), "integer"),
            "key": read("key", self._key.search(record), "text") or "",
            "last_modified_at": changed_at,
            "data": json.dumps(_as_json(mapped, self._fields), sort_keys=True),
            "lineage": None,
        }
        missing = [f"{name} is missing" for name in sorted(self._required) if row.get(name) is None]
        # Without duplicates: an unreadable value is missing too.
        row["unreadable"] = "; ".join(dict.fromkeys(wrong or missing))
        return row


def _as_json(mapped: Mapping[str, Any], fields: Mapping[str, tuple[Any, Field]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in mapped.items():
        kind = fields[name][1].type
        if value is None:
            found[name] = None
        elif kind == "json":
            found[name] = json.loads(value)
        else:
            found[name] = value.isoformat() if kind == "instant" else value
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise _Unreadable("not text")
    return value if isinstance(value, str) else str(value)


def _integer(value: Any) -> int:
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number != number.to_integral_value() or int(number) not in _INT8:
        raise _Unreadable("not a 64-bit whole number")
    return int(number)


def _decimal(value: Any) -> str:
    try:
        number = Decimal(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not -30 < number.adjusted() < 30:  # noqa: PLR2004  beyond any price
        raise _Unreadable("not a decimal number")
    return format(number, "f")


def _boolean(value: Any) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise _Unreadable("neither true nor false")


def _instant(value: Any) -> Any:
    try:
        return from_utc_text(value)
    except (TypeError, ValueError) as error:
        raise _Unreadable("not a timestamp with a time zone (such as 2026-11-21T09:30:00Z)") from error


_READERS: Mapping[ValueType, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "instant": _instant,
    "json": lambda value: json.dumps(value, sort_keys=True),
}
