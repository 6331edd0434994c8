"""
Read one day of order history again; each night, yesterday.

To start it for other days: the UI's backfill, REST `/backfills`, `airflow backfill create`, or
`./hub backfill order --from 2026-01-01 --to 2026-01-31`, which runs only the missing days.

**Triage.** Every run can be cleared, and days may run in any order and beside the live sync: older
versions never overwrite newer ones, the watermark stays, and no events are delivered unless `emit_events` is set.
A failed task means the same as in `sync_order`.
"""

from airflow.sdk import dag

from crossdock.app.airflow.sync_dags import EACH_DAY, backfill_options, backfill_tasks
from crossdock.app.streams import ORDER


@dag(schedule=EACH_DAY, doc_md=__doc__, **backfill_options(ORDER))
def backfill_order() -> None:
    backfill_tasks(ORDER)


backfill_order()
