"""Keyset pagination: each page names the start of the next, so that new rows neither shift nor repeat others."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

LARGEST_PAGE = 500

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="At most this many per page.")]


def cursor_like(pattern: str) -> Any:
    """
    Declare the parameter of a cursor that matches *pattern*.

    A cursor is neither signed nor hidden: it names a position in the order, whether or not a row is there, and grants
    nothing. For clients it is opaque.
    """
    return Query(
        pattern=pattern, max_length=200, description="`next_cursor` of the previous page; absent for the first."
    )
