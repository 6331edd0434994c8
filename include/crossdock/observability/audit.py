"""Who did what to which record, for every change a person makes."""

from __future__ import annotations

from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from crossdock.db.database import Work

_ADD = b"""
INSERT INTO audit_entry (actor, act, subject, detail) VALUES (%(actor)s, %(act)s, %(subject)s, %(detail)s)
"""


def add(work: Work, *, actor: str, act: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """One entry, in the transaction of the change it tells of."""
    work.execute(_ADD, {"actor": actor, "act": act, "subject": subject, "detail": Jsonb(detail or {})})


class Chain(msgspec.Struct, frozen=True):
    """The audit trail as it stands."""

    entries: int
    #: The number of the first entry that was changed, or before which one is missing; None while the chain holds.
    broken_at: int | None
    #: The hash of its last entry, in hexadecimal; None of an empty one.
    last_hash: str | None


#: Broken is an entry whose hash is not that of its content behind the one before it, or whose number does not follow.
_VERIFY = b"""
SELECT count(*), min(chain_no) FILTER (WHERE hash IS DISTINCT FROM wanted OR chain_no <> follows),
       encode((array_agg(hash ORDER BY chain_no DESC))[1], 'hex') FROM (
    SELECT entry.chain_no, entry.hash,
           audit_hash(coalesce(lag(entry.hash) OVER before, ''::bytea), entry) AS wanted,
           coalesce(lag(entry.chain_no) OVER before, 0) + 1 AS follows
      FROM audit_entry AS entry WINDOW before AS (ORDER BY entry.chain_no)) AS chained
"""


def verify(work: Work) -> Chain:
    """
    Whether the trail is as it was written.

    Entries that were cut off its end cannot be seen from within: note the last hash elsewhere from time to time.
    """
    return Chain(*(work.execute(_VERIFY).fetchone() or (0, None, None)))
