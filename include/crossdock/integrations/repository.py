"""The registry of integrations. Settings only: secrets are in Airflow's connections."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from crossdock.core.errors import Conflict, NotFound, VersionChanged
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Work
from crossdock.integrations.model import Integration, IntegrationState

_COLUMNS = b"""integration_id, kind, name, state, settings, connection_id, version, created_at, created_by,
       updated_at, updated_by, credentials_set_at, tested_at, test_passed"""
_NAMES = tuple(name.strip() for name in _COLUMNS.decode().split(","))

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

#: FOR UPDATE: of two changes at once the second sees the version of the first, and is refused.
_LOCK = _GET + b" FOR UPDATE"

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

#: Not a change of the integration: its version stays, and so does what somebody is about to change.
_NOTE_TEST = b"""
UPDATE integration SET tested_at = clock_timestamp(), test_passed = %(passed)s
 WHERE integration_id = %(integration_id)s
"""

#: Noted as removed, too: what it told of stock is no longer for sale.
_REMOVE = b"""
WITH gone AS (DELETE FROM integration WHERE integration_id = %(integration_id)s RETURNING integration_id)
INSERT INTO removed_integration (integration_id) SELECT integration_id FROM gone ON CONFLICT DO NOTHING
"""

_IS_REMOVED = b"SELECT FROM removed_integration WHERE integration_id = %(integration_id)s"
_TAKE_BACK = b"DELETE FROM removed_integration WHERE integration_id = %(integration_id)s"


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
    The integration, stored. *with_credentials* says that the hub wrote them, *tested* that its test passed.

    Raises:
        Conflict: there is one of that id.

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
    work.execute(_TAKE_BACK, values)
    try:
        row = work.execute(_ADD, values).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(
            f"The integration {integration_id!r} already exists", hint=Hint(HintId.SHOW_INTEGRATION, integration_id)
        ) from error
    return _of(row)


def get(work: Work, integration_id: str) -> Integration:
    """
    The integration.

    Raises:
        NotFound: there is none of that id.

    """
    found = find(work, integration_id)
    if found is None:
        raise NotFound(f"There is no integration {integration_id!r}", hint=Hint(HintId.LIST_INTEGRATIONS))
    return found


def find(work: Work, integration_id: str) -> Integration | None:
    """The integration, None where the registry does not have it."""
    row = work.execute(_GET, {"integration_id": integration_id}).fetchone()
    return _of(row) if row else None


def lock(work: Work, integration_id: str, *, version: int | None = None) -> Integration:
    """
    The integration, which nobody else changes before this transaction ends.

    Raises:
        NotFound: there is none of that id.
        VersionChanged: it is not at *version* any more.

    """
    row = work.execute(_LOCK, {"integration_id": integration_id}).fetchone()
    if row is None:
        raise NotFound(f"There is no integration {integration_id!r}", hint=Hint(HintId.LIST_INTEGRATIONS))
    found = _of(row)
    if version is not None and found.version != version:
        raise VersionChanged(f"The integration {integration_id}", version, found.version)
    return found


def page(work: Work, *, after: str | None = None, limit: int = 100) -> list[Integration]:
    """Up to *limit* integrations by id, those that follow *after*."""
    return [_of(row) for row in work.execute(_PAGE, {"after": after, "limit": limit})]


def change(work: Work, changed: Integration, *, actor: str, with_credentials: bool = False) -> Integration:
    """Name, state and settings of *changed*, stored under the next version. Lock it first."""
    values = {
        "integration_id": changed.integration_id,
        "name": changed.name,
        "state": changed.state.value,
        "settings": Jsonb(dict(changed.settings)),
        "actor": actor,
        "with_credentials": with_credentials,
    }
    return _of(work.execute(_CHANGE, values).fetchone())


def note_test(work: Work, integration_id: str, *, passed: bool) -> None:
    work.execute(_NOTE_TEST, {"integration_id": integration_id, "passed": passed})


def remove(work: Work, integration_id: str) -> None:
    """What it brought stays, but its stock counts no longer as sellable until it is added again."""
    work.execute(_REMOVE, {"integration_id": integration_id})


def is_removed(work: Work, integration_id: str) -> bool:
    """Whether the registry had it once, and has not now."""
    return work.execute(_IS_REMOVED, {"integration_id": integration_id}).fetchone() is not None


def _of(row: tuple[Any, ...] | None) -> Integration:
    assert row is not None  # noqa: S101  RETURNING of a row that is there
    fields = dict(zip(_NAMES, row, strict=True))
    fields["state"] = IntegrationState(fields["state"])
    return msgspec.convert(fields, Integration)


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of an integration, over the last day where it says so."""

    last_run_id: str | None
    last_run_at: datetime | None
    last_success_at: datetime | None
    #: Of the newest run that failed or was held; None when none did after the last success.
    last_error: str | None
    runs_24h: int
    failed_24h: int
    records_read_24h: int
    records_rejected_24h: int
    open_quarantine: int


_ACTIVITY = b"""
WITH mine AS (SELECT * FROM sync_run WHERE integration = %(integration)s),
     newest AS (SELECT run_id, started_at FROM mine ORDER BY started_at DESC LIMIT 1),
     success AS (SELECT max(finished_at) AS at FROM mine WHERE state IN ('done', 'partial')),
     trouble AS (SELECT error FROM mine, success
                  WHERE state IN ('failed', 'held') AND (success.at IS NULL OR finished_at > success.at)
                  ORDER BY started_at DESC LIMIT 1),
     day AS (SELECT count(*) AS runs, count(*) FILTER (WHERE state = 'failed') AS failed,
                    coalesce(sum(read), 0)::bigint AS read, coalesce(sum(rejected), 0)::bigint AS rejected
               FROM mine WHERE started_at > clock_timestamp() - interval '24 hours')
SELECT (SELECT run_id FROM newest), (SELECT started_at FROM newest), (SELECT at FROM success),
       (SELECT error FROM trouble), day.runs, day.failed, day.read, day.rejected,
       (SELECT count(*) FROM quarantine_item WHERE integration = %(integration)s AND state = 'open')
  FROM day
"""


def activity(work: Work, integration_id: str) -> Activity:
    """What the integration did lately; all empty for one that never ran."""
    row = work.execute(_ACTIVITY, {"integration": integration_id}).fetchone()
    assert row is not None  # noqa: S101  an aggregate has one row
    return Activity(**dict(zip(Activity.__struct_fields__, row, strict=True)))
