"""REST resources of the syncs: what is synced, from which integration, and which days of history are missing."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field

from crossdock.api.access import Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN, QueryDay
from crossdock.app.streams import SYNCS, declared_syncs, sync_of
from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.ids import backfill_dag, sync_dag
from crossdock.db.database import Work
from crossdock.integrations import repository as integration_repository
from crossdock.sync import Sync
from crossdock.sync.backfill import Only, days_to_run

router = Router(prefix="/syncs", tags=["runs"])

Entity = Annotated[str, Path(max_length=100, pattern=PLAIN, examples=["inventory"])]
_MOST_DAYS = 3_660
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDocument, "description": "There is no such sync."}}


class SyncDocument(BaseModel):
    """One kind of record that is synced from one integration."""

    entity: str
    integration: str
    integration_state: Literal["active", "paused", "removed", "unregistered"] = Field(
        description="unregistered: it was never in the registry, and is read by its Airflow connection alone."
    )
    integration_changed_by: str | None = Field(description="Who changed the integration last, such as paused it.")
    dag_id: str = Field(description="Airflow's DAG; start it by POST /api/v2/dags/{dag_id}/dagRuns.")
    backfill_dag_id: str | None = Field(description="Airflow's DAG for past days; null where there is none.")


class SyncsDocument(BaseModel):
    """All syncs."""

    syncs: list[SyncDocument]


class DaysDocument(BaseModel):
    """Days of history, oldest first."""

    days: list[date]


@router.get("", summary="List syncs", dependencies=[guard(Role.VIEWER)])
def list_syncs(store: OpenStore) -> SyncsDocument:
    """List what is synced: in code, then declared by files."""
    syncs = [*SYNCS.values(), *(sync for _, sync in declared_syncs())]
    with store.transaction() as work:
        return SyncsDocument(syncs=[_document(work, sync) for sync in syncs])


@router.get("/{entity}", summary="Get a sync", dependencies=[guard(Role.VIEWER)], responses=_NONE)
def show_sync(store: OpenStore, entity: Entity) -> SyncDocument:
    """Read one sync, with the state of its integration."""
    with store.transaction() as work:
        return _document(work, find_sync(entity))


@router.get(
    "/{entity}/backfill-days",
    summary="List the days that a backfill would read",
    dependencies=[guard(Role.VIEWER)],
    responses=_NONE,
)
def list_backfill_days(
    store: OpenStore,
    entity: Entity,
    first: Annotated[QueryDay, Query(description="The first day, as 2026-01-01.")],
    last: Annotated[QueryDay, Query(description="The last day, included.")],
    only: Annotated[Only, Query(description="missing: that no run has read completely.")] = Only.MISSING,
) -> DaysDocument:
    """List days from `first` to `last`, oldest first; at most ten years."""
    sync = find_sync(entity)
    if (last - first).days > _MOST_DAYS:
        raise BadRequest(f"From {first} to {last} are more than {_MOST_DAYS:,} days. Use several backfills")
    return DaysDocument(days=days_to_run(store, sync.integration, entity, first=first, last=last, only=only))


def find_sync(entity: str) -> Sync:
    """
    Find the sync of *entity*, which is part of a path.

    Raises:
        NotFound: there is none; the message lists those that exist.

    """
    try:
        return sync_of(entity)
    except BadRequest as error:
        raise NotFound(str(error)) from error


def _document(work: Work, sync: Sync) -> SyncDocument:
    found = integration_repository.find(work, sync.integration)
    is_removed = found is None and integration_repository.is_removed(work, sync.integration)
    absent: Literal["removed", "unregistered"] = "removed" if is_removed else "unregistered"
    return SyncDocument(
        entity=sync.entity,
        integration=sync.integration,
        integration_state=found.state.value if found else absent,
        integration_changed_by=found.updated_by if found else None,
        dag_id=sync_dag(sync.entity),
        backfill_dag_id=backfill_dag(sync.entity) if sync.entity in SYNCS else None,
    )
