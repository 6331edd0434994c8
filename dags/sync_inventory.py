"""Sync stock levels from commercetools into the hub, every quarter of an hour."""

from airflow.sdk import dag

from crossdock.app.airflow.sync_dags import schedule_of, sync_options, sync_tasks, triage_of
from crossdock.app.streams import INVENTORY


@dag(schedule=schedule_of(INVENTORY), doc_md=__doc__ + triage_of(INVENTORY), **sync_options(INVENTORY))
def sync_inventory() -> None:
    sync_tasks(INVENTORY)


sync_inventory()
