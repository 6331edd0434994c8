"""
Dependencies of the routes and of the pages: the hub's database, and what the pages share with the routes.

The pages (`web`) import this module and `access`, and nothing else of this room.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from crossdock.api.airflow_connections import Connections
from crossdock.api.airflow_lookups import AirflowUnavailable, Remembered, existing
from crossdock.api.bulkhead import work_of
from crossdock.api.definitions import integration_added, integrations_changed, start_run, workflows_changed
from crossdock.api.failed_tasks import FailedTask, RetryingTask, failed_tasks, retrying_tasks
from crossdock.api.middleware import RequestMiddleware
from crossdock.api.pagination import RowCursor, cursor_at, cursor_like, cursor_of_row, place_of_row, position_of
from crossdock.api.problems import Problem, title
from crossdock.api.problems import of as problem_of
from crossdock.api.routing import Router, guarded, strict_json
from crossdock.api.validation import EVENT_ID, MOST_EXACT, PLAIN
from crossdock.core.settings import settings
from crossdock.db.database import Store

__all__ = [
    "EVENT_ID",
    "MOST_EXACT",
    "PLAIN",
    "AirflowUnavailable",
    "Connections",
    "FailedTask",
    "OpenStore",
    "Problem",
    "RequestMiddleware",
    "RetryingTask",
    "Router",
    "RowCursor",
    "cursor_at",
    "cursor_like",
    "cursor_of_row",
    "existing",
    "failed_tasks",
    "guarded",
    "integration_added",
    "integrations_changed",
    "open_store",
    "place_of_row",
    "position_of",
    "problem_of",
    "retrying_tasks",
    "start_run",
    "strict_json",
    "title",
    "workflows_changed",
]

#: Where the database is changes hardly ever, so that the last answer is good for a day without Airflow's database.
_WHAT = "it has the address of the hub's database"
_FRESH_S, _STALE_S = 60.0, 86_400.0


def _dsn_of(connection_id: str) -> str:
    return existing(_WHAT, Store.from_connection, connection_id).dsn


_dsns = Remembered(_WHAT, _dsn_of, fresh_s=_FRESH_S, stale_s=_STALE_S)


async def open_store(request: Request) -> Store:
    """Open the hub's database for one request: threads do not share a connection. Its route closes it."""
    return work_of(request).open(await _dsns.of(settings().store_connection))


OpenStore = Annotated[Store, Depends(open_store)]
