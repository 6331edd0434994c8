"""
Read one day of order history again; by itself, yesterday each night.

Start it for any days: the UI's backfill, REST `/backfills`, `airflow backfill create`, or
`./hub backfill order --from 2026-01-01 --to 2026-01-31`, which runs only what is missing.

**Triage.** Every run is safe to clear, and days may run in any order and beside the live sync: older
versions never overwrite newer ones, the watermark stays, and subscribers hear nothing unless `tell` is set.
A red task means what it means in `sync_order`.
"""

from airflow.sdk import dag
from crossdock.app.airflow.sync_dags import EACH_DAY, backfill_options, backfill_tasks
from crossdock.connectors.commercetools.orders import ORDER


@dag(schedule=EACH_DAY, doc_md=__doc__, **backfill_options(ORDER))
def backfill_order() -> None:
    backfill_tasks(ORDER)


backfill_order()
