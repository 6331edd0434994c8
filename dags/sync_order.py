"""Sync orders with their lines from commercetools into the hub, every ten minutes."""

from airflow.sdk import dag

from crossdock.app.airflow.sync_dags import schedule_of, sync_options, sync_tasks, triage_of
from crossdock.app.streams import ORDER


@dag(schedule=schedule_of(ORDER), doc_md=__doc__ + triage_of(ORDER), **sync_options(ORDER))
def sync_order() -> None:
    sync_tasks(ORDER)


sync_order()
