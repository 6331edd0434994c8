"""Preview a declaration: its first records as received, as mapped, and what the rules say. Stores nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from crossdock.connectors.declarative.source import DeclaredSource
from crossdock.connectors.declarative.streams import FAILURES, declared_stream
from crossdock.core.errors import HubError
from crossdock.core.storable import visible
from crossdock.db.columns import as_columns
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.sync import Stream
from crossdock.sync.batches import Content
from crossdock.sync.decode import decoded, documents_of
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.source import Axis, Range
from crossdock.sync.validate_rows import validate_batches

#: A person is waiting: one attempt with short timeouts.
_QUICK = Limits(timeout_s=20.0, connect_timeout_s=4.0, attempts=1)


class PreviewedRecord(msgspec.Struct, frozen=True):
    """One record of the system."""

    #: As it came, with the ID and the version that the declaration finds in it.
    received: Any
    #: Column → value as JSON has it; None if the record could not be mapped.
    mapped: Mapping[str, Any] | None
    #: Why it would be in quarantine; empty if it would be loaded.
    failures: tuple[Failure, ...]
    #: Rules of the level `warn` that it fails.
    warnings: tuple[str, ...]


def preview(path: Path, connection: Connection, *, limit: int) -> list[PreviewedRecord]:
    """
    Read the first *limit* records of the declaration in *path* at the address and with the credentials of *connection*.

    Raises:
        InvalidDeclaration: it is not valid; each mistake has its line.
        BadRequest: the connection lacks a value that the declaration needs.
        SystemUnavailable, SystemRefused, SourceInvalid: as `HttpClient.get`.

    """
    declaration, stream = declared_stream(path)
    source = DeclaredSource(declaration, connection, limits=_QUICK)
    source.sign_in()
    body = source.page("", Range(range_no=0, axis=Axis.ID), None, limit=limit).body
    records = [(b'{"results":[' + raw + b"]}", document) for raw, document in documents_of(body)]
    # Each as a batch of its own, so that what was found is of one record; they are checked together.
    contents = validate_batches(stream, [partial(_only, page) for page, _ in records]) if records else []
    return [
        _previewed(stream, page, document, content) for (page, document), content in zip(records, contents, strict=True)
    ]


def _only(page: bytes) -> Sequence[bytes]:
    return (page,)


def _previewed(stream: Stream, page: bytes, document: Any, content: Content) -> PreviewedRecord:
    return PreviewedRecord(
        received=_expressible(document),
        mapped=_mapped(stream, page),
        failures=tuple(failure for rejected in content.rejected for failure in rejected.failures),
        warnings=tuple(f"{warned.rule}: {warned.message}" for warned in content.warned),
    )


def _mapped(stream: Stream, page: bytes) -> dict[str, Any] | None:
    records = decoded(page, stream.record_type, stream.key_field).records
    if not records:
        return None
    try:
        (row,) = as_columns(stream.columns, stream.to_columns(records)).to_pylist()
    except HubError:
        raise
    except Exception:  # noqa: BLE001  whatever a value makes the mapping raise: the failures say so
        return None
    shown: dict[str, Any] = msgspec.to_builtins({name: value for name, value in row.items() if name != FAILURES})
    return {name: _expressible(value) for name, value in shown.items()}


def _expressible(value: Any) -> Any:
    """Write as text what JSON cannot express: half a surrogate pair, and a number that is none or has no end."""
    match value:
        case dict():
            return {visible(name): _expressible(inner) for name, inner in value.items()}
        case list():
            return [_expressible(inner) for inner in value]
        case str():
            return visible(value)
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
