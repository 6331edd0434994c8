"""Keyset pagination: each page names the start of the next, so that new rows neither shift nor repeat others."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query

from crossdock.app.airflow import systems
from crossdock.core.errors import BadRequest
from crossdock.core.pages import LARGEST_PAGE
from crossdock.sync.dataset import LONGEST_INDEXED
from crossdock.sync.run_rows_repository import Place

_FOREIGN = "The cursor is not one of this list. Begin without a cursor"
#: No NUL and no half of a surrogate pair: PostgreSQL has none in a text.
_ROW_PLACE = re.compile(r"(?P<outcome>[a-z]{1,20})\.(?P<version>-?[0-9]{1,19})\.(?P<record_id>[^\x00\ud800-\udfff]*)")
#: Of a version, a `bigint`.
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="At most this many per page.")]


def cursor_like(pattern: str, *, longest: int = 200) -> Any:
    """
    Declare the parameter of a cursor that matches *pattern*.

    A cursor names a position in the order, whether or not a row is there, and grants nothing. For clients it is opaque; one that
    would name what the list masks is sealed.
    """
    return Query(
        pattern=pattern, max_length=longest, description="`next_cursor` of the previous page; absent for the first."
    )


#: What `cursor_of_row` writes, of the outcome, the version and the record's ID: each character of it is at most four bytes, and
#: all of it grows by a third and a little.
RowCursor = Annotated[str | None, cursor_like(r"^[A-Za-z0-9_=-]+$", longest=200 + 6 * LONGEST_INDEXED)]


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


def sealed(place: str) -> str:
    """Write the cursor of a *place* that the list itself would mask: only the hub can read it, with Airflow's Fernet key."""
    cipher, data = systems.cipher(), place.encode(errors="surrogatepass")
    return (cipher.encrypt(data) if cipher else urlsafe_b64encode(data)).decode()


def opened(cursor: str) -> str:
    """
    Read the place in what `sealed` wrote.

    Without a Fernet key anybody can write such a cursor: who calls this checks the place.

    Raises:
        BadRequest: it cannot be read: it is not of this hub, or was written before its key was changed.

    """
    from cryptography.fernet import InvalidToken  # noqa: PLC0415  only where a cursor is sealed

    cipher = systems.cipher()
    try:
        data = cipher.decrypt(cursor.encode()) if cipher else urlsafe_b64decode(cursor)
        return data.decode(errors="surrogatepass")
    except (InvalidToken, ValueError) as error:
        raise BadRequest(_FOREIGN) from error


def cursor_of_row(place: Place) -> str:
    """Write the cursor of a row of a run, whose ID may be a personal key."""
    record_id, version, outcome = place
    return sealed(f"{outcome}.{version}.{record_id}")


def place_of_row(cursor: str) -> Place:
    """
    Read the place in a cursor of rows.

    Raises:
        BadRequest: `cursor_of_row` did not write it.

    """
    found = _ROW_PLACE.fullmatch(opened(cursor))
    if found is None or not _SMALLEST <= (version := int(found["version"])) <= _LARGEST:
        raise BadRequest(_FOREIGN)
    return found["record_id"], version, found["outcome"]
