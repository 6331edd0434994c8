"""Refused webhooks, counted per hour and reason: anybody can send them, so none of them is stored."""

from __future__ import annotations

from crossdock.db.database import Work

_ADD = b"""
INSERT INTO refused_webhook AS kept (integration, hour, reason, times, bytes)
VALUES (%(integration)s, date_trunc('hour', clock_timestamp(), 'UTC'), %(reason)s, 1, %(size_bytes)s)
ON CONFLICT (integration, hour, reason) DO UPDATE
   SET times = kept.times + 1, bytes = kept.bytes + excluded.bytes, last_at = clock_timestamp()
"""

#: The reason of those that are the sender's, and have a card number or a security code in them.
CARD_DATA = "card data"


def add(work: Work, integration: str, reason: str, *, size_bytes: int) -> None:
    """Count one more webhook that was refused because of *reason*."""
    work.execute(_ADD, {"integration": integration, "reason": reason, "size_bytes": size_bytes})
