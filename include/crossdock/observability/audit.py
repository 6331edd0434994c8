"""The audit trail: who did what to which record, for every change that a person makes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice, zip_longest
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from crossdock.core.storable import storable, visible
from crossdock.db.database import Work

_MASK = "***"

_ADD = b"""
INSERT INTO audit_entry (actor, act, subject, detail) VALUES (%(actor)s, %(act)s, %(subject)s, %(detail)s)
"""


def add(work: Work, *, actor: str, act: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Append an entry, in the transaction of the change that it records."""
    work.execute(_ADD, {"actor": actor, "act": act, "subject": subject, "detail": Jsonb(detail or {})})


class Entry(msgspec.Struct, frozen=True):
    """One entry of the audit trail."""

    entry_id: int
    at: datetime
    actor: str
    act: str
    subject: str
    detail: dict[str, Any]


#: An act names itself, or all that begin with it and a dot.
_FIND = b"""
SELECT entry_id, at, actor, act, subject, detail FROM audit_entry
 WHERE (%(actor)s::text IS NULL OR actor = %(actor)s) AND (%(subject)s::text IS NULL OR subject = %(subject)s)
   AND (%(act)s::text IS NULL OR act = %(act)s OR starts_with(act, %(act)s || '.'))
   AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
   AND (%(before)s::bigint IS NULL OR entry_id < %(before)s)
 ORDER BY entry_id DESC LIMIT %(limit)s
"""


def find(
    work: Work,
    *,
    actor: str | None = None,
    subject: str | None = None,
    act: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Entry]:
    """List entries, latest first: at most *limit* before the entry *before* (keyset pagination)."""
    values = {"actor": actor, "subject": subject, "act": act, "since": since, "until": until}
    found = work.cursor(row_factory=class_row(Entry)).execute(_FIND, {**values, "before": before, "limit": limit})
    return found.fetchall()


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """
    Describe a change for the detail of its entry: field → `from` and `to`, for each field that differs.

    An object's fields are named one by one (`settings.project`); None stands for a field that is not there.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            inner = differences(old if isinstance(old, Mapping) else {}, new if isinstance(new, Mapping) else {})
            found |= {f"{name}.{field}": change for field, change in inner.items()}
        else:
            found[name] = {"from": old, "to": new}
    return found


class Changes(msgspec.Struct, frozen=True):
    """What an edit changed in a document."""

    #: Place → `from` and `to`, such as `lines.0.sku`; at most MOST_PLACES.
    places: dict[str, dict[str, Any]]
    #: How many more places the edit changed.
    left_out: int


#: The most places of one edit that the audit trail has: it is never deleted, and a document may be large.
MOST_PLACES = 100


def changes_of_document(before: Mapping[str, Any], after: Mapping[str, Any], *, shown: Collection[str]) -> Changes:
    """
    Describe the edit of a JSON document: each place that differs.

    Other than of settings, each value counts as JSON has it: 1 is not true. None stands for what is not there, too. The trail is
    never deleted: it has the values of the top-level fields in *shown*, and of all others only the places, since nobody knows
    whether they are about a person.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({*before, *after}):
        found |= _changes(before.get(name), after.get(name), is_shown=name in shown, at=name)
    return Changes(dict(islice(found.items(), MOST_PLACES)), max(0, len(found) - MOST_PLACES))


def _changes(before: Any, after: Any, *, is_shown: bool, at: str) -> dict[str, dict[str, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        inner = [(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    elif isinstance(before, list) and isinstance(after, list):
        pairs = zip_longest(before, after)
        inner = [(str(number), old, new) for number, (old, new) in enumerate(pairs)]
    else:
        if json.dumps(before) == json.dumps(after):
            return {}
        kept = (storable(before), storable(after)) if is_shown else (_MASK, _MASK)
        return {visible(at): dict(zip(("from", "to"), kept, strict=True))}
    found: dict[str, dict[str, Any]] = {}
    for name, old, new in inner:
        found |= _changes(old, new, is_shown=is_shown, at=f"{at}.{name}")
    return found


#: The newest first: what was done last is what is in force.
_LAST = b"""
SELECT entry_id, at, actor, act, subject, detail FROM audit_entry
 WHERE subject = %(subject)s AND act = ANY(%(acts)s) AND actor <> ALL(%(not_by)s)
 ORDER BY entry_id DESC LIMIT 1
"""


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
