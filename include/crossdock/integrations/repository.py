"""The registry of integrations. It stores settings only: secrets are in Airflow's connections."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from crossdock.core.decoding import prepare
from crossdock.core.errors import Conflict, NotFound, VersionChanged
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.http.breaker import BreakerState
from crossdock.integrations.model import Integration, IntegrationState

prepare(Integration)

_COLUMNS = b"""integration_id, kind, name, state, settings, connection_id, version, created_at, created_by,
       updated_at, updated_by, credentials_set_at, tested_at, test_passed"""

_ADD = (
    b"""
INSERT INTO integration
       (integration_id, kind, name, settings, connection_id, created_by, updated_by, credentials_set_at, tested_at,
        test_passed)
VALUES (%(integration_id)s, %(kind)s, %(name)s, %(settings)s, %(connection_id)s, %(actor)s, %(actor)s,
        CASE WHEN %(with_credentials)s THEN clock_timestamp() END,
        CASE WHEN %(tested)s THEN clock_timestamp() END, CASE WHEN %(tested)s THEN true END)
RETURNING """
    + _COLUMNS
)

_GET = b"SELECT " + _COLUMNS + b" FROM integration WHERE integration_id = %(integration_id)s"

#: FOR UPDATE (optimistic concurrency): the second of two concurrent changes sees the new version, and is refused.
_LOCK = _GET + b" FOR UPDATE"

_ALL = b"SELECT " + _COLUMNS + b" FROM integration ORDER BY integration_id"

#: Until the transaction ends. The number is arbitrary, and nothing else uses it.
_LOCK_REGISTRY = b"SELECT pg_advisory_xact_lock(7206401)"

_PAGE = (
    b"SELECT "
    + _COLUMNS
    + b""" FROM integration
 WHERE %(after)s::text IS NULL OR integration_id > %(after)s
 ORDER BY integration_id LIMIT %(limit)s"""
)

_CHANGE = (
    b"""
UPDATE integration
   SET name = %(name)s, state = %(state)s, settings = %(settings)s, version = version + 1,
       updated_at = clock_timestamp(), updated_by = %(actor)s,
       credentials_set_at = CASE WHEN %(with_credentials)s THEN clock_timestamp() ELSE credentials_set_at END
 WHERE integration_id = %(integration_id)s
RETURNING """
    + _COLUMNS
)

_HAS_READ = b"SELECT EXISTS (SELECT FROM sync_run WHERE integration = %(integration_id)s AND read > 0)"

#: Does not change the version: a test must not make a concurrent edit fail.
_RECORD_TEST = b"""
UPDATE integration SET tested_at = clock_timestamp(), test_passed = %(passed)s
 WHERE integration_id = %(integration_id)s
"""

#: Remembers the removal too: stock from a removed integration is not available for sale.
_REMOVE = b"""
WITH gone AS (DELETE FROM integration WHERE integration_id = %(integration_id)s RETURNING integration_id)
INSERT INTO removed_integration (integration_id) SELECT integration_id FROM gone ON CONFLICT DO NOTHING
"""

_IS_REMOVED = b"SELECT FROM removed_integration WHERE integration_id = %(integration_id)s"
_UNDO_REMOVAL = b"DELETE FROM removed_integration WHERE integration_id = %(integration_id)s"


def add(
    work: Work,
    *,
    integration_id: str,
    kind: str,
    name: str,
    settings: Mapping[str, Any],
    connection_id: str,
    actor: str,
    with_credentials: bool,
    tested: bool,
) -> Integration:
    """
    Insert the integration. Set *with_credentials* if the hub wrote the credentials, *tested* if its test passed.

    Raises:
        Conflict: an integration of that ID exists.

    """
    values = {
        "integration_id": integration_id,
        "kind": kind,
        "name": name,
        "settings": Jsonb(dict(settings)),
        "connection_id": connection_id,
        "actor": actor,
        "with_credentials": with_credentials,
        "tested": tested,
    }
    work.execute(_UNDO_REMOVAL, values)
    try:
        return _the(_integrations(work).execute(_ADD, values))
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(
            f"Integration {integration_id!r} already exists", hint=Hint(HintId.SHOW_INTEGRATION, integration_id)
        ) from error


def get(work: Work, integration_id: str) -> Integration:
    """
    Read the integration.

    Raises:
        NotFound: no integration has that ID.

    """
    found = find(work, integration_id)
    if found is None:
        raise NotFound(f"There is no integration {integration_id!r}", hint=Hint(HintId.LIST_INTEGRATIONS))
    return found


def find(work: Work, integration_id: str) -> Integration | None:
    """Find the integration; None if it is not in the registry."""
    return _integrations(work).execute(_GET, {"integration_id": integration_id}).fetchone()


def lock(work: Work, integration_id: str, *, version: int | None = None) -> Integration:
    """
    Lock the integration until this transaction ends, and read it.

    Raises:
        NotFound: no integration has that ID.
        VersionChanged: it is no longer at *version*.

    """
    found = _integrations(work).execute(_LOCK, {"integration_id": integration_id}).fetchone()
    if found is None:
        raise NotFound(f"There is no integration {integration_id!r}", hint=Hint(HintId.LIST_INTEGRATIONS))
    if version is not None and found.version != version:
        raise VersionChanged(f"The integration {integration_id}", version, found.version)
    return found


def list_all(work: Work) -> list[Integration]:
    """List all integrations by ID."""
    return _integrations(work).execute(_ALL).fetchall()


def lock_registry(work: Work) -> None:
    """Wait until nobody else holds this lock, and hold it until the transaction ends."""
    work.execute(_LOCK_REGISTRY)


def page(work: Work, *, after: str | None = None, limit: int = 100) -> list[Integration]:
    """List up to *limit* integrations by ID, starting after *after* (keyset pagination)."""
    return _integrations(work).execute(_PAGE, {"after": after, "limit": limit}).fetchall()


def change(work: Work, changed: Integration, *, actor: str, with_credentials: bool = False) -> Integration:
    """Store name, state and settings of *changed* under the next version. Lock it first."""
    values = {
        "integration_id": changed.integration_id,
        "name": changed.name,
        "state": changed.state.value,
        "settings": Jsonb(dict(changed.settings)),
        "actor": actor,
        "with_credentials": with_credentials,
    }
    return _the(_integrations(work).execute(_CHANGE, values))


def has_read(work: Work, integration_id: str) -> bool:
    """Check whether a run of the integration has read a record."""
    row = work.execute(_HAS_READ, {"integration_id": integration_id}).fetchone()
    return bool(row and row[0])


def record_test(work: Work, integration_id: str, *, passed: bool) -> None:
    """Store the result of a connection test. The version stays."""
    work.execute(_RECORD_TEST, {"integration_id": integration_id, "passed": passed})


def remove(work: Work, integration_id: str) -> None:
    """Delete the integration. Its synced data stays, but its stock is not sellable until it is added again."""
    work.execute(_REMOVE, {"integration_id": integration_id})


def is_removed(work: Work, integration_id: str) -> bool:
    """Check whether it was in the registry and has been removed."""
    return work.execute(_IS_REMOVED, {"integration_id": integration_id}).fetchone() is not None


def _integrations(work: Work) -> psycopg.Cursor[Integration]:
    """Open a cursor whose rows are integrations: each column is the field of its name."""
    return work.cursor(row_factory=kwargs_row(_integration))


def _integration(state: str, **fields: Any) -> Integration:
    return msgspec.convert({**fields, "state": IntegrationState(state)}, Integration)


def _the(rows: psycopg.Cursor[Integration]) -> Integration:
    found = rows.fetchone()
    assert found is not None  # noqa: S101  RETURNING of a row that is there
    return found


class System(msgspec.Struct, frozen=True, kw_only=True):
    """An integration at a glance: whether it may be called, and whether it answers."""

    integration_id: str
    kind: str
    name: str
    state: IntegrationState
    tested_at: datetime | None
    test_passed: bool | None
    breaker: BreakerState


prepare(System)

_SYSTEMS = b"""
SELECT integration_id, kind, name, integration.state, tested_at, test_passed, breaker.state AS breaker
  FROM integration LEFT JOIN breaker ON breaker.integration = integration_id ORDER BY integration_id
"""


def systems(work: Work) -> list[System]:
    """List all integrations by ID, each with its circuit breaker."""
    return work.cursor(row_factory=kwargs_row(_system)).execute(_SYSTEMS).fetchall()


def _system(breaker: Any, **fields: Any) -> System:
    return msgspec.convert({**fields, "breaker": breaker or {}}, System)


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """An integration's activity from the ledger; fields with `_24h` cover the last day."""

    last_run_id: str | None
    last_run_at: datetime | None
    last_success_at: datetime | None
    #: Error of the latest run that failed or was put on hold; None if none did since the last success.
    last_error: str | None
    runs_24h: int
    failed_24h: int
    records_read_24h: int
    records_rejected_24h: int
    open_quarantine: int


#: Each by the index of an integration's runs, and no more of them than it needs.
_ACTIVITY = b"""
WITH newest AS (SELECT run_id, started_at FROM sync_run WHERE integration = %(integration)s AND mode <> 'replay'
                 ORDER BY started_at DESC LIMIT 1),
     success AS (SELECT started_at, finished_at AS at FROM sync_run
                  WHERE integration = %(integration)s AND mode <> 'replay' AND state IN ('done', 'partial') ORDER BY started_at DESC LIMIT 1),
     trouble AS (SELECT error FROM sync_run
                  WHERE integration = %(integration)s AND mode <> 'replay' AND state IN ('failed', 'held')
                    AND started_at > coalesce((SELECT started_at FROM success), '-infinity')
                  ORDER BY started_at DESC LIMIT 1),
     day AS (SELECT count(*) AS runs, count(*) FILTER (WHERE state = 'failed') AS failed,
                    coalesce(sum(read), 0)::bigint AS read, coalesce(sum(rejected), 0)::bigint AS rejected
               FROM sync_run WHERE integration = %(integration)s AND mode <> 'replay'
                AND started_at > now() - interval '24 hours')
SELECT (SELECT run_id FROM newest) AS last_run_id, (SELECT started_at FROM newest) AS last_run_at,
       (SELECT at FROM success) AS last_success_at, (SELECT error FROM trouble) AS last_error,
       day.runs AS runs_24h, day.failed AS failed_24h, day.read AS records_read_24h,
       day.rejected AS records_rejected_24h,
       (SELECT count(*) FROM quarantine_item WHERE integration = %(integration)s AND state = 'open') AS open_quarantine
  FROM day
"""


def activity(work: Work, integration_id: str) -> Activity:
    """Summarise the integration's activity; empty if it never ran."""
    found = work.cursor(row_factory=class_row(Activity)).execute(_ACTIVITY, {"integration": integration_id}).fetchone()
    assert found is not None  # noqa: S101  an aggregate has one row
    return found
