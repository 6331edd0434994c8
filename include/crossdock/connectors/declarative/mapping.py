"""
Map a declared system's records to columns. Pure.

One invalid value does not stop the others: its column stays empty, and `unreadable` has the reason, with which
validation sends the record to quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from crossdock.connectors.declarative.model import Declaration, Field, ValueType
from crossdock.connectors.declarative.paths import PathDoesNotFit, finder, shown
from crossdock.connectors.declarative.values import EPOCH, Unreadable, read
from crossdock.core import exact_json
from crossdock.sync.dataset import Columns
from crossdock.sync.quarantine.model import Failure

#: Value type → PostgreSQL type of its column.
PG_TYPES: Mapping[ValueType, str] = {
    "text": "text",
    "integer": "int8",
    "decimal": "text",
    "boolean": "bool",
    "instant": "timestamptz",
    "json": "jsonb",
}

#: The version of a record without one and without a time of change: its content alone says whether it changed.
_ONLY_VERSION = 1
#: What a landed record's own `id` and `version` were, where those of the identity have taken their places.
_ORIGINALS = "$source"
_MICROSECOND = timedelta(microseconds=1)


def identified(declaration: Declaration) -> Callable[[Any], dict[str, Any]]:
    """
    Build the function that adds the `id` and `version` of *declaration* to a record, so that every step knows it by them.

    They are None where the record has none; validation says why.
    """
    identity = _Identity(declaration)

    def with_identity(record: Any) -> dict[str, Any]:
        fields = dict(record) if isinstance(record, dict) else {"value": record}
        found = identity.of(_Reading(fields))
        own = {"id": found["id"], "version": found["version"]}
        originals = {name: fields[name] for name in own if name in fields and str(fields[name]) != str(own[name])}
        return {**fields, **own, **({_ORIGINALS: originals} if originals else {})}

    return with_identity


def to_columns_of(
    declaration: Declaration, columns: Sequence[str], required: frozenset[str]
) -> Callable[[Sequence[Any]], Columns]:
    """
    Build the function that maps *declaration*'s records to *columns*.

    Besides the mapped columns there are `id`, `version`, `key`, `last_modified_at`, `data` (all mapped values as JSON),
    `lineage` (empty: a declaration does not cleanse) and `unreadable`. The *required* columns may not be empty.
    """
    identity, fields = _Identity(declaration), declaration.fields
    needed = required | frozenset(_never_missing(declaration))

    def row_of(record: dict[str, Any], now: datetime) -> dict[str, Any]:
        originals = record.get(_ORIGINALS)
        reading = _Reading({**record, **originals} if isinstance(originals, dict) else record)
        found = identity.of(reading)
        changed_at = found.pop("changed_at", now)
        mapped = {name: reading.find(name, field, needed=name in needed) for name, field in fields.items()}
        return {
            **mapped,
            "id": found["id"] or "",
            "key": found["key"] or "",
            "version": found["version"],
            "created_at": mapped.get("created_at") or changed_at,
            "last_modified_at": changed_at,
            "data": _data(mapped, fields),
            "unreadable": msgspec.json.encode(reading.failures).decode() if reading.failures else None,
        }

    def to_columns(records: Sequence[Any]) -> Columns:
        # A record of a system without times is as it is since it was read.
        now = datetime.now(UTC)
        rows = [row_of(record, now) for record in records]
        return {column: [row.get(column) for row in rows] for column in columns}

    return to_columns


class _Reading:
    """Read the fields of one record; what cannot be read is None, and `failures` has the reason."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record
        self.failures: list[Failure] = []

    def find(self, name: str, field: Field, *, needed: bool) -> Any:
        """Find the value of *field*, by the *name* of its column; one that is *needed* may not be missing."""
        came: Any = None
        try:
            came = finder(field.path)(self._record)
            value = read(field, came)
        except PathDoesNotFit as error:
            self._fail(name, field, str(error), error.came)
        except Unreadable as error:
            self._fail(name, field, f"must be {error}", came)
        else:
            if value is None and needed:
                self._fail(name, field, "has no value", came)
            return value
        return None

    def _fail(self, name: str, field: Field, cause: str, came: Any) -> None:
        message = f"{field.path} {cause}. Correct it at the source, or correct the declaration"
        self.failures.append(Failure(rule=f"{name}_is_readable", column=name, message=message, value=shown(came)))


class _Identity:
    """Find what identifies a record: its ID, its version, its key, and its time of change if the system has times."""

    def __init__(self, declaration: Declaration) -> None:
        identity = declaration.identity
        self._id, self._changed_at = Field(path=identity.id), declaration.changed_at
        self._key = Field(path=identity.key) if identity.key else None
        self._version = Field(path=identity.version, type="integer") if identity.version else None

    def of(self, reading: _Reading) -> dict[str, Any]:
        record_id = reading.find("id", self._id, needed=True)
        key = reading.find("key", self._key, needed=True) if self._key else record_id
        found = {"id": record_id, "key": key, "version": _ONLY_VERSION}
        if self._changed_at:
            changed_at = found["changed_at"] = reading.find("changed_at", self._changed_at, needed=True)
            found["version"] = changed_at and (changed_at - EPOCH) // _MICROSECOND
        if self._version:
            found["version"] = reading.find("version", self._version, needed=True)
        return found


def _never_missing(declaration: Declaration) -> Iterator[str]:
    """Name the fields that a record must have: a rule on their column would pass a record without a value."""
    ruled = {
        column for rule in declaration.expectations if not rule.type.endswith("_be_null") for column in rule.columns
    }
    for name, field in declaration.mapping.items():
        if field.missing == "reject" or (field.missing is None and name in ruled):
            yield name


def _data(mapped: Mapping[str, Any], fields: Mapping[str, Field]) -> str:
    """Write all mapped values as one JSON object."""
    raw = {
        name: msgspec.Raw(value.encode()) if value is not None and fields[name].type == "json" else value
        for name, value in mapped.items()
    }
    texts = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in raw.items()}
    return exact_json.encode(texts, in_order=True).decode()
