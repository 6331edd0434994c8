"""Format and parse instants: timezone-aware, UTC, ISO 8601 with milliseconds and a Z."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(instant: datetime) -> str:
    """Format *instant* as `2026-11-21T01:17:45.120Z`. A naive datetime is refused: nobody knows what it means."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone; use an aware instant such as 2026-11-21T00:00:00Z")
    # Not strftime: it writes the year 999 with three digits.
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


_A_DAY = len("2026-11-21")


def from_utc_text(text: str) -> datetime:
    """
    Parse *text* into an aware instant; a plain day is its midnight in UTC.

    Raises:
        ValueError: it is not a timestamp, or has no time zone; the message says how to write it.

    """
    try:
        instant = datetime.fromisoformat(f"{text}T00:00:00+00:00" if len(text) == _A_DAY else text)
    except ValueError as error:
        raise ValueError(f"Cannot read {text!r} as a time. Use 2026-11-21 or 2026-11-21T09:30:00Z") from error
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone. For UTC, use {text}Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is outside the calendar in UTC") from error
