"""Read a value of a declared system as its declared type. Pure."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from crossdock.connectors.declarative.model import Field, ValueType
from crossdock.core import exact_json

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT8 = range(-(2**63), 2**63)
#: Beyond any price, and the longest number that is worth its digits.
_LARGEST_EXPONENT = 30
#: PostgreSQL's own limits are far beyond; a number like 1e999999 would take a megabyte.
_LARGEST_JSON_EXPONENT = 300
#: As people and systems write numbers. Python alone would also read 1_000, ١٢ and NaN.
_NUMBER = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,6})?\s*")
#: ASP.NET's JSON. The milliseconds are UTC; an offset behind them is only how they were shown.
_DOTNET = re.compile(r"/Date\((-?[0-9]+)([+-][0-9]{4})?\)/")
_A_DAY = len("2026-11-21")


class Unreadable(Exception):
    """A value is not what was declared. The text says what was expected."""


def read(field: Field, value: Any) -> Any:
    """
    Read *value* as *field* declares; None for no value.

    Raises:
        Unreadable: it does not have the declared type, or it is empty where that is refused.

    """
    if isinstance(value, str) and not value.strip():
        match field.empty or ("keep" if field.type in {"text", "json"} else "reject"):
            case "null":
                return None
            case "reject":
                raise Unreadable("a value that is not empty")
    return None if value is None else _READERS[field.type](value, field)


def instant(value: Any, written: str, zone: str) -> datetime:
    """
    Read an instant, *written* in one of the formats of a declaration; one without a zone is in *zone*.

    Raises:
        Unreadable: it is written otherwise, or nobody knows its zone.

    """
    try:
        found = _FORMATS.get(written, lambda text: datetime.strptime(text, written))(value)  # noqa: DTZ007  zone below
        if found.tzinfo is None:
            if not zone and written == "iso" and len(value) == _A_DAY:
                zone = "UTC"  # a plain day is its midnight in UTC, as everywhere in the hub
            if not zone:
                raise Unreadable("an instant with its zone; if the system means one, declare `zone`")
            found = found.replace(tzinfo=_zone(zone))
        return found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        example = _EXAMPLES.get(written, written)
        raise Unreadable(f"an instant like {example}; if the system writes another, declare its `format`") from error


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _iso(value: Any) -> datetime:
    return datetime.fromisoformat(f"{value}T00:00:00" if len(value) == _A_DAY else value)


def _since_epoch(value: Any, per_second: int) -> datetime:
    microseconds = _number(value) * (1_000_000 // per_second)
    return EPOCH + timedelta(microseconds=int(microseconds))


def _rfc2822(value: Any) -> datetime:
    found = email.utils.parsedate_to_datetime(value)
    # `-0000` is UTC without a place (RFC 5322 3.3); without any zone, it is not known.
    return found.replace(tzinfo=UTC) if found.tzinfo is None and value.rstrip().endswith("-0000") else found


def _dotnet(value: Any) -> datetime:
    found = _DOTNET.fullmatch(value)
    if found is None:
        raise ValueError(value)
    return _since_epoch(found[1], 1_000)


_FORMATS: Mapping[str, Callable[[Any], datetime]] = {
    "iso": _iso,
    "epoch_s": lambda value: _since_epoch(value, 1),
    "epoch_ms": lambda value: _since_epoch(value, 1_000),
    "rfc2822": _rfc2822,
    "dotnet": _dotnet,
}
_EXAMPLES = {
    "iso": "2026-11-21T09:30:00Z",
    "epoch_s": "1795253400",
    "epoch_ms": "1795253400000",
    "rfc2822": "Sat, 21 Nov 2026 09:30:00 +0000",
    "dotnet": "/Date(1795253400000)/",
}


def _number(value: Any) -> Decimal:
    """Read a number of at most a sensible size, to its last digit."""
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise ValueError(value)
    number = Decimal(value)
    if not number.is_finite() or not -_LARGEST_EXPONENT < number.adjusted() < _LARGEST_EXPONENT:
        raise ValueError(value)
    return number


def _text(value: Any, _: Field) -> str:
    if isinstance(value, bool | dict | list):
        raise Unreadable("text")
    return value if isinstance(value, str) else exact_json.encode(value).decode()


def _integer(value: Any, _: Field) -> int:
    try:
        number = _number(value)
    except ValueError:
        number = None
    if number is None or number != int(number) or int(number) not in _INT8:
        raise Unreadable("a 64-bit whole number")
    return int(number)


def _decimal(value: Any, _: Field) -> str:
    try:
        return format(_number(value), "f")
    except ValueError as error:
        raise Unreadable("a decimal number like 1234.50") from error


def _boolean(value: Any, _: Field) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise Unreadable("true or false")


def _json(value: Any, _: Field) -> str:
    _refuse_huge(value)
    return exact_json.encode(value, in_order=True).decode()


def _refuse_huge(value: Any) -> None:
    if isinstance(value, Decimal) and abs(value.adjusted()) > _LARGEST_JSON_EXPONENT:
        raise Unreadable("numbers that can be stored")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_huge(inner)


_READERS: Mapping[ValueType, Callable[[Any, Field], Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "instant": lambda value, field: instant(value, field.format, field.zone),
    "json": _json,
}
