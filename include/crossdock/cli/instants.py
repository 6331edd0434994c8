"""Times and days on the command line: one way to write them, one message for what cannot be read."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import typer

from crossdock.core.instants import from_utc_text, utc_text


def instant_option(name: str, meaning: str) -> Any:
    """Declare an option that takes a time with its zone: `Annotated[datetime, …]`."""
    return typer.Option(
        name, parser=_instant, metavar="INSTANT", help=f"{meaning} A day (UTC) or a time with its zone."
    )


def day_option(name: str, meaning: str) -> Any:
    """Declare an option that takes a day."""
    return typer.Option(name, parser=_day, metavar="DAY", help=meaning)


def _instant(text: str) -> datetime:
    try:
        return from_utc_text(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"Cannot read {text!r} as a day. Use for example 2026-11-21") from error


def optional_text(instant: datetime | None) -> str | None:
    """Format *instant* for a request; None stays None."""
    return utc_text(instant) if instant else None


def shown(text: str | None) -> str:
    """Shorten an instant of the API for a table: `2026-11-21 09:30:00`."""
    return text[:19].replace("T", " ") if text else ""
