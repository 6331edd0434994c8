"""Bounds of the parameters of every route."""

from __future__ import annotations

#: Plain text, without control characters: it is written into logs and compared with what people typed.
PLAIN = r"^[^\x00-\x1f\x7f]+$"

#: The largest whole number that every JSON parser keeps exact (RFC 7493). There will never be more ids than that.
MOST_EXACT = 2**53 - 1
