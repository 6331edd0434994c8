"""SQL of the versions of declared workflows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.model import Position
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
    #: When a test run of it last completed; None if none has.
    tested_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The version of a workflow that new executions begin with."""

    workflow_id: str
    version: int
    title: str
    #: As it was written.
    definition: str
    deployed_at: datetime
    deployed_by: str


_COLUMNS = b"workflow_id, version, title, definition, webhooks, created_at, created_by, tested_at"

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

_TESTED = b"""
UPDATE workflow_version SET tested_at = clock_timestamp(), tested_by = %(actor)s
 WHERE workflow_id = %(workflow_id)s AND version = %(version)s
"""

_DEPLOY = b"""
INSERT INTO workflow_deployment (workflow_id, version, deployed_by, since_epoch, since_xid)
VALUES (%(workflow_id)s, %(version)s, %(actor)s, %(since_epoch)s, %(since_xid)s)
ON CONFLICT (workflow_id) DO UPDATE
   SET version = excluded.version, deployed_by = excluded.deployed_by, deployed_at = clock_timestamp()
"""

_UNDEPLOY = b"DELETE FROM workflow_deployment WHERE workflow_id = %(workflow_id)s RETURNING version"

_DEPLOYED = b"""
SELECT workflow_id, version, title, definition, deployed_at, deployed_by
  FROM workflow_deployment JOIN workflow_version USING (workflow_id, version)
 WHERE %(workflow_ids)s::text[] IS NULL OR workflow_id = ANY(%(workflow_ids)s)
 ORDER BY workflow_id
"""

#: What was stored before a workflow was deployed starts no execution of it.
_BY_EVENTS = b"SELECT workflow_id, version, since_epoch, since_xid FROM workflow_deployment ORDER BY workflow_id"

#: Of versions that are deployed no more.
_AT_WORK = b"""
SELECT definition FROM workflow_version
 WHERE 'workflow.' || workflow_id || '.v' || version = ANY(ARRAY(
    SELECT DISTINCT flow FROM execution WHERE flow LIKE 'workflow.%' AND ended_at IS NULL))
   AND (workflow_id, version) NOT IN (SELECT workflow_id, version FROM workflow_deployment)
"""

_OF_VERSION = (
    b"SELECT " + _COLUMNS + b" FROM workflow_version WHERE workflow_id = %(workflow_id)s AND version = %(version)s"
)

#: Two deployments write their snapshots one after the other.
_LOCK_DEPLOYMENTS = b"SELECT pg_advisory_xact_lock(hashtextextended('workflow deployments', 0))"

_WEBHOOKS = b"""
SELECT webhook, workflow_id
  FROM (SELECT DISTINCT ON (workflow_id) workflow_id, webhooks FROM workflow_version ORDER BY workflow_id, version DESC) AS newest,
       unnest(webhooks) AS webhook
"""

_DEPLOYED_WEBHOOKS = b"""
SELECT webhook, workflow_id FROM workflow_deployment JOIN workflow_version USING (workflow_id, version), unnest(webhooks) AS webhook
 WHERE webhook = ANY(%(webhooks)s) ORDER BY webhook, workflow_id
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


def deployed_webhooks(work: Work, webhooks: Collection[str]) -> list[tuple[str, str]]:
    """List which of *webhooks* the workflows have that are deployed: webhook and workflow."""
    return [(webhook, owner) for webhook, owner in work.execute(_DEPLOYED_WEBHOOKS, {"webhooks": list(webhooks)})]


def version_of(work: Work, workflow_id: str, version: int) -> StoredVersion | None:
    """Read one version; None if there is none."""
    with work.cursor(row_factory=class_row(StoredVersion)) as cursor:
        return cursor.execute(_OF_VERSION, {"workflow_id": workflow_id, "version": version}).fetchone()


def mark_tested(work: Work, workflow_id: str, version: int, *, actor: str) -> None:
    """Record that a test run of a version has completed."""
    work.execute(_TESTED, {"workflow_id": workflow_id, "version": version, "actor": actor})


def deploy(work: Work, workflow_id: str, version: int, *, actor: str) -> None:
    """Have new executions begin with a version."""
    since = event_store.horizon(work)
    values = {"workflow_id": workflow_id, "version": version, "actor": actor}
    work.execute(_DEPLOY, {**values, "since_epoch": since.epoch, "since_xid": since.xid})


def undeploy(work: Work, workflow_id: str) -> int | None:
    """Have no new execution begin; return the version that was deployed, None if none was."""
    row = work.execute(_UNDEPLOY, {"workflow_id": workflow_id}).fetchone()
    return row[0] if row else None


def lock_deployments(work: Work) -> None:
    """Keep others from deploying, or writing what is deployed, until the transaction ends."""
    work.execute(_LOCK_DEPLOYMENTS)


def deployments(work: Work, workflow_ids: Collection[str] | None = None) -> list[Deployment]:
    """List what is deployed; None for all."""
    values = {"workflow_ids": list(workflow_ids) if workflow_ids is not None else None}
    with work.cursor(row_factory=class_row(Deployment)) as cursor:
        return cursor.execute(_DEPLOYED, values).fetchall()


def deployed_since(work: Work) -> list[tuple[str, int, Position]]:
    """List what is deployed: workflow, version, and the place in the event store from which on events start it."""
    return [(name, version, Position(epoch, xid, 0)) for name, version, epoch, xid in work.execute(_BY_EVENTS)]


def definitions_at_work(work: Work) -> list[str]:
    """List the definitions of the versions that are deployed no more and have executions that have not ended."""
    return [row[0] for row in work.execute(_AT_WORK)]
