"""Pages by cursor: each says where the next begins, so that what comes meanwhile neither shifts nor repeats a row."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

LARGEST_PAGE = 500

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]


def cursor_like(pattern: str) -> Any:
    """
    The parameter of a cursor that is whatever keeps *pattern*.

    Not signed and not hidden: it names a place in the order, whether or not something stands there, and gives no right
    to anything. A client takes it as it comes.
    """
    return Query(pattern=pattern, max_length=200, description="`next_cursor` of the page before; absent for the first.")
