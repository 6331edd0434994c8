"""Bounds of the parameters of every route."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

#: Plain text, without control characters: it is written into logs and compared with what people typed.
PLAIN = r"^[^\x00-\x1f\x7f]+$"

#: Text with at least one visible character: all else counts as blank, as with Python's `strip`.
NOT_BLANK = r"[^\s\x00-\x20\x7f-\xa0]"

#: The largest whole number that every JSON parser keeps exact (RFC 7493). There will never be more ids than that.
MOST_EXACT = 2**53 - 1


def _refuse_number(value: Any) -> Any:
    if not isinstance(value, str | None):
        raise ValueError("must be a timestamp such as 2026-11-21T09:30:00Z")  # noqa: TRY004  pydantic expects it
    return value


#: A timestamp in a body. pydantic would take a number for the seconds since 1970, which no schema of ours allows.
Timestamp = Annotated[AwareDatetime, BeforeValidator(_refuse_number)]
