"""Sync products with their variants and prices from commercetools into the hub, every hour."""

from airflow.sdk import dag

from crossdock.app.airflow.sync_dags import schedule_of, sync_options, sync_tasks, triage_of
from crossdock.app.streams import PRODUCT


@dag(schedule=schedule_of(PRODUCT), doc_md=__doc__ + triage_of(PRODUCT), **sync_options(PRODUCT))
def sync_product() -> None:
    sync_tasks(PRODUCT)


sync_product()
