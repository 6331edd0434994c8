"""
A landed page as typed records, one bad record at a time.

The fast way decodes the whole page into the record type. A page on which anything is odd takes the
slow way, record by record, so that a wrong type, a NaN, a NUL or half a surrogate sends its own record
to quarantine and no other.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from include.model.errors import Terminal
from include.model.quality import Failure, Rejected, visible

_SHOWN_CHARACTERS = 80


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


def decoded(body: bytes, record_type: type[msgspec.Struct], key_field: str) -> DecodedPage:
    """
    *body*'s records as *record_type*; *key_field* is what a person knows a rejected one by.

    Raises:
        PageUnreadable: it has no results at all.

    """
    # Escapes of NUL and of surrogates decode without complaint or break the decoder: look closer.
    if not any(mark in body for mark in (b"\\u0000", b"\\ud", b"\\uD")):
        try:
            page = _decoder(record_type).decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            return DecodedPage(page.results, [], body, None)
    return _one_by_one(body, record_type, key_field)


def _one_by_one(body: bytes, record_type: type[msgspec.Struct], key_field: str) -> DecodedPage:
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
        rejected.append(rejection(raw, (failure,), key_field, document))
    return DecodedPage(records, rejected, body, raws)


def _documents(body: bytes) -> Iterator[tuple[bytes, Any]]:
    """Each record as bytes and as a plain value."""
    try:
        page = json.loads(body)
        documents = page["results"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PageUnreadable(f"A landed page is no page of results: {error}") from error
    try:
        raws = [bytes(raw) for raw in _decode_raws(body).results]
    except msgspec.DecodeError:
        # NaN or half a surrogate: strict JSON has no word for them, so the record is written anew.
        raws = [json.dumps(document).encode() for document in documents]
    return zip(raws, documents, strict=True)


def rejection(raw: bytes, failures: tuple[Failure, ...], key_field: str, document: Any = None) -> Rejected:
    """*raw* as a rejected record, under its own id or, where it has none, a digest of itself."""
    if document is None:
        document = json.loads(raw)
    fields = document if isinstance(document, dict) else {}
    record_id, key, version = fields.get("id"), fields.get(key_field), fields.get("version")
    return Rejected(
        record_id=visible(record_id)
        if isinstance(record_id, str) and record_id
        else hashlib.sha256(raw).hexdigest()[:32],
        record_key=visible(key) if isinstance(key, str) else None,
        version=version if isinstance(version, int) and abs(version) < 2**63 else 0,
        failures=failures,
        raw=raw,
    )


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
    return Failure(rule=rule, column=column, message=message, value=visible(str(value)[:_SHOWN_CHARACTERS]))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


class _RawPage(msgspec.Struct):
    results: list[msgspec.Raw]


_decode_raws = msgspec.json.Decoder(_RawPage).decode


@cache
def _decoder(record_type: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    page_type = msgspec.defstruct(f"{record_type.__name__}Page", [("results", list[record_type])])  # type: ignore[valid-type]
    return msgspec.json.Decoder(page_type)
