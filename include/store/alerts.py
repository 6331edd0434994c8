"""What a person should hear of."""

from __future__ import annotations

from datetime import datetime

import msgspec

from include.store.database import Work


class Alert(msgspec.Struct, frozen=True):
    at: datetime
    kind: str
    subject: str
    message: str


#: One alert for each kind and subject: a run that is late and then fails is told of twice, not ten times.
_RAISE = b"""
INSERT INTO alert (kind, subject, message) VALUES (%(kind)s, %(subject)s, %(message)s)
ON CONFLICT (kind, subject) DO NOTHING
"""

_NEWEST = b"SELECT at, kind, subject, message FROM alert ORDER BY at DESC LIMIT %(limit)s"


def add(work: Work, *, kind: str, subject: str, message: str) -> None:
    work.execute(_RAISE, {"kind": kind, "subject": subject, "message": message})


def newest(work: Work, *, limit: int = 10) -> list[Alert]:
    return [Alert(*row) for row in work.execute(_NEWEST, {"limit": limit})]
