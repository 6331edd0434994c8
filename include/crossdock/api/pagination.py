"""Keyset pagination: each page names the start of the next, so that new rows neither shift nor repeat others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query

from crossdock.core.errors import BadRequest
from crossdock.core.pages import LARGEST_PAGE

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="At most this many per page.")]


def cursor_like(pattern: str, *, longest: int = 200) -> Any:
    """
    Declare the parameter of a cursor that matches *pattern*.

    A cursor is neither signed nor hidden: it names a position in the order, whether or not a row is there, and grants
    nothing. For clients it is opaque.
    """
    return Query(
        pattern=pattern, max_length=longest, description="`next_cursor` of the previous page; absent for the first."
    )


def cursor_at(instant: datetime, record_id: str) -> str:
    """Write the cursor of a list that is ordered by an instant and an ID: `<microseconds since 1970>-<ID>`."""
    return f"{round(instant.timestamp() * 1_000_000)}-{record_id}"


def position_of(cursor: str) -> tuple[datetime, str]:
    """
    Read the instant and the ID of what `cursor_at` wrote.

    Raises:
        BadRequest: the instant is beyond all that there are.

    """
    micros, _, record_id = cursor.partition("-")
    seconds, rest = divmod(int(micros), 1_000_000)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest), record_id
    except (ValueError, OverflowError, OSError) as error:
        raise BadRequest("The cursor is not one of this list") from error
