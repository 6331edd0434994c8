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


#: The first entry whose hash is not that of its content behind the one before it, or whose number does not follow.
_FIRST_BROKEN = b"""
SELECT min(chain_no) FROM (
    SELECT entry.chain_no, entry.hash,
           audit_hash(coalesce(lag(entry.hash) OVER before, ''::bytea), entry) AS wanted,
           coalesce(lag(entry.chain_no) OVER before, 0) + 1 AS follows
      FROM audit_entry AS entry WINDOW before AS (ORDER BY entry.chain_no)) AS chained
 WHERE hash IS DISTINCT FROM wanted OR chain_no <> follows
"""


def first_broken(work: Work) -> int | None:
    """
    The number of the first entry that was changed, or before which one is missing; None when the chain holds.

    Entries that were cut off its end cannot be seen from within: note the last hash elsewhere from time to time.
    """
    row = work.execute(_FIRST_BROKEN).fetchone()
    return None if row is None or row[0] is None else int(row[0])
