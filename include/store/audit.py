"""Who did what to which record, for every change a person makes."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from include.store.database import Work

_ADD = b"""
INSERT INTO audit_entry (actor, act, subject, detail) VALUES (%(actor)s, %(act)s, %(subject)s, %(detail)s)
"""


def add(work: Work, *, actor: str, act: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """One entry, in the transaction of the change it tells of."""
    work.execute(_ADD, {"actor": actor, "act": act, "subject": subject, "detail": Jsonb(detail or {})})
