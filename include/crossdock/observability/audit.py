"""The audit trail: who did what to which record, for every change that a person makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from crossdock.db.database import Work

_ADD = b"""
INSERT INTO audit_entry (actor, act, subject, detail) VALUES (%(actor)s, %(act)s, %(subject)s, %(detail)s)
"""


def add(work: Work, *, actor: str, act: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Append an entry, in the transaction of the change that it records."""
    work.execute(_ADD, {"actor": actor, "act": act, "subject": subject, "detail": Jsonb(detail or {})})


#: The newest first: what was done last is what is in force.
_LAST = b"""
SELECT actor, act FROM audit_entry
 WHERE subject = %(subject)s AND act = ANY(%(acts)s) AND actor <> ALL(%(not_by)s)
 ORDER BY entry_id DESC LIMIT 1
"""


class Entry(msgspec.Struct, frozen=True):
    """Who did what."""

    actor: str
    act: str


def last(work: Work, subject: str, acts: Sequence[str], *, not_by: Sequence[str]) -> Entry | None:
    """Find the last of *acts* on *subject* by anybody but *not_by*; None if there was none."""
    values = {"subject": subject, "acts": list(acts), "not_by": list(not_by)}
    return work.cursor(row_factory=class_row(Entry)).execute(_LAST, values).fetchone()


class Chain(msgspec.Struct, frozen=True):
    """The state of the audit trail."""

    entries: int
    #: Number of the first entry that was changed, or before which one is missing; None while the chain is intact.
    broken_at: int | None
    #: Hash of the last entry, in hexadecimal; None if the trail is empty.
    last_hash: str | None


#: An entry is broken if its hash does not match its content and the hash before it, or if its number does not follow.
_VERIFY = b"""
SELECT count(*), min(chain_no) FILTER (WHERE hash IS DISTINCT FROM expected OR chain_no <> follows),
       encode((array_agg(hash ORDER BY chain_no DESC))[1], 'hex') FROM (
    SELECT entry.chain_no, entry.hash,
           audit_hash(coalesce(lag(entry.hash) OVER before, ''::bytea), entry) AS expected,
           coalesce(lag(entry.chain_no) OVER before, 0) + 1 AS follows
      FROM audit_entry AS entry WINDOW before AS (ORDER BY entry.chain_no)) AS chained
"""


def verify(work: Work) -> Chain:
    """
    Verify that no entry was changed or removed.

    Removal of the latest entries cannot be detected from the trail itself: store the last hash in another place from time to time.
    """
    return Chain(*(work.execute(_VERIFY).fetchone() or (0, None, None)))
