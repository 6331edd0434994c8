"""
Bring stock levels from the commerce platform into the hub, every quarter of an hour.

| task | what it does | when it is red |
| --- | --- | --- |
| `extract` | reads the window's pages and lands them as they came | the platform is down or refuses us: the log names which. When it is up again, clear the task: it goes on after the last page that landed. |
| `validate` | decodes, maps and checks with Great Expectations | a rule is declared wrongly, or a landed page is gone: clear `extract` with its downstream tasks. |
| `load` | one transaction a batch: rows, history, events, quarantine, counts, watermark | the hub's database is down or busy: clear the task, it loads only what is still open. |

**Triage.** Every task is safe to clear at any time. Rows that fail a rule do not turn a run red: see
`./hub quarantine list`. A run that is *held* read nothing or far too little: look at the source, then
`./hub sync inventory --full --accept-shrunken` if it is right. What each run did with every row:
`./hub runs`, `./hub run show ID`.
"""

from airflow.sdk import dag

from include.flows.airflow_tasks import schedule_of, sync_options, sync_tasks
from include.flows.sync_inventory import INVENTORY


@dag(schedule=schedule_of(INVENTORY), doc_md=__doc__, **sync_options(INVENTORY))
def sync_inventory() -> None:
    sync_tasks(INVENTORY)


sync_inventory()
