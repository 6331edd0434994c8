"""The streams of this hub: what each integration's syncs read."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from crossdock.api.access import Role, guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.routing import Router
from crossdock.app.streams import ExistingStream, existing
from crossdock.core.ids import backfill_dag, sync_dag
from crossdock.sync import watermarks

router = Router(prefix="/streams", tags=["streams"])


class StreamDocument(BaseModel):
    """One integration's records of one dataset."""

    id: str = Field(examples=["commercetools.inventory"])
    integration: str
    dataset: str
    key_field: str = Field(description="The source's field that `keys` of a sync name.")
    sync_dag: str = Field(description="The DAG that syncs it.")
    backfill_dag: str | None = Field(description="The DAG that reads past days; null if the source has no windows.")
    schedule: str | None = Field(description="Cron; null if it is synced on demand only.")
    shards: int
    complete_to: datetime | None = Field(description="Every change before this time is in the hub; null before a sync.")


class StreamsDocument(BaseModel):
    streams: list[StreamDocument]


@router.get("", summary="List streams", dependencies=[guard(Role.VIEWER)])
def list_streams(store: OpenStore) -> StreamsDocument:
    """List the streams of all integrations, with their DAGs and how far each is complete."""
    found = sorted(existing(), key=lambda one: one.stream.id)
    with store.transaction() as work:
        marks = watermarks.complete_to_all(work, [(one.stream.id, one.shards) for one in found])
    return StreamsDocument(streams=[_document(one, marks[one.stream.id]) for one in found])


def _document(one: ExistingStream, complete_to: datetime | None) -> StreamDocument:
    stream = one.stream
    return StreamDocument(
        id=stream.id,
        integration=stream.integration,
        dataset=stream.dataset.name,
        key_field=stream.key_field,
        sync_dag=sync_dag(stream.id),
        backfill_dag=backfill_dag(stream.id) if stream.reads_windows else None,
        schedule=one.schedule,
        shards=one.shards,
        complete_to=complete_to,
    )
