"""The streams of this hub: what each integration's syncs read, and which days of history are missing."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN, QueryDay
from crossdock.app.streams import ExistingStream, existing, only_stream_of, stream_of
from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.ids import backfill_dag, sync_dag
from crossdock.core.roles import Role
from crossdock.db.database import Work
from crossdock.integrations import repository as integration_repository
from crossdock.integrations.model import Integration
from crossdock.sync import Stream, watermarks
from crossdock.sync.backfill import Only, days_to_run
from crossdock.sync.model import WHOLE

router = Router(prefix="/streams", tags=["streams"])

StreamId = Annotated[str, Path(max_length=200, pattern=PLAIN, examples=["commercetools.inventory"])]
_MOST_DAYS = 3_660
_NONE: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDocument, "description": "There is no such stream."}}


class StreamDocument(BaseModel):
    """One integration's records of one dataset."""

    id: str = Field(examples=["commercetools.inventory"])
    integration: str
    integration_state: Literal["active", "paused", "removed", "unregistered"] = Field(
        description="unregistered: it was never in the registry, and is read by its Airflow connection alone."
    )
    integration_changed_by: str | None = Field(description="Who changed the integration last, such as paused it.")
    dataset: str
    key_field: str = Field(description="The source's field that `keys` of a sync name.")
    sync_dag: str = Field(description="The DAG that syncs it; start it by POST /api/v2/dags/{sync_dag}/dagRuns.")
    backfill_dag: str | None = Field(description="The DAG that reads past days; null if the source has no windows.")
    schedule: str | None = Field(description="Cron; null if it is synced on demand only.")
    shards: int
    complete_to: datetime | None = Field(description="Every change before this time is in the hub; null before a sync.")


class StreamsDocument(BaseModel):
    streams: list[StreamDocument]


class DaysDocument(BaseModel):
    """Days of history, oldest first."""

    days: list[date]


@router.get("", summary="List streams", dependencies=[guard(Role.VIEWER)])
def list_streams(
    store: OpenStore,
    name: Annotated[
        str | None,
        Query(
            max_length=200,
            pattern=PLAIN,
            description="Only the stream of this ID, or the only one of this dataset or integration: `inventory`.",
        ),
    ] = None,
) -> StreamsDocument:
    """List the streams of all integrations, with their DAGs and how far each is complete."""
    found = sorted(existing() if name is None else [only_stream_of(name)], key=lambda one: one.stream.id)
    with store.transaction() as work:
        marks = watermarks.complete_to_all(work, [(one.stream.id, one.shards) for one in found])
        registry = {known.integration_id: known for known in integration_repository.list_all(work)}
        return StreamsDocument(
            streams=[_document(work, one, registry.get(one.stream.integration), marks[one.stream.id]) for one in found]
        )


@router.get(
    "/{stream}/backfill-days",
    summary="List the days that a backfill would read",
    dependencies=[guard(Role.VIEWER)],
    responses=_NONE,
)
def list_backfill_days(
    store: OpenStore,
    stream: StreamId,
    first: Annotated[QueryDay, Query(description="The first day, as 2026-01-01.")],
    last: Annotated[QueryDay, Query(description="The last day, included.")],
    only: Annotated[Only, Query(description="missing: that no run has read completely.")] = Only.MISSING,
) -> DaysDocument:
    """List days from `first` to `last`, oldest first; at most ten years."""
    found = find_stream(stream)
    if not found.reads_windows:
        raise BadRequest(f"{found.id} has no backfill: its source cannot be asked for what changed in a window")
    if (last - first).days > _MOST_DAYS:
        raise BadRequest(f"From {first} to {last} are more than {_MOST_DAYS:,} days. Use several backfills")
    return DaysDocument(days=days_to_run(store, found.lease(WHOLE), first=first, last=last, only=only))


def find_stream(stream: str) -> Stream:
    """
    Find the stream whose ID is part of a path.

    Raises:
        NotFound: there is none; the message lists those that exist.

    """
    try:
        return stream_of(stream)
    except BadRequest as error:
        raise NotFound(str(error)) from error


def _document(
    work: Work, one: ExistingStream, registered: Integration | None, complete_to: datetime | None
) -> StreamDocument:
    stream = one.stream
    is_removed = registered is None and integration_repository.is_removed(work, stream.integration)
    absent: Literal["removed", "unregistered"] = "removed" if is_removed else "unregistered"
    return StreamDocument(
        id=stream.id,
        integration=stream.integration,
        integration_state=registered.state.value if registered else absent,
        integration_changed_by=registered.updated_by if registered else None,
        dataset=stream.dataset.name,
        key_field=stream.key_field,
        sync_dag=sync_dag(stream.id),
        backfill_dag=backfill_dag(stream.id) if stream.reads_windows else None,
        schedule=one.schedule,
        shards=one.shards,
        complete_to=complete_to,
    )
