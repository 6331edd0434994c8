"""SQL of the versions of declared workflows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from crossdock.db.database import Work
from crossdock.workflows.declared.model import Workflow


@dataclass(frozen=True, kw_only=True)
class StoredVersion:
    """One version of a workflow. It never changes."""

    workflow_id: str
    version: int
    title: str
    #: As it was written.
    definition: str
    webhooks: list[str]
    created_at: datetime
    created_by: str


_COLUMNS = b"workflow_id, version, title, definition, webhooks, created_at, created_by"

#: Two callers with versions of one workflow wait for each other.
_LOCK = b"SELECT pg_advisory_xact_lock(hashtextextended('workflow ' || %(workflow_id)s, 0))"

_ADD = (
    b"""
INSERT INTO workflow_version (workflow_id, version, title, definition, webhooks, created_by)
VALUES (%(workflow_id)s, %(version)s, %(title)s, %(definition)s, %(webhooks)s, %(actor)s)
RETURNING """
    + _COLUMNS
)

_VERSIONS = b"SELECT " + _COLUMNS + b" FROM workflow_version WHERE workflow_id = %(workflow_id)s ORDER BY version DESC"

#: The newest version of each workflow, in the order of their IDs.
_NEWEST = (
    b"SELECT DISTINCT ON (workflow_id) "
    + _COLUMNS
    + b" FROM workflow_version WHERE workflow_id > %(after)s ORDER BY workflow_id, version DESC LIMIT %(limit)s"
)

_WEBHOOKS = b"""
SELECT webhook, workflow_id
  FROM (SELECT DISTINCT ON (workflow_id) workflow_id, webhooks FROM workflow_version ORDER BY workflow_id, version DESC) AS newest,
       unnest(webhooks) AS webhook
"""


def lock(work: Work, workflow_id: str) -> None:
    """Keep others from adding a version of this workflow, until the transaction ends."""
    work.execute(_LOCK, {"workflow_id": workflow_id})


def add(work: Work, workflow: Workflow, definition: str, *, actor: str) -> StoredVersion:
    """Insert a version. Lock the workflow first."""
    values = {
        "workflow_id": workflow.id,
        "version": workflow.version,
        "title": workflow.title,
        "definition": definition,
        "webhooks": [trigger.webhook for trigger in workflow.triggers if trigger.webhook is not None],
        "actor": actor,
    }
    with work.cursor(row_factory=class_row(StoredVersion)) as cursor:
        (found,) = cursor.execute(_ADD, values).fetchall()
    return found


def versions(work: Work, workflow_id: str) -> list[StoredVersion]:
    """List the versions of a workflow, the newest first."""
    with work.cursor(row_factory=class_row(StoredVersion)) as cursor:
        return cursor.execute(_VERSIONS, {"workflow_id": workflow_id}).fetchall()


def newest(work: Work, *, after: str, limit: int) -> list[StoredVersion]:
    """List the newest version of each workflow whose ID comes after *after*."""
    with work.cursor(row_factory=class_row(StoredVersion)) as cursor:
        return cursor.execute(_NEWEST, {"after": after, "limit": limit}).fetchall()


def webhooks(work: Work) -> dict[str, str]:
    """Map each webhook to the workflow that it starts."""
    return dict(work.execute(_WEBHOOKS).fetchall())
