"""Mistakes of a mapped value that a schema cannot see: its words do not fit each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from crossdock.connectors.declarative.model import INSTANT_FORMATS, Field


def mistakes_of(at: str, field: Field) -> Iterator[tuple[str, str]]:
    """Yield place and mistake of a *field* that is declared *at*."""
    if field.empty == "keep" and field.type not in {"text", "json"}:
        yield f"{at}/empty", f"keep is for text and json: an empty {field.type} does not exist"
    if field.type != "instant" and (field.format != "iso" or field.zone):
        yield f"{at}/type", "must be instant for `format` and `zone`"
    if field.zone and not _is_zone(field.zone):
        yield f"{at}/zone", f"{field.zone!r} is not a time zone (expected something like Europe/Berlin)"
    if field.format not in INSTANT_FORMATS and not _is_pattern(field.format):
        yield f"{at}/format", f"must be one of {', '.join(INSTANT_FORMATS)}, or a pattern like %d.%m.%Y %H:%M"


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ValueError, KeyError, OSError):  # not a name, no such zone, a folder of zones
        return False


def _is_pattern(text: str) -> bool:
    try:
        return "%" in text and bool(datetime.strptime(datetime(2026, 11, 21).strftime(text), text))  # noqa: DTZ001, DTZ007  no instant
    except ValueError:
        return False
