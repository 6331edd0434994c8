"""
Decode a landed page into typed records, and isolate each bad record.

The fast path decodes the whole page into the record type. A page with anything unusual takes the slow path,
record by record, so that a wrong type, a NaN, a NUL or half a surrogate pair sends only its own record to
quarantine. The stored bytes of a bad record can always be read again as JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from crossdock.core import exact_json
from crossdock.core.decoding import prepare
from crossdock.core.errors import Terminal
from crossdock.core.printable import printable
from crossdock.core.storable import visible
from crossdock.sync.quarantine.model import Failure, Rejected

_SHOWN_CHARACTERS = 80
#: A longer id is not accepted: no index of the database can hold it.
_ID_CHARACTERS = 256
#: Python refuses to convert longer numbers.
_INTEGER_DIGITS = 4_000


class PageUnreadable(Terminal):
    """A landed page is not a page of results; clear the run's `extract` to read it again."""


@dataclass(frozen=True)
class DecodedPage:
    """The readable and the unreadable records of a page."""

    records: list[Any]
    rejected: list[Rejected]
    _body: bytes
    _raws: list[bytes] | None

    def raws(self) -> list[bytes]:
        """Give each of `records` as it came, in the same order."""
        return self._raws if self._raws is not None else [bytes(raw) for raw in _decode_raws(self._body).results]


def decoded(
    body: bytes, record_type: type[msgspec.Struct], key_field: str, lines_fields: tuple[str, ...] = ()
) -> DecodedPage:
    """
    Decode the records of *body* into *record_type*; a rejected record is known by its *key_field*.

    Raises:
        PageUnreadable: it has no results at all.

    """
    # Escapes of NUL and of surrogates are decoded without an error, or break the decoder: they need the slow path.
    if not _has_hostile_escape(body):
        try:
            page = _decoder(record_type).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return DecodedPage(page.results, [], body, None)
    return _one_by_one(body, record_type, key_field, lines_fields)


def raw_records(body: bytes) -> Sequence[msgspec.Raw]:
    """Split a page of strict JSON into its records, as they came."""
    return _decode_raws(body).results


_NUL, _SURROGATES = b"u0000", (b"ud", b"uD")


def _has_hostile_escape(body: bytes) -> bool:
    """Check for an escape of NUL or of a surrogate in *body*."""
    # From one backslash to the next: most pages have few, and searching for one byte is ten times as fast as for two.
    at = body.find(b"\\")
    while at >= 0:
        escape = body[at + 1 : at + 6]
        if escape == _NUL or escape.startswith(_SURROGATES):
            return True
        at = body.find(b"\\", at + 2)
    return False


def _one_by_one(
    body: bytes, record_type: type[msgspec.Struct], key_field: str, lines_fields: tuple[str, ...]
) -> DecodedPage:
    records, raws, rejected = [], [], []
    for raw, document in documents_of(body):
        failure = _unstorable(document)
        if failure is None:
            try:
                records.append(_record_decoder(record_type).decode(raw))
            except msgspec.DecodeError as error:
                failure = _wrong_type(error, document)
            else:
                raws.append(raw)
                continue
        fields = document if isinstance(document, dict) else {}
        rejected.append(
            _rejected(raw, (failure,), fields, key_field, lines_fields, digest_of=lambda it=document: it)  # type: ignore[misc]
        )
    return DecodedPage(records, rejected, body, raws)


def documents_of(body: bytes) -> Iterator[tuple[bytes, Any]]:
    """
    Split a page into records, each as bytes and as a plain value: also one that strict JSON cannot express.

    Raises:
        PageUnreadable: it has no results at all.

    """
    try:
        # Invalid UTF-8 becomes lone surrogates here, for which only its own record is rejected.
        documents = _lenient.decode(body.decode("utf-8-sig", "surrogateescape"))["results"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PageUnreadable(f"A landed page is not a page of results: {error}") from error
    if not isinstance(documents, list):
        raise PageUnreadable(f"A landed page is not a page of results: `results` is of type {type(documents).__name__}")
    try:
        raws = [_readable_again(bytes(raw), document) for raw, document in zip(_decode_raws(body).results, documents)]  # noqa: B905  one list, read twice
    except (msgspec.DecodeError, RecursionError):
        # NaN or half a surrogate pair: strict JSON cannot express them, so the records are encoded again, digit by digit.
        exact = exact_json.decode(body.decode("utf-8-sig", "surrogateescape"))["results"]
        raws = [exact_json.encode(document) for document in exact]
    return zip(raws, documents, strict=True)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else math.inf


_lenient = json.JSONDecoder(strict=False, parse_int=_integer)


def _readable_again(raw: bytes, document: Any) -> bytes:
    """Return *raw*, or encode *document* again if *raw* is not valid JSON: bytes that are not text, endless digits."""
    try:
        json.loads(raw)
    except ValueError:
        return json.dumps(document).encode()
    return raw


def rejection(
    raw: bytes, failures: tuple[Failure, ...], key_field: str, lines_fields: tuple[str, ...] = ()
) -> Rejected:
    """Make a rejected record of readable *raw*, under its own id or, if it has none, a hash of itself."""
    head = _head(raw, key_field, lines_fields)
    return _rejected(raw, failures, head, key_field, lines_fields, digest_of=lambda: _lenient.decode(raw.decode()))


def _rejected(
    raw: bytes,
    failures: tuple[Failure, ...],
    fields: Mapping[str, Any],
    key_field: str,
    lines_fields: tuple[str, ...],
    *,
    digest_of: Callable[[], Any],
) -> Rejected:
    record_id, key, version = fields.get("id"), fields.get(key_field), fields.get("version")
    return Rejected(
        record_id=visible(record_id)
        if isinstance(record_id, str) and 0 < len(record_id) <= _ID_CHARACTERS
        else _digest(digest_of()),
        record_key=visible(key) if isinstance(key, str) else None,
        # Not isinstance: to Python, true is an int.
        version=version if type(version) is int and abs(version) < 2**63 else 0,
        failures=failures,
        raw=raw,
        lines=sum(len(lines) for name in lines_fields if isinstance(lines := fields.get(name), list)),
    )


def _head(raw: bytes, key_field: str, lines_fields: tuple[str, ...]) -> dict[str, Any]:
    """Decode only the few fields by which a rejected record is known; a whole order is a hundred times as long."""
    head = _head_decoder(key_field, lines_fields).decode(raw)
    fields = (*_head_names(key_field), *lines_fields)
    return {name: getattr(head, f"field_{number}") for number, name in enumerate(fields)}


def _head_names(key_field: str) -> tuple[str, ...]:
    """Name the fields, each once: a source may call its records by their ID alone."""
    return tuple(dict.fromkeys(("id", "version", key_field)))


@cache
def _head_decoder(key_field: str, lines_fields: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    values = [(name, Any) for name in _head_names(key_field)]
    lines: list[tuple[str, Any]] = [(name, list[_Anything] | None) for name in lines_fields]
    fields = [*values, *lines]
    return msgspec.json.Decoder(
        msgspec.defstruct(
            "Head",
            [(f"field_{number}", kind, None) for number, (_, kind) in enumerate(fields)],
            rename={f"field_{number}": name for number, (name, _) in enumerate(fields)},
        )
    )


class _Anything(msgspec.Struct):
    """A line; its fields are not decoded, because only the number of lines counts."""


prepare(_Anything)


def _digest(document: Any) -> str:
    """Hash a record, independently of how its page was formatted."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def _unstorable(document: Any) -> Failure | None:
    """Find a value, or the name of a field, in *document* that the database could not store."""
    for path, value in _leaves(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            return _failure("number_is_finite", path, "Not a finite number. Have the source send a real number", value)
        if "\x00" in path:
            return _failure(
                "text_is_storable", path, "A field's name with a NUL character. Rename it at the source", path
            )
        if isinstance(value, str) and "\x00" in value:
            return _failure("text_is_storable", path, "Text with a NUL character. Remove it at the source", value)
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return _failure(
                "text_is_storable", path, "Text with half a surrogate pair. Have the source send UTF-8", value
            )
    return None


def _wrong_type(error: msgspec.DecodeError, document: Any) -> Failure:
    message, _, at = str(error).partition(" - at `$")
    column = at.strip("`.") or "record"
    value: Any = document
    for step in column.split("."):
        value = value.get(step) if isinstance(value, dict) else value
    return _failure(f"{column}_is_readable", column, message, value)


def _failure(rule: str, column: str, message: str, value: Any) -> Failure:
    return Failure(
        rule=rule, column=printable(column), message=message, value=printable(str(value)[:_SHOWN_CHARACTERS])
    )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each value with the names that lead to it; an empty object or list is a value, because its name is stored."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def sampled(body: bytes, records: int) -> list[Any]:
    """Decode the first *records* of a page into plain values; none if the page is not strict JSON."""
    try:
        return [msgspec.json.decode(raw) for raw in _decode_raws(body).results[:records]]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


class _RawPage(msgspec.Struct):
    results: list[msgspec.Raw]


_decode_raws = msgspec.json.Decoder(_RawPage).decode


@cache
def _decoder(record_type: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    page_type = msgspec.defstruct(f"{record_type.__name__}Page", [("results", list[record_type])])  # type: ignore[valid-type]
    return msgspec.json.Decoder(page_type, float_hook=_float_hook(record_type))


@cache
def _record_decoder(record_type: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(record_type, float_hook=_float_hook(record_type))


def _float_hook(record_type: type[Any]) -> type[Decimal] | None:
    """Keep each digit of a record without types, whose mapping is declared; a typed one says how it reads its numbers."""
    return Decimal if record_type is dict else None
