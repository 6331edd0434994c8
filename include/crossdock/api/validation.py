"""What no parameter of any route goes beyond."""

from __future__ import annotations

#: Texts without control signs: they are written into logs and compared with what people typed.
PLAIN = r"^[^\x00-\x1f\x7f]+$"

#: The largest whole number that every reader of JSON holds exactly (RFC 7493); more ids than that there will not be.
MOST_EXACT = 2**53 - 1
