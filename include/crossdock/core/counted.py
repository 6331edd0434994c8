"""Numbers of things in sentences: `1 record`, `2 records`."""

from __future__ import annotations


def counted(number: int, what: str, many: str | None = None) -> str:
    """Write *number* with *what*, which is one of them; *many* where the plural is more than an s."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"
