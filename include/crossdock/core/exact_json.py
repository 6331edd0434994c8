"""JSON whose numbers keep every digit: a number with a fraction is a Decimal, never a float."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

#: Python refuses to convert longer whole numbers.
_INTEGER_DIGITS = 4_000


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else Decimal("Infinity")


def _fraction(digits: str) -> Decimal:
    """Read a number with a fraction or an exponent; one beyond what a Decimal holds is infinite, as a long whole number is."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("Infinity")


#: Lenient: control characters in text, and NaN, are the fault of one record, not of its page.
_decoder = json.JSONDecoder(strict=False, parse_int=_integer, parse_float=_fraction, parse_constant=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted")


def decode(text: str) -> Any:
    """
    Decode *text*.

    Raises:
        ValueError, RecursionError: it is not JSON, or nests too deeply.

    """
    return _decoder.decode(text)


def encode(value: Any, *, in_order: bool = False) -> bytes:
    """
    Encode *value* as `decode` gave it; *in_order* sorts the names of objects.

    Half a surrogate pair becomes its escape, which JSON can express and UTF-8 cannot.
    """
    encoder = _sorted if in_order else _encoder
    try:
        return encoder.encode(value)
    except UnicodeEncodeError:
        return encoder.encode(_escaped(value))


def is_same(one: Any, other: Any) -> bool:
    """Compare two documents as they are written: `true` is not 1, and 1.0 is not 1. The order of names does not count."""
    return encode(one, in_order=True) == encode(other, in_order=True)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name.encode("utf-8", "backslashreplace").decode(): _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return msgspec.Raw(json.dumps(value).encode()) if isinstance(value, str) else value
