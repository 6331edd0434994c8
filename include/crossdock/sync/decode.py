"""
A landed page as typed records, one bad record at a time.

The fast way decodes the whole page into the record type. A page on which anything is odd takes the
slow way, record by record, so that a wrong type, a NaN, a NUL or half a surrogate sends its own record
to quarantine and no other. What is kept of a bad record can always be read again as JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from crossdock.core.errors import Terminal
from crossdock.sync.quarantine.model import Failure, Rejected, visible

_SHOWN_CHARACTERS = 80
#: A longer id is no id: no index of the database holds it.
_ID_CHARACTERS = 256
#: Python refuses to turn longer ones into numbers.
_INTEGER_DIGITS = 4_000


class PageUnreadable(Terminal):
    """A landed page is no page of results; clear the run's `extract` to read it again."""


@dataclass(frozen=True)
class DecodedPage:
    """The readable records of a page, and those that are not."""

    records: list[Any]
    rejected: list[Rejected]
    _body: bytes
    _raws: list[bytes] | None

    def raws(self) -> list[bytes]:
        """Each of `records` as it came, in the same order."""
        return self._raws if self._raws is not None else [bytes(raw) for raw in _decode_raws(self._body).results]


def decoded(
    body: bytes, record_type: type[msgspec.Struct], key_field: str, lines_field: str | None = None
) -> DecodedPage:
    """
    *body*'s records as *record_type*; *key_field* is what a person knows a rejected one by.

    Raises:
        PageUnreadable: it has no results at all.

    """
    # Escapes of NUL and of surrogates decode without complaint or break the decoder: look closer.
    if not _has_hostile_escape(body):
        try:
            page = _decoder(record_type).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return DecodedPage(page.results, [], body, None)
    return _one_by_one(body, record_type, key_field, lines_field)


def raw_records(body: bytes) -> Sequence[msgspec.Raw]:
    """Each record of a page that is strict JSON, as it came."""
    return _decode_raws(body).results


_NUL, _SURROGATES = b"u0000", (b"ud", b"uD")


def _has_hostile_escape(body: bytes) -> bool:
    """Whether an escape in *body* stands for NUL or for half a surrogate pair (or for a whole one)."""
    # From one backslash to the next: most pages have few, and to look for one byte is ten times as fast as for two.
    at = body.find(b"\\")
    while at >= 0:
        escape = body[at + 1 : at + 6]
        if escape == _NUL or escape.startswith(_SURROGATES):
            return True
        at = body.find(b"\\", at + 2)
    return False


def _one_by_one(body: bytes, record_type: type[msgspec.Struct], key_field: str, lines_field: str | None) -> DecodedPage:
    records, raws, rejected = [], [], []
    for raw, document in _documents(body):
        failure = _unstorable(document)
        if failure is None:
            try:
                records.append(msgspec.json.decode(raw, type=record_type))
            except msgspec.DecodeError as error:
                failure = _wrong_type(error, document)
            else:
                raws.append(raw)
                continue
        fields = document if isinstance(document, dict) else {}
        rejected.append(
            _rejected(raw, (failure,), fields, key_field, lines_field, digest_of=lambda it=document: it)  # type: ignore[misc]
        )
    return DecodedPage(records, rejected, body, raws)


def _documents(body: bytes) -> Iterator[tuple[bytes, Any]]:
    """Each record as bytes and as a plain value."""
    try:
        # What is no UTF-8 becomes half surrogates here, which only its own record is refused for.
        documents = _lenient.decode(body.decode("utf-8-sig", "surrogateescape"))["results"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PageUnreadable(f"A landed page is no page of results: {error}") from error
    if not isinstance(documents, list):
        raise PageUnreadable(f"A landed page is no page of results: they are of type {type(documents).__name__}")
    try:
        raws = [_readable_again(bytes(raw), document) for raw, document in zip(_decode_raws(body).results, documents)]  # noqa: B905  one list, read twice
    except (msgspec.DecodeError, RecursionError):
        # NaN or half a surrogate: strict JSON has no word for them, so the record is written anew.
        raws = [json.dumps(document).encode() for document in documents]
    return zip(raws, documents, strict=True)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else math.inf


_lenient = json.JSONDecoder(strict=False, parse_int=_integer)


def _readable_again(raw: bytes, document: Any) -> bytes:
    """*raw*, or *document* written anew where it holds what no JSON may: bytes that are no text, endless digits."""
    try:
        json.loads(raw)
    except ValueError:
        return json.dumps(document).encode()
    return raw


def rejection(raw: bytes, failures: tuple[Failure, ...], key_field: str, lines_field: str | None = None) -> Rejected:
    """*raw*, which could be read, as a rejected record, under its own id or, where it has none, a digest of itself."""
    head = _head(raw, key_field, lines_field)
    return _rejected(raw, failures, head, key_field, lines_field, digest_of=lambda: _lenient.decode(raw.decode()))


def _rejected(
    raw: bytes,
    failures: tuple[Failure, ...],
    fields: Mapping[str | None, Any],
    key_field: str,
    lines_field: str | None,
    *,
    digest_of: Callable[[], Any],
) -> Rejected:
    record_id, key, version = fields.get("id"), fields.get(key_field), fields.get("version")
    return Rejected(
        record_id=visible(record_id)
        if isinstance(record_id, str) and 0 < len(record_id) <= _ID_CHARACTERS
        else _digest(digest_of()),
        record_key=visible(key) if isinstance(key, str) else None,
        # Not isinstance: true is an int to Python, and to nobody else.
        version=version if type(version) is int and abs(version) < 2**63 else 0,
        failures=failures,
        raw=raw,
        lines=len(lines) if isinstance(lines := fields.get(lines_field), list) else 0,
    )


def _head(raw: bytes, key_field: str, lines_field: str | None) -> dict[str | None, Any]:
    """The few fields that a rejected record is known by; an order is a hundred times as long."""
    head = _head_decoder(key_field, lines_field).decode(raw)
    return {"id": head.id, "version": head.version, key_field: head.key, lines_field: head.lines}


@cache
def _head_decoder(key_field: str, lines_field: str | None) -> msgspec.json.Decoder[Any]:
    fields = ("id", "version", "key", "lines")
    return msgspec.json.Decoder(
        msgspec.defstruct(
            "Head",
            [*((name, Any, None) for name in fields[:3]), ("lines", list[_Anything] | None, None)],
            rename={"key": key_field, "lines": lines_field or "lines"},
        )
    )


class _Anything(msgspec.Struct):
    """Nothing of a line but that it is there."""


def _digest(document: Any) -> str:
    """The same for the same record, however its page was written."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def _unstorable(document: Any) -> Failure | None:
    """What in *document* no database could hold, if anything."""
    for path, value in _leaves(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            return _failure("number_is_finite", path, "a number that is none; have the source send a real one", value)
        if isinstance(value, str) and "\x00" in value:
            return _failure("text_is_storable", path, "text with a NUL in it; remove it at the source", value)
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return _failure("text_is_storable", path, "text with half a surrogate pair; send it as UTF-8", value)
    return None


def _wrong_type(error: msgspec.DecodeError, document: Any) -> Failure:
    said, _, at = str(error).partition(" - at `$")
    column = at.strip("`.") or "record"
    value: Any = document
    for step in column.split("."):
        value = value.get(step) if isinstance(value, dict) else value
    return _failure(f"{column}_is_readable", column, said, value)


def _failure(rule: str, column: str, message: str, value: Any) -> Failure:
    return Failure(rule=rule, column=visible(column), message=message, value=visible(str(value)[:_SHOWN_CHARACTERS]))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def sampled(body: bytes, records: int) -> list[Any]:
    """The first *records* of a page as plain values; of a page that is not strict JSON, none."""
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
    return msgspec.json.Decoder(page_type)
