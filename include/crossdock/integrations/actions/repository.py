"""The last known outputs of reads that declare them as their fallback."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from crossdock.db.database import Work
from crossdock.integrations.actions.model import Document, Done, LastKnown

#: Two reads may end in any order: the database's clock decides which is the last.
_KEEP = b"""
INSERT INTO last_known_read (integration, action, input_digest, output, read_at)
VALUES (%(integration)s, %(action)s, %(input_digest)s, %(output)s, clock_timestamp())
ON CONFLICT (integration, action, input_digest) DO UPDATE SET output = excluded.output, read_at = excluded.read_at
 WHERE last_known_read.read_at < excluded.read_at
"""

_FIND = b"""
SELECT output, extract(epoch FROM clock_timestamp() - read_at)::float8 AS age_s
  FROM last_known_read
 WHERE integration = %(integration)s AND action = %(action)s AND input_digest = %(input_digest)s
   AND read_at > clock_timestamp() - make_interval(secs => %(oldest_s)s)
"""


def keep(work: Work, integration: str, action: str, given: Document, output: Document) -> None:
    """Remember the output of a read."""
    work.execute(_KEEP, {**_key(integration, action, given), "output": Jsonb(output)})


def find(work: Work, integration: str, action: str, given: Document, fallback: LastKnown) -> Done | None:
    """Find the last output of a read of the same input, with its age; None if there is none, or it is too old."""
    values = {**_key(integration, action, given), "oldest_s": fallback.last_known_s}
    found = work.execute(_FIND, values).fetchone()
    return Done(found[0], age_s=found[1]) if found else None


def _key(integration: str, action: str, given: Document) -> dict[str, Any]:
    # Only a digest: the input may name a person.
    digest = hashlib.sha256(msgspec.json.encode(given, order="deterministic")).digest()
    return {"integration": integration, "action": action, "input_digest": digest}
