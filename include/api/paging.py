"""Pages by cursor: each says where the next begins, so that what comes meanwhile neither shifts nor repeats a row."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import Annotated, TypeVar

import msgspec
from fastapi import Query

from include.api.problems import Problem
from include.model.integration import FieldError

T = TypeVar("T")

LARGEST_PAGE = 500

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]
CursorText = Annotated[
    str | None, Query(max_length=512, description="`next_cursor` of the page before; absent for the first.")
]


def cursor_of(place: object) -> str:
    """*place* as opaque text. Not signed: it says where to go on, and gives no right to anything."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str | None, kind: type[T]) -> T | None:
    """
    The place that *cursor* names; None for the first page.

    Raises:
        Problem: 400, it is none of ours.

    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (msgspec.DecodeError, UnicodeError, binascii.Error, ValueError) as error:
        raise _no_cursor() from error
    if "\x00" in str(place):
        raise _no_cursor()
    return place


def _no_cursor() -> Problem:
    message = "is no cursor of this API; leave it out to begin at the first page"
    errors = (FieldError("cursor", message),)
    return Problem(HTTPStatus.BAD_REQUEST, "bad-request", f"The cursor {message}", errors=errors)
