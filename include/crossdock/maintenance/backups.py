"""A hub whose newest backup is too old."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta

from crossdock.db.database import Work
from crossdock.observability.alerts import Found

_SUBJECT = "the hub's backup"

#: Without a backup yet, since the hub is there.
_OLD = b"""
SELECT coalesce(backed_up_at, created_at), backed_up_at IS NULL FROM installation
 WHERE coalesce(backed_up_at, created_at) < clock_timestamp() - %(most)s
"""


def too_old(work: Work, most: timedelta) -> Mapping[str, Found]:
    """Find out whether the newest backup is older than *most*; nothing is checked if that is zero."""
    row = work.execute(_OLD, {"most": most}).fetchone() if most else None
    if row is None:
        return {}
    since = f"{row[0].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return {_SUBJECT: Found(f"There is no backup yet, since {since}" if row[1] else f"The newest backup is of {since}")}
